"""Whether Triton can compile kernels here, and whether ours are wanted."""

import os
from functools import cache
from importlib.util import find_spec
from shutil import which

from cast_exp.errors import UserError


@cache
def triton_there() -> bool:
    """Whether there are Triton and the C compiler that it calls at run time."""
    compilers = (os.environ.get("CC"), "gcc", "clang", "cc")
    return find_spec("triton") is not None and any(which(name) for name in compilers if name)


@cache
def kernels_there() -> bool:
    """Whether CUDA runs our Triton kernels; `CAST_EXP_KERNELS=0` in the environment forbids it.

    The code in torch that they stand for runs instead, with the same results but for rounding.

    Raises:
        UserError: The variable is neither 0 nor 1.
    """
    wanted = os.environ.get("CAST_EXP_KERNELS", "1")
    if wanted not in {"0", "1"}:
        raise UserError(f"the environment has CAST_EXP_KERNELS={wanted}; set it to 0 or 1")
    return wanted == "1" and triton_there()
