"""The former name of the command cost, which still works."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["cost"]
    runpy.run_module("cast_exp", run_name="__main__")
