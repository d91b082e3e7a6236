"""The ViT baseline."""

import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.models import Size, create_model

SIZE = Size(24, (2,), heads=3, family="vit")


@torch.no_grad()
def test_superpixels_do_not_enter_and_the_hierarchy_is_square_patches():
    model = create_model(SIZE, image_size=64, fusion=True).eval()
    images = torch.randn(2, 3, 64, 64)
    one, other = (
        model(images, torch.randint(9, (2, 64, 64)), sampling=sampling)
        for sampling in (None, "interpolated")
    )
    torch.testing.assert_close(one.cls, other.cls)
    assert one.depth == 0
    assert one.levels[0].tokens.shape == one.fused.shape == (2, 16, 24)
    patches = one.segmentation(0)
    assert (patches[0, :16, :16] == 0).all()
    assert (patches[1, 48:, 16:32] == 13).all()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (70, 50), (16, 16)])
def test_any_size(size):
    model = create_model(SIZE, image_size=64).eval()
    hierarchy = model(torch.randn(1, 3, *size), torch.zeros(1, *size, dtype=torch.long))
    rows, columns = (-(-side // 16) for side in size)
    assert hierarchy.levels[0].tokens.shape[1] == rows * columns
    assert hierarchy.superpixels.shape == (1, *size)
    assert hierarchy.superpixels.unique().tolist() == list(range(rows * columns))


def test_levels_are_refused():
    model = create_model(SIZE, image_size=64)
    with pytest.raises(UserError, match="groups nothing"):
        model(torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.long), levels=(4,))
