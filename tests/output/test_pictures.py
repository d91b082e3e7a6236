import numpy as np
import pytest
import torch

from cast_exp.output.pictures import to_bytes


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 4, 6), (2, 1, 3, 5, 4)])
def test_floats_that_were_bytes_become_them_again(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape[:-3], *shape[-2:], shape[-3]), dtype=np.uint8)
    found = to_bytes(torch.from_numpy(pixels).movedim(-1, -3) / 255)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert (found == pixels).all()


def test_what_is_beyond_is_clipped() -> None:
    image = torch.tensor([-0.5, 0.0, 0.999, 1.0, 2.5]).view(1, 1, 5)
    assert to_bytes(image).ravel().tolist() == [0, 0, 255, 255, 255]
