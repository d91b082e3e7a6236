"""Scenes: their geometry against resampling pixel by pixel."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from support.scenes import Wide, module

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, Scene
from cast_exp.data.transforms import denormalise
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid, Seeds, SuperpixelMethod


class Scattered(SuperpixelMethod):
    """Labels with gaps, and superpixels of one pixel that a resize may lose."""

    device = "cpu"

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        labels = torch.full((images.shape[0], *images.shape[2:]), 3)
        labels[:, ::7, ::7] = 10 + torch.arange(labels[0, ::7, ::7].numel()).view(
            labels[0, ::7, ::7].shape
        )
        return labels

    def labels(self, height: int, width: int) -> int:
        return 10 + -(-height // 7) * -(-width // 7)


def pixel_by_pixel(drawn: np.ndarray, height: int, width: int) -> np.ndarray:
    """For each pixel, the one of those drawn whose square holds its centre."""
    resized = np.empty((height, width), drawn.dtype)
    for y in range(height):
        for x in range(width):
            row, column = (
                (2 * y + 1) * drawn.shape[0] // (2 * height),
                ((2 * x + 1) * drawn.shape[1] // (2 * width)),
            )
            resized[y, x] = drawn[row, column]
    return resized


@pytest.mark.parametrize("longer", [479, 498, 500])
def test_truncated_sizes_are_those_of_the_official_release(longer: int) -> None:
    dataset = partial(Wide, width=longer, height=33)
    data = module(dataset=dataset, superpixel=Grid(16), image_size=512, truncate_sizes=True)
    (scene,) = data.scenes("val")
    ratio = 512 / longer
    assert tuple(scene.image.shape[-2:]) == (int(ratio * 33), int(ratio * longer))
    assert scene.image.size(-1) == (512 if longer == 500 else 511)


@pytest.mark.parametrize("size", [20, 32, 75])
@pytest.mark.parametrize("shape", [(50, 37), (21, 64), (30, 30)])
def test_the_longer_side_becomes_the_size(shape: tuple[int, int], size: int) -> None:
    dataset = partial(Wide, width=shape[1], height=shape[0])
    data = module(dataset=dataset, superpixel=Seeds(40, 5, 4), image_size=size)
    (scene,) = data.scenes("val")
    raw = data.raw("val")[0]
    height, width = scene.image.shape[-2:]
    assert max(height, width) == size
    assert (height, width) == tuple(max(round(side * size / max(shape)), 1) for side in shape)
    # Superpixels are those of the untouched image, truth is untouched.
    pixels = torch.from_numpy(np.array(raw["image"])).movedim(-1, 0)[None] / 255
    assert torch.equal(scene.full_superpixels, data.superpixel(pixels)[0])
    assert np.array_equal(scene.truth["semantic"], raw["semantic"])
    assert all(map(np.array_equal, scene.truth["regions"], raw["regions"]))
    assert torch.equal(
        scene.superpixels.map[0],
        torch.from_numpy(pixel_by_pixel(scene.full_superpixels.numpy(), height, width)),
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    normalised = (pixels - mean) / std
    reference = torch.nn.functional.interpolate(normalised, (height, width), mode="bilinear")
    torch.testing.assert_close(scene.image, reference, rtol=0, atol=1e-4)
    assert scene.path == "wide"


@pytest.mark.parametrize("size", [16, 40])
@pytest.mark.parametrize("shape", [(50, 37), (21, 64), (30, 30)])
def test_square_and_central_crop(shape: tuple[int, int], size: int) -> None:
    dataset = partial(Wide, width=shape[1], height=shape[0])
    for fit in ("square", "center_crop"):
        data = module(dataset=dataset, superpixel=Seeds(30, 5, 4), image_size=size, fit=fit)
        (scene,) = data.scenes("val")
        raw = data.raw("val")[0]
        if fit == "square":
            height = width = size
        else:
            height, width = (side * size // min(shape) for side in shape)
        top, left = (height - size) // 2, (width - size) // 2
        window = slice(top, top + size), slice(left, left + size)
        resized = raw["image"].resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)[window]).movedim(-1, 0)[None] / 255
        torch.testing.assert_close(denormalise(scene.image), pixels)
        assert torch.equal(scene.superpixels.map, data.superpixel(pixels))
        assert torch.equal(scene.full_superpixels, scene.superpixels.map[0])
        drawn = [raw["semantic"], *raw["regions"]]
        placed = [scene.truth["semantic"], *scene.truth["regions"]]
        for before, after in zip(drawn, placed, strict=True):
            assert np.array_equal(after, pixel_by_pixel(before, height, width)[window])


@pytest.mark.parametrize("fit", ["long_side", "square", "center_crop"])
@pytest.mark.parametrize("size", [16, 33, 64])
def test_every_superpixel_has_a_pixel_at_both_sizes(fit: str, size: int) -> None:
    data = module(superpixel=Scattered(9), image_size=size, fit=fit)
    for scene in data.scenes("val"):
        numbers = list(range(scene.count))
        assert scene.superpixels.map.unique().tolist() == numbers
        assert scene.full_superpixels.unique().tolist() == numbers
        assert scene.count > 1
        assert scene.paint(torch.arange(scene.count)).equal(scene.full_superpixels)


def test_more_superpixels_than_pixels() -> None:
    data = module(superpixel=Grid(256), image_size=8)
    with pytest.raises(UserError, match=r"^shapes/val/0: 256 superpixels .* 8 x 8 pixels .*size"):
        list(data.scenes("val"))


def same(a: Scene, b: Scene) -> bool:
    return (
        (a.index, a.path) == (b.index, b.path)
        and torch.equal(a.image, b.image)
        and torch.equal(a.superpixels.map, b.superpixels.map)
        and torch.equal(a.full_superpixels, b.full_superpixels)
        and a.truth.keys() == b.truth.keys()
        and all(np.array_equal(a.truth[k], b.truth[k]) for k in a.truth)
    )


def test_workers_change_nothing() -> None:
    alone, parallel = (list(module(workers=n).scenes("val")) for n in (0, 2))
    assert [scene.index for scene in alone] == list(range(7))
    assert all(map(same, alone, parallel))
    assert len(alone) == len(parallel) == len(module().scenes("val"))


def test_scenes_in_windows() -> None:
    options = {"fit": "windows", "crop": 16, "short_side": 24, "stride": 12, "mirrored": True}
    data = module(dataset=partial(Wide, width=50, height=37), superpixel=Grid(16), **options)
    (scene,) = data.scenes("val")
    assert [version.size for version in scene.windows] == [(24, 32), (24, 32)]
    assert (scene.image.shape, scene.full_superpixels.shape) == ((1, 3, 37, 50), (37, 50))
    assert torch.equal(scene.superpixels.map[0], scene.full_superpixels)
    assert np.array_equal(scene.truth["semantic"], data.raw("val")[0]["semantic"])
    assert data.first_superpixels("val") == 16
    with pytest.raises(UserError, match=r"fit=windows is for segmentation.* data.fit .*long_side"):
        data.need("regions")
    with pytest.raises(UserError, match=r"data.stride=17 leaves pixels out.* data.crop=16"):
        module(**options | {"stride": 17})
