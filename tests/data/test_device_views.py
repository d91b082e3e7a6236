"""Views made on the device are those of Pillow and torchvision but for a level here and there."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from PIL import Image, ImageFilter
from support.waits import Waits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as F

from cast_exp.data import CropFlip, TwoViews
from cast_exp.data.device_views import (
    Cut,
    blurred,
    changed,
    cut,
    grey,
    join,
    longest_side,
    make_views,
    resized,
)
from cast_exp.data.views import Draw

SIZE = 48


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with edges and some noise, as of a photograph."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    smooth[height // 3 : height // 2, width // 4 :] //= 2
    return Image.fromarray(
        (smooth + random.integers(-9, 10, smooth.shape)).clip(0, 255).astype("u1")
    )


def pixels(images: list[Image.Image]) -> Tensor:
    return torch.stack([F.pil_to_tensor(image) for image in images]).float()


PHOTOS = [photo(SIZE, SIZE, seed) for seed in range(4)]


def off(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Mean and largest difference in levels of 0..255."""
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs()
    return difference.mean().item(), difference.max().item()


# -- each operation against torchvision's --------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("side", [(31, 19), (48, 48), (61, 101), (108, 107), (1, 7)])
def test_crops_are_resized_as_by_pillow(side: tuple[int, int], flip: bool) -> None:
    image, (width, height) = photo(200, 150), side
    drawn = Draw(11, 23, height, width, SIZE, flip=flip)
    crop = np.asarray(image)[11 : 11 + height, 23 : 23 + width]
    other = Cut(np.full((40, longest_side(SIZE), 3), 255, np.uint8), drawn)
    ours = resized(join([[other], [Cut(crop, drawn)], [other]]))[1:2]
    theirs = F.resized_crop(image, 11, 23, height, width, [SIZE, SIZE])
    mean, most = off(ours, pixels([F.horizontal_flip(theirs) if flip else theirs]))
    assert mean < 0.3
    assert most <= 1


def test_large_crops_are_close_to_those_of_pillow() -> None:
    image = photo(900, 700)
    view = CropFlip(SIZE, crop_scale=(0.3, 1.0), flip_probability=0).transforms[0]
    for seed in range(4):
        torch.manual_seed(seed)
        found = cut(view, np.asarray(image))
        assert max(found.pixels.shape) <= longest_side(SIZE)
        torch.manual_seed(seed)
        mean, _ = off(resized(join([[found]])), view(image)[None].float())
        assert mean < 1


@pytest.mark.parametrize(
    ("change", "function", "factors"),
    [
        (0, F.adjust_brightness, (0.6, 0.93, 1.0, 1.4)),
        (1, F.adjust_contrast, (0.6, 0.93, 1.0, 1.4)),
        (2, F.adjust_saturation, (0.0, 0.8, 1.1, 1.9)),
        (3, F.adjust_hue, (-0.5, -0.07, 0.0, 0.1)),
    ],
)
def test_colours_change_as_by_torchvision(change: int, function: Any, factors: Any) -> None:
    ours = changed(pixels(PHOTOS), torch.full((4,), change), torch.tensor(factors))
    theirs = [function(image, factor) for image, factor in zip(PHOTOS, factors, strict=True)]
    mean, most = off(ours, pixels(theirs))
    assert mean < 0.01
    assert most <= (6 if change == 3 else 1), "one step of 255 in hue is up to 6 levels"


def test_no_change_of_colour_is_none() -> None:
    images = pixels(PHOTOS)
    assert torch.equal(changed(images, torch.full((4,), -1), torch.ones(4)), images)


def test_grey_is_that_of_torchvision() -> None:
    ours = grey(pixels(PHOTOS)).expand(-1, 3, -1, -1)
    assert torch.equal(ours, pixels([F.rgb_to_grayscale(image, 3) for image in PHOTOS]))


@pytest.mark.parametrize("sigma", [(0.0, 0.1, 0.3, 0.7), (1.3, 1.9, 2.0, 9.0)])
def test_blur_is_that_of_pillow(sigma: tuple[float, ...]) -> None:
    ours = blurred(pixels(PHOTOS), torch.tensor(sigma))
    theirs = [p.filter(ImageFilter.GaussianBlur(s)) for p, s in zip(PHOTOS, sigma, strict=True)]
    mean, most = off(ours, pixels(theirs))
    assert mean < 0.15
    assert most <= 3


def test_solarisation_is_that_of_torchvision() -> None:
    draws = [Draw(0, 0, SIZE, SIZE, SIZE, solarize=bool(i % 2)) for i in range(4)]
    cuts = [[Cut(np.asarray(image), drawn)] for image, drawn in zip(PHOTOS, draws, strict=True)]
    theirs = [F.solarize(p, 128) if d.solarize else p for p, d in zip(PHOTOS, draws, strict=True)]
    assert torch.equal(make_views(join(cuts)), pixels(theirs))


# -- whole views ---------------------------------------------------------------------------------


def drawn_cuts(views: Any, count: int) -> tuple[list[list[Cut]], list[list[Tensor]]]:
    """The cuts of some images, and the views that workers make of the same seeds."""
    cuts, made = [], []
    for index in range(count):
        image = photo(70 + 9 * index, 110 - 4 * index, index)
        for results, source, steps in (
            (cuts, np.asarray(image), [lambda x, v=v: cut(v, x) for v in views.transforms]),
            (made, image, views.transforms),
        ):
            torch.manual_seed(index)
            results.append([step(source) for step in steps])
    return cuts, made


@pytest.mark.parametrize("views", [TwoViews(SIZE), CropFlip(SIZE)])
def test_both_modes_make_the_same_views(views: TwoViews | CropFlip) -> None:
    cuts, made = drawn_cuts(views, 12)
    ours = make_views(join(cuts)).view(len(views.transforms), 12, 3, SIZE, SIZE)
    theirs = torch.stack([torch.stack(view) for view in zip(*made, strict=True)]).float()
    for one, other in zip(ours.flatten(0, 1), theirs.flatten(0, 1), strict=True):
        assert off(one, other)[0] < 0.6
    assert off(ours, theirs)[0] < 0.15


class Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_the_device_is_called_as_often_for_any_batch_and_never_waited_for() -> None:
    counts = []
    for batch in (4, 16):
        cuts = join(drawn_cuts(TwoViews(SIZE), batch)[0])
        with Waits() as waits, Calls() as calls:
            make_views(cuts)
        assert not waits.found
        counts.append(calls.count)
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_views_are_the_same_on_the_gpu_which_is_not_waited_for() -> None:
    cuts = join(drawn_cuts(TwoViews(SIZE), 12)[0])
    there = move_data_to_device(cuts, torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = make_views(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert off(found.cpu(), make_views(cuts))[0] < 0.1
