"""What holds for every file in conf/superpixel."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from support.drawing import batch, shapes

from cast_exp.errors import UserError
from cast_exp.superpixels import FastSlic, Grid, Seeds, Slic, SuperpixelMethod

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "superpixel").glob("*.yaml"))
SIZES = [
    *((1, 1), (1, 40), (2, 3), (9, 4), (5, 300), (33, 50), (64, 64), (96, 64), (71, 113)),
    *((224, 224), (333, 500)),
]
ALL = [Seeds, FastSlic, Slic, Grid]


@pytest.fixture(params=[*NAMES, "fast_slic exact"], scope="module")
def method(request: pytest.FixtureRequest) -> SuperpixelMethod:
    if request.param.startswith("fast_slic") and not FastSlic.is_installed():
        pytest.skip("fast-slic is not installed")
    overrides = [f"+superpixel={text}" for text in request.param.split()]
    overrides = [text.replace("superpixel=exact", "superpixel.exact=true") for text in overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=overrides).superpixel)


def test_official_parameters_have_a_file_each() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = {
            name: instantiate(compose(overrides=[f"+superpixel={name}"]).superpixel)
            for name in ("seeds", "seeds_supervised", "seeds_dense")
        }
    values = {
        name: (seeds.count, seeds.histogram_bins, seeds.iterations) for name, seeds in found.items()
    }
    assert values == {
        "seeds": (196, 15, 20),
        "seeds_supervised": (196, 5, 15),
        "seeds_dense": (1024, 5, 15),
    }


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_labels_of_any_size(method: SuperpixelMethod, height: int, width: int) -> None:
    labels = method(batch(shapes(height, width, seed=1)[0], shapes(height, width, seed=2)[0]))
    assert labels.dtype == torch.int64
    assert labels.shape == (2, height, width)
    count = method.labels(height, width)
    assert 0 <= labels.min() <= labels.max() < count <= min(method.count, height * width)
    if method.full:
        assert all(len(image.unique()) == count for image in labels)
    if height * width >= 64 * 64:
        # Few superpixels are merged or lost: the number is not far above the largest label.
        assert labels.max() + 1 > 0.8 * count


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_one_colour(method: SuperpixelMethod, grey: int) -> None:
    labels = method(batch(np.full((224, 224, 3), grey, np.uint8)))[0]
    areas = labels.flatten().bincount()
    assert len(areas) > 0.9 * min(method.count, 196)
    assert areas.min() > 0.2 * areas.float().mean()


def test_grey_photo(method: SuperpixelMethod) -> None:
    image = np.repeat(shapes(224, 224)[0][..., :1], 3, 2)
    assert len(method(batch(image)).unique()) > min(method.count, 196) / 2


def test_an_image_is_independent_of_its_batch_and_of_random_state(method: SuperpixelMethod) -> None:
    images = batch(*(shapes(80, 112, seed)[0] for seed in range(3)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    together = method(images)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    alone = [method(image[None])[0] for image in images]
    assert torch.equal(together, torch.stack(alone))
    assert torch.equal(together, method(images.flip(0)).flip(0))


def test_other_memory_layouts_and_precisions(method: SuperpixelMethod) -> None:
    images = batch(*(shapes(64, 48, seed)[0] for seed in range(2)))
    expected = method(images.contiguous())
    assert torch.equal(method(images.to(memory_format=torch.channels_last)), expected)
    assert torch.equal(method(images.double()), expected)


def test_goes_to_worker_processes(method: SuperpixelMethod) -> None:
    images = batch(shapes(64, 64)[0])
    assert torch.equal(pickle.loads(pickle.dumps(method))(images), method(images))


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (torch.rand(3, 32, 32), r"shape \(B, 3, H, W\), not \(3, 32, 32\)"),
        (torch.rand(1, 1, 32, 32), r"not \(1, 1, 32, 32\)"),
        (torch.rand(1, 3, 0, 32), r"not \(1, 3, 0, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"torch\.uint8; divide by 255"),
    ],
)
def test_refuses_what_is_no_image(
    method: SuperpixelMethod, images: torch.Tensor, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        method(images)
