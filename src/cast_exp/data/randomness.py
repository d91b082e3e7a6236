"""Libraries that draw from the generators of Python and NumPy, brought under torch's seed."""

# ruff: noqa: NPY002  (libraries draw from NumPy's global generator, not from one of ours)
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_from_torch() -> Iterator[None]:
    """Seed the global generators of `random` and NumPy with a draw from torch's.

    What is drawn inside depends on the state of torch's generator of the CPU alone. Afterwards the
    two have their former state back.
    """
    python, numpy = random.getstate(), np.random.get_state()
    seed = int(torch.randint(2**32, ()))
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
