# ruff: noqa: NPY002  (timm draws from the global generators)
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import transforms_imagenet_train
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, DeiT, ImageDataModule
from cast_exp.data.datasets import ImageFolder
from cast_exp.data.deit import Erasing, RandAugment
from cast_exp.data.loader import collate
from cast_exp.data.samples import Samples
from cast_exp.data.sampling import EpochSampler, sample_seed
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid, Seeds

SEED = 3


def photo(width: int = 80, height: int = 60, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def samples(folder: Path, method: Any = None, **options: Any) -> Samples:
    views = DeiT(32, **options)
    dataset = ImageFolder("train", folder)
    return Samples(dataset, views.transforms, method or Seeds(16), SEED, 1, views.erasing)


# -- the view ----------------------------------------------------------------------------------


def test_the_steps_are_those_of_timm() -> None:
    """The same kinds of steps with the same numbers as timm builds for DeiT's options."""
    crop, flip, policy, _ = DeiT().transforms[0].transforms
    wanted_crop, wanted_flip, wanted_policy, *_ = transforms_imagenet_train(
        224, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic", color_jitter=0.3
    ).transforms
    assert tuple(crop.size) == tuple(wanted_crop.size)
    assert tuple(crop.scale) == tuple(wanted_crop.scale)
    assert tuple(crop.ratio) == tuple(wanted_crop.ratio)
    assert crop.interpolation == v2.InterpolationMode.BICUBIC
    assert flip.p == wanted_flip.p
    assert policy.operations.num_layers == wanted_policy.num_layers
    for operation, wanted in zip(policy.operations.ops, wanted_policy.ops, strict=True):
        for name in ("name", "prob", "magnitude", "magnitude_std", "kwargs"):
            assert getattr(operation, name) == getattr(wanted, name), name
    cover = DeiT().erasing.erase
    assert (cover.probability, cover.min_area, cover.max_area) == (0.25, 0.02, 1 / 3)
    assert cover.per_pixel
    assert cover.max_count == 1


def test_no_operation_fails_at_any_magnitude() -> None:
    augment, image = RandAugment("rand-m10-n4-p1.0-mstd0.5-inc1"), photo(32, 32)
    torch.manual_seed(0)
    for _ in range(150):
        assert augment(image).size == (32, 32)


def test_parts_can_be_left_out() -> None:
    views = DeiT(32, (1, 1), 0.0, None, 0.0)
    assert views.erasing is None
    square = photo(64, 64)
    wanted = np.asarray(square.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(views.transforms[0](square).numpy(), wanted)


def test_a_sample_depends_on_its_key_and_seed_only(folder: Path) -> None:
    data = samples(folder)
    keys = [(epoch, draw) for epoch in range(2) for draw in (0, 7, 24 + 7, 48 + 7)]
    first = [data[key] for key in keys]
    for disturb in range(3):
        torch.manual_seed(disturb)
        random.seed(disturb)
        np.random.seed(disturb)
        kept = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        for key, item in zip(reversed(keys), reversed(first), strict=True):
            again = data[key]
            assert torch.equal(again["views"][0], item["views"][0])
            assert torch.equal(again["superpixels"][0], item["superpixels"][0])
        assert torch.equal(torch.get_rng_state(), kept[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == kept[1:]
    views = [item["views"][0] for item in first]
    assert not any(torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])
    assert [item["index"] for item in first] == [0, 7, 7, 7] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(folder: Path, workers: int) -> None:
    batches = []
    for n in (0, workers):
        sampler = EpochSampler(24, 8, SEED, repeats=3)
        loader = DataLoader(samples(folder), 4, sampler=sampler, num_workers=n, collate_fn=collate)
        batches.append(list(loader))
    for alone, parallel in zip(*batches, strict=True):
        for name in ("images", "superpixels"):
            assert torch.equal(alone[name][0], parallel[name][0])
        assert torch.equal(alone["index"], parallel["index"])


# -- erasing -----------------------------------------------------------------------------------


def always(before: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A view, what the network sees, what is outlined, and the noise that timm draws, or 0."""
    view = torch.randint(0, 256, (3, 40, 48), generator=torch.Generator().manual_seed(0)).byte()
    erasing = Erasing(1.0, superpixels_before=before)
    torch.manual_seed(5)
    seen, outlined = erasing(view)
    torch.manual_seed(5)
    random.seed(int(torch.randint(2**32, ())))
    noise = RandomErasing(1.0, mode="pixel", device="cpu")(torch.zeros(3, 40, 48))
    return view, seen, outlined, noise


def test_noise_is_normal_in_normalised_space_within_what_a_pixel_can_be() -> None:
    view, seen, outlined, noise = always(before=True)
    covered = noise != 0
    assert 0.02 * 0.8 < covered.float().mean() < 0.34
    assert torch.equal(seen[~covered], view[~covered])
    assert torch.equal(outlined, view), "superpixels are made before"
    mean, std = (np.array(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = np.clip((noise.double().numpy() * std + mean) * 255, 0, 255)
    assert np.abs(pixels - seen.numpy())[covered.numpy()].max() <= 0.5


def test_the_official_order_outlines_the_noise_as_its_code_casts_it() -> None:
    """One image at a time with NumPy: normalise, erase, undo in float64, cut, wrap around."""
    view, seen, outlined, noise = always(before=False)
    tensor = view.float().div(255)
    for channel in range(3):
        tensor[channel].sub_(IMAGENET_MEAN[channel]).div_(IMAGENET_STD[channel])
    tensor = torch.where(noise != 0, noise, tensor)
    mean, std = (np.array(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    undone = np.trunc((tensor.numpy().astype(np.float64) * std + mean) * 255)
    assert np.array_equal(outlined.numpy(), np.mod(undone, 256).astype(np.uint8))
    assert torch.equal(seen, always(before=True)[1]), "the network sees the same"
    assert undone.min() < 0 or undone.max() > 255, "nothing wrapped around in this example"


def test_grey_levels_that_the_official_round_trip_changes() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 1, 1)
    seen, outlined = Erasing(0.0, superpixels_before=False)(levels)
    assert torch.equal(seen, levels)
    change = levels.int() - outlined.int()
    assert (change == 1).flatten(1).sum(1).tolist() == [174, 53, 23]
    assert change.unique().tolist() == [0, 1]


@pytest.mark.parametrize("before", [True, False])
def test_validation_has_the_rounding_of_training(folder: Path, before: bool) -> None:
    views = DeiT(32, superpixels_before_erasing=before)
    method = Seeds(16)
    data = ImageDataModule(
        partial(ImageFolder), views, method, folder, 4, image_size=32, workers=0, max_unreadable=1
    )
    loaded = next(iter(data.plain_dataloader("train")))
    for view, labels in zip(loaded["images"][0], loaded["superpixels"][0].long(), strict=True):
        mean, std = (np.array(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
        normalised = ((view / 255).numpy() - mean.astype("f4")) / std.astype("f4")
        rounded = torch.from_numpy(np.trunc((normalised.astype(float) * std + mean) * 255)).byte()
        assert not torch.equal(rounded, view)
        expected = view if before else rounded
        assert torch.equal(labels, method(expected[None] / 255)[0])


@pytest.mark.parametrize("before", [True, False])
def test_superpixels_are_those_of_the_clean_or_of_the_erased_view(
    folder: Path, before: bool
) -> None:
    method = Seeds(16)
    options = {"erasing_probability": 1.0, "superpixels_before_erasing": before}
    data = samples(folder, method, **options)
    differ = 0
    for index in range(4):
        item = data[0, index]
        torch.manual_seed(sample_seed(SEED, 0, index, 0))
        view = data.transforms[0](data.dataset[index]["image"])
        seen, outlined = data.erasing(view)
        assert torch.equal(item["views"][0], seen)
        labels = item["superpixels"][0].long()
        assert torch.equal(labels, method(outlined[None] / 255)[0])
        clean = method(view[None] / 255)[0]
        assert torch.equal(labels, clean) or not before
        differ += not torch.equal(labels, clean)
    assert differ == (0 if before else 4)


def test_views_are_erased_as_often_as_they_should() -> None:
    erasing, view = Erasing(0.25), torch.zeros(3, 16, 16, dtype=torch.uint8)
    torch.manual_seed(0)
    erased = sum(bool(erasing(view)[0].any()) for _ in range(400))
    assert abs(erased / 400 - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


# -- the data module ---------------------------------------------------------------------------


def module(folder: Path, **options: Any) -> ImageDataModule:
    settings = {"batch_size": 8, "image_size": 32, "workers": 0} | options
    return ImageDataModule(ImageFolder, DeiT(32), Grid(16), folder, **settings)


def test_an_epoch_with_repeats_shows_each_image_thrice_in_views_of_its_own(folder: Path) -> None:
    batches = list(module(folder, repeats=3).train_dataloader())
    assert len(batches) == 24 // 8
    index = torch.cat([b["index"] for b in batches]).tolist()
    images = torch.cat([b["images"][0] for b in batches])
    assert sorted(index) == sorted([*dict.fromkeys(index)] * 3)
    assert len({image.numpy().tobytes() for image in images}) == 24


def test_erasing_needs_superpixels_of_the_worker(folder: Path) -> None:
    with pytest.raises(UserError, match=r"superpixels_on=worker or augmentation\.erasing_prob"):
        module(folder, superpixels_on="device")


def test_evaluation_can_resize_bicubically(folder: Path) -> None:
    data = module(folder, eval_resize="bicubic", eval_crop=1)
    (image,) = next(iter(data.plain_dataloader("val", limit=1)))["images"][0]
    index = next(iter(data.plain_dataloader("val", limit=1)))["index"].item()
    raw = data.raw("val")[index]["image"]
    scale = 32 / min(raw.size)
    resized = raw.resize((int(raw.width * scale), 32), Image.Resampling.BICUBIC)
    left = round((resized.width - 32) / 2)
    wanted = np.asarray(resized.crop((left, 0, left + 32, 32))).transpose(2, 0, 1)
    assert np.array_equal(image.numpy(), wanted)
