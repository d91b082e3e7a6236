from collections.abc import Callable

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import RandomResizedCrop

from cast_exp.cli.check import composed
from cast_exp.data.transforms import CropFlip, TwoViews, evaluation_transform


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [32, 224])
def test_operations_and_their_order_against_pillow(size: int) -> None:
    """All random choices pinned, the view is this chain of Pillow calls, bit for bit."""
    views = TwoViews(
        size,
        crop_scale=(1, 1),  # no rectangle of that area fits a square but the square itself
        jitter_probability=0,
        grayscale_probability=1,
        blur_sigma=(1.37, 1.37),
        blur_probability=(1, 0),
        solarize_probability=(1, 1),
        flip_probability=1,
    )
    image = photo(300, 300)
    expected = image.resize((size, size), Image.Resampling.BILINEAR)
    expected = Image.merge("RGB", [expected.convert("L")] * 3)
    second = ImageOps.mirror(ImageOps.solarize(expected, 128))
    first = ImageOps.mirror(ImageOps.solarize(expected.filter(ImageFilter.GaussianBlur(1.37)), 128))
    for transform, reference in zip(views.transforms, (first, second), strict=True):
        view = transform(image)
        assert view.dtype == torch.uint8
        assert np.array_equal(view.numpy(), array(reference))


def configured_views() -> TwoViews:
    return instantiate(composed(["data=imagenet", "augmentation=byol"]).augmentation)


@pytest.mark.parametrize("make", [TwoViews, configured_views])
def test_published_numbers(make: Callable[[], TwoViews]) -> None:
    """The recipe, read off the built views."""
    first, second = make().transforms
    for view, blur, solarize in ((first, 1.0, 0.0), (second, 0.1, 0.2)):
        assert view.size == 224
        assert tuple(view.crop.size) == (224, 224)
        assert view.crop.scale == (0.08, 1.0)
        assert tuple(view.crop.ratio) == (3 / 4, 4 / 3)
        assert getattr(view.crop.interpolation, "value", view.crop.interpolation) == "bilinear"
        colour = view.colour
        assert colour.jitter_probability == 0.8
        assert tuple(colour.jitter.brightness) == tuple(colour.jitter.contrast) == (0.6, 1.4)
        assert tuple(colour.jitter.saturation) == (0.8, 1.2)
        assert tuple(colour.jitter.hue) == (-0.1, 0.1)
        assert colour.grayscale_probability == 0.2
        assert colour.blur_probability == blur
        assert colour.blur_sigma == (0.1, 2.0)
        assert colour.solarize_probability == solarize
        assert view.flip_probability == 0.5


def test_the_single_view_is_crop_and_flip() -> None:
    """Drawn again from the parts, over enough seeds to see both sides of the flip."""
    image, flips = photo(500, 375), set()
    (transform,) = CropFlip(64).transforms
    for seed in range(8):
        torch.manual_seed(seed)
        view = transform(image)
        torch.manual_seed(seed)
        top, left, height, width = RandomResizedCrop.get_params(
            image, scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3]
        )
        box = (left, top, left + width, top + height)
        crop = array(image.crop(box).resize((64, 64), Image.Resampling.BILINEAR))
        flips.add(flipped := not np.array_equal(view.numpy(), crop))
        assert np.array_equal(view.numpy(), crop[..., ::-1] if flipped else crop)
    assert flips == {True, False}


def test_operations_happen_as_often_as_they_should() -> None:
    """Greyscale is seen in the pixels; its share over 400 draws is 0.2 within four deviations."""
    transform = TwoViews(16).transforms[1]
    image = photo(64, 48)
    torch.manual_seed(0)
    views = torch.stack([transform(image) for _ in range(400)]).int()
    gray = ((views[:, 0] == views[:, 1]) & (views[:, 1] == views[:, 2])).flatten(1).all(1)
    assert abs(gray.float().mean() - 0.2) < 4 * (0.2 * 0.8 / 400) ** 0.5


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (224, 224), (90, 400)])
def test_evaluation_is_resize_256_and_central_crop_224(width: int, height: int) -> None:
    image = photo(width, height)
    scale = 256 / min(width, height)
    resized = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
    reference = resized.crop((left, top, left + 224, top + 224))
    view = evaluation_transform(224, 0.875)(image)
    assert np.array_equal(view.numpy(), array(reference))


def test_evaluation_of_small_images_only_resizes() -> None:
    image = photo(32, 32)
    reference = image.resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(evaluation_transform(64, 1.0)(image).numpy(), array(reference))
    assert np.array_equal(evaluation_transform(32, 1.0)(image).numpy(), array(image))
