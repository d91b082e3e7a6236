"""What a hierarchy says of its tokens, whatever they are."""

import numpy as np
import pytest
import torch

from cast_exp.models import create_model
from cast_exp.superpixels import Grid

SIDE = 64


def encoded(name: str, superpixels: torch.Tensor, **options: object):
    torch.manual_seed(0)
    backbone = create_model(name, image_size=SIDE, **options).eval()
    with torch.no_grad():
        return backbone(torch.randn(1, 3, SIDE, SIDE), superpixels)


@pytest.mark.parametrize("name", ["cast_tiny", "tome_tiny"])
def test_superpixels_at_another_size_are_those_given_there(name: str) -> None:
    small = Grid(16)(torch.rand(1, 3, SIDE, SIDE))
    full = torch.randint(0, 16, (1, 100, 90))
    hierarchy = encoded(name, small)
    assert hierarchy.grid is None
    assert hierarchy.tokens_at(full) is full


@pytest.mark.parametrize("size", [(SIDE, SIDE), (96, 128), (40, 100)])
def test_patches_at_another_size_are_those_at_the_pixels_centres(size: tuple[int, int]) -> None:
    hierarchy = encoded("vit_tiny", torch.zeros(1, SIDE, SIDE, dtype=torch.int64))
    found = hierarchy.tokens_at(torch.zeros(1, *size, dtype=torch.int64))[0].numpy()
    rows, columns = hierarchy.grid
    assert (rows, columns) == (4, 4)
    down = np.floor((np.arange(size[0]) + 0.5) / size[0] * rows).astype(int)
    across = np.floor((np.arange(size[1]) + 0.5) / size[1] * columns).astype(int)
    assert (found == down[:, None] * columns + across).all()
    assert hierarchy.levels[0].tokens.shape[1] == rows * columns
