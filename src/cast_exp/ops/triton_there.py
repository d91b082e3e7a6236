"""Whether Triton can compile kernels here."""

import os
from functools import cache
from importlib.util import find_spec
from shutil import which


@cache
def triton_there() -> bool:
    """Whether there are Triton and the C compiler that it calls at run time."""
    compilers = (os.environ.get("CC"), "gcc", "clang", "cc")
    return find_spec("triton") is not None and any(which(name) for name in compilers if name)
