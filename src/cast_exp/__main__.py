"""`python -m cast_exp NAME`, which is `cast-exp NAME`."""

import sys

from cast_exp.cli import main

if __name__ == "__main__":
    sys.exit(main())
