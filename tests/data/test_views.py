"""A view is what torchvision's transforms make of the same seed."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

from cast_exp.data.views import Colour, View

SCALE, JITTER, SIGMA = (0.2, 1.0), (0.4, 0.3, 0.2, 0.1), (0.1, 2.0)


class Blur(torch.nn.Module):
    def forward(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(torch.empty(1).uniform_(*SIGMA).item()))


def photo(width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("jitter", [JITTER, (0.4, 0.0, 0.0, 0.1)])
@pytest.mark.parametrize("coloured", [True, False])
def test_a_view_is_that_of_torchvision(
    coloured: bool, jitter: tuple[float, float, float, float]
) -> None:
    image = photo(90, 70)
    view = View(32, SCALE, 0.4, Colour(jitter, 0.7, 0.3, SIGMA, 0.5, 0.4) if coloured else None)
    steps = [
        v2.RandomApply([v2.ColorJitter(*jitter)], p=0.7),
        v2.RandomGrayscale(p=0.3),
        v2.RandomApply([Blur()], p=0.5),
        v2.RandomSolarize(threshold=128, p=0.4),
    ]
    crop, flip = v2.RandomResizedCrop(32, scale=SCALE), v2.RandomHorizontalFlip(p=0.4)
    reference = v2.Compose([crop, *(steps if coloured else []), flip, v2.PILToTensor()])
    for seed in range(60):
        torch.manual_seed(seed)
        expected = reference(image)
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        difference = (view(image).int() - expected.int()).abs()
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(seed)
        rounding = 1 if view.draw(image).blur else 0  # of halves, in few pixels
        assert difference.max() <= rounding
        assert difference.sum() < 10


def test_drawing_needs_only_the_size() -> None:
    view, image = View(32, SCALE, 0.4, Colour(JITTER, 0.7, 0.3, SIGMA, 0.5, 0.4)), photo(90, 70)
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = view.draw(image)
        torch.manual_seed(seed)
        assert view.draw(torch.empty(70, 90)) == drawn
        assert drawn.size == 32
