"""Global generators under torch's seed."""

# ruff: noqa: NPY002  (the global generator is what this is about)
import random

import numpy as np
import pytest
import torch

from cast_exp.data.randomness import seeded_from_torch


def drawn() -> tuple[float, float]:
    with seeded_from_torch():
        return random.random(), np.random.random()


def test_draws_depend_on_torch_alone() -> None:
    torch.manual_seed(3)
    first, second = drawn(), drawn()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(3)
    assert (drawn(), drawn()) == (first, second)
    assert first != second
    assert first[0] != first[1]


def test_the_former_state_comes_back_even_after_an_error() -> None:
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.random()
    random.seed(7)
    np.random.seed(7)
    with pytest.raises(ZeroDivisionError), seeded_from_torch():
        random.random() / (0 * int(np.random.random()))
    assert (random.random(), np.random.random()) == expected
