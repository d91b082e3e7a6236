"""The former name of the command compare, which still works."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["compare"]
    runpy.run_module("cast_exp", run_name="__main__")
