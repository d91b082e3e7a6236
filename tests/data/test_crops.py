"""Random crops for training on pixels."""

import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.trainers import on_rank
from support.voc import TRAIN, voc_tree

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, SceneDataModule
from cast_exp.data.crops import RandomCrop
from cast_exp.data.datasets import Shapes, VOCFolder
from cast_exp.data.photometric import outline_values
from cast_exp.run.plan import Plan
from cast_exp.superpixels import Grid, Seeds

SHAPES = partial(Shapes, train=26, val=7, size=32)
MEAN = np.array([124, 116, 104])


def module(**options: Any) -> SceneDataModule:
    defaults = {
        "dataset": SHAPES,
        "superpixel": Seeds(16, 5, 4),
        "batch_size": 4,
        "crop": 24,
        "workers": 0,
    }
    return SceneDataModule(**{**defaults, **options})


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose colours say where a pixel is from, and labels that do."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([4 * y, 4 * x, 0 * x], -1), (y // 8 * 6 + x // 8).astype(np.uint8)


@pytest.mark.parametrize("shape", [(40, 40), (17, 40), (40, 11), (10, 10)])
def test_a_crop_without_scaling_is_a_window_of_the_padded_image(shape: tuple[int, int]) -> None:
    image, labels = coordinates(*shape)
    height, width = (max(side, 20) for side in shape)
    padded = np.empty((height, width, 3), np.uint8)
    padded[:] = MEAN
    drawn = np.full((height, width), 255, np.uint8)
    crop = RandomCrop(20, (1.0, 1.0), 0.5)
    seen = set()
    for seed in range(60):
        pixels, cut = crop(image, labels, np.random.default_rng(seed))
        for flipped in (False, True):
            turn = slice(None, None, -1 if flipped else 1)
            padded[: shape[0], : shape[1]], drawn[: shape[0], : shape[1]] = (
                image[:, turn],
                labels[:, turn],
            )
            for top in range(height - 19):
                for left in range(width - 19):
                    window = slice(top, top + 20), slice(left, left + 20)
                    if np.array_equal(padded[window], pixels):
                        assert np.array_equal(drawn[window], cut)
                        seen.add((flipped, top, left))
                        break
    flips = {flipped for flipped, *_ in seen}
    assert flips == {False, True}
    if shape == (17, 40):  # all places occur, the last one too
        lefts = {left for *_, left in seen}
        assert min(lefts) == 0
        assert max(lefts) == 20
        assert len(lefts) > 15


def test_labels_stay_with_their_pixels_at_every_scale() -> None:
    image, labels = coordinates(64, 48)
    crop = RandomCrop(40, (0.5, 1.5), 0.5)
    sizes = []
    for seed in range(40):
        pixels, drawn = crop(image, labels, np.random.default_rng(seed))
        assert pixels.shape == (40, 40, 3)
        assert drawn.shape == (40, 40)
        valid = drawn != 255
        sizes.append(valid.sum())
        assert (pixels[~valid] == MEAN).all()
        y, x = pixels[valid][:, 0] / 4.0, pixels[valid][:, 1] / 4.0
        cells = drawn[valid]
        assert (np.abs(y - (cells // 6 * 8 + 3.5)) <= 5.5).all(), (
            "no farther than a resize moves it"
        )
        assert (np.abs(x - (cells % 6 * 8 + 3.5)) <= 5.5).all()
    assert min(sizes) < 1000
    assert max(sizes) == 1600


def test_scales_are_uniform() -> None:
    wide, _ = coordinates(2, 200), None
    factors = []
    for seed in range(300):
        _, drawn = RandomCrop(400, (0.5, 1.5), 0.5)(*wide, np.random.default_rng(seed))
        factors.append((drawn[0] != 255).sum() / 200)
    assert abs(np.mean(factors) - 1) < 0.06
    assert 0.5 <= min(factors) < 0.52
    assert 1.48 < max(factors) <= 1.5


# -- batches -----------------------------------------------------------------------------------


def test_batches() -> None:
    data = module()
    loader = data.train_dataloader()
    assert len(loader) == 6
    for raw in loader:
        batch = data.prepare(raw, "cpu")
        assert batch.keys() == {"images", "superpixels", "semantic", "index"}
        (pixels,) = raw["images"]
        assert pixels.dtype == torch.uint8
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        torch.testing.assert_close(batch["images"], (pixels / 255 - mean) / std)
        assert (batch["images"].dtype, batch["images"].shape) == (torch.float32, (4, 3, 24, 24))
        assert (batch["semantic"].dtype, batch["semantic"].shape) == (torch.int64, (4, 24, 24))
        labels = batch["superpixels"].map
        assert (labels.dtype, labels.shape) == (torch.int64, (4, 12, 12))
        # Halving bilinearly is the mean of four pixels.
        small = (torch.nn.functional.avg_pool2d(pixels.float(), 2) + 0.5).floor()
        assert torch.equal(labels, data.superpixel(small / 255))
        assert set(batch["semantic"].unique().tolist()) <= {*range(11), 255}


def test_superpixels_of_another_scale() -> None:
    data = module(superpixel_scale=1.0, superpixel=Seeds(16, 5, 4))
    (pixels,), (labels,) = (
        next(iter(data.train_dataloader()))[k] for k in ("images", "superpixels")
    )
    assert torch.equal(labels.long(), data.superpixel(pixels / 255))


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(x, y) for k in a for x, y in zip(*map(flat, (a[k], b[k])), strict=True)
    )


def flat(value: Any) -> list[torch.Tensor]:
    return value if isinstance(value, list) else [value]


def test_crops_depend_on_seed_epoch_and_index_only() -> None:
    straight = list(module().train_dataloader())
    assert all(map(equal, straight, module(workers=2).train_dataloader()))
    by_index = {
        int(i): p for b in straight for i, p in zip(b["index"], b["images"][0], strict=True)
    }
    other = module(batch_size=3)
    for batch in other.train_dataloader():
        for index, pixels in zip(batch["index"].tolist(), batch["images"][0], strict=True):
            if index in by_index:
                assert torch.equal(pixels, by_index[index])
    for changed in (module(seed=1), module()):
        loader = changed.train_dataloader()
        loader.sampler.set_epoch(1 - changed.seed)
        batches = list(loader)
        pairs = [
            torch.equal(p, by_index[int(i)])
            for b in batches
            for i, p in zip(b["index"], b["images"][0], strict=True)
            if int(i) in by_index
        ]
        assert pairs
        assert not any(pairs)


def test_going_on_in_the_middle_of_an_epoch() -> None:
    loader = module().train_dataloader()
    straight = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        straight.append(list(loader))
    resumed = module().train_dataloader()
    resumed.load_state_dict({"epoch": 1, "batch": 4})
    resumed.sampler.set_epoch(1)
    rest = list(resumed)
    assert len(rest) == 2
    assert all(map(equal, rest, straight[1][4:]))


def test_ranks_share_the_same_global_batch() -> None:
    alone = list(module().train_dataloader())
    shares = [list(on_rank(module(), rank, 2).train_dataloader()) for rank in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        index = torch.cat([part["index"] for part in parts])
        order, reference = index.argsort(), whole["index"].argsort()
        assert torch.equal(index[order], whole["index"][reference])
        joined = torch.cat([part["semantic"] for part in parts])
        assert torch.equal(joined[order], whole["semantic"][reference])


def test_unreadable_files_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = voc_tree(tmp_path) / f"SegmentationClass/{TRAIN[1]}.png"
    bad.write_bytes(b"\x89PNG")
    dataset = partial(VOCFolder, classes=["background", "cat", "dog"])
    data = module(dataset=dataset, root=tmp_path, superpixel=Grid(4), batch_size=3)
    with caplog.at_level(logging.WARNING):
        (batch,) = data.train_dataloader()
    assert len(batch["index"]) == 3
    assert set(batch["index"].tolist()) <= {0, 2}
    assert str(bad) in caplog.text


def test_images_smaller_than_the_crop(tmp_path: Path) -> None:
    dataset = partial(VOCFolder, classes=["background", "cat", "dog"])
    data = module(dataset=dataset, root=voc_tree(tmp_path), crop=128, batch_size=3)
    batch = data.prepare(next(iter(data.train_dataloader())), "cpu")
    assert batch["images"].shape == (3, 3, 128, 128)
    void = batch["semantic"] == 255
    assert void[:, -1, -1].all()
    assert batch["images"].movedim(1, -1)[:, -1].abs().max() < 0.01, "padded with the mean"


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 6), (False, 7)])
def test_a_plan_can_be_made(drop_last: bool, steps: int) -> None:
    trainer = SimpleNamespace(
        accumulate_grad_batches=1,
        limit_train_batches=1.0,
        max_epochs=2,
        max_steps=-1,
        world_size=2,
    )
    plan = Plan.of(trainer, module(drop_last=drop_last), 0.1)
    assert (plan.images, plan.steps_per_epoch, plan.steps) == (26, steps, 2 * steps)
    assert plan.batch_size_per_device == 2


# -- as Segmenter has them ---------------------------------------------------------------------


def test_no_class_covers_too_much_of_a_crop_where_another_crop_can_be_had() -> None:
    image, labels = np.zeros((40, 160, 3), np.uint8), np.zeros((40, 160), np.uint8)
    labels[:, 130:] = 1
    labels[:, :60] = 255  # which do not count

    def largest_shares(limit: float) -> np.ndarray:
        crop = RandomCrop(40, (1.0, 1.0), 0.0, class_share=limit)
        shares = []
        for seed in range(150):
            _, drawn = crop(image, labels, np.random.default_rng(seed))
            pixels = np.bincount(drawn[drawn != 255], minlength=2)
            shares.append(pixels.max() / max(pixels.sum(), 1))
        return np.array(shares)

    # 21 squares of 121 keep the limit: 10 to 30 of their 40 columns are of class 1. Void is none.
    shares = (largest_shares(limit) for limit in (1.0, 0.755))
    free, limited = (((share > 0) & (share < 0.755)).mean() for share in shares)
    assert abs(free - 21 / 121) < 0.1
    assert abs(limited - (1 - (100 / 121) ** 11)) < 0.08


def test_the_shorter_side_is_what_scales_are_of() -> None:
    for (height, width), ratio, expected in (((20, 30), 4.0, (40, 60)), ((10, 100), 2.0, (8, 80))):
        image, labels = coordinates(height, width)
        crop = RandomCrop(100, (1.0, 1.0), 0.0, short_side=40, max_ratio=ratio)
        _, drawn = crop(image, labels, np.random.default_rng(0))
        assert (drawn != 255).sum() == expected[0] * expected[1]


def test_distorted_crops_have_the_mean_around_them_and_superpixels_of_what_they_show() -> None:
    image, labels = coordinates(20, 20)
    plain, distorting = (RandomCrop(32, (1.0, 1.0), 0.0, distortion=on) for on in (False, True))
    changed = 0
    for seed in range(8):
        pixels, drawn = distorting(image, labels, np.random.default_rng(seed))
        assert (pixels[drawn == 255] == MEAN).all()
        changed += not np.array_equal(pixels, plain(image, labels, np.random.default_rng(seed))[0])
    assert changed >= 5
    inverting = module(superpixel_scale=1.0, distortion=True, inverted_superpixels=True)
    batch = next(iter(inverting.train_dataloader()))
    (pixels,), (labels_of_crops,) = batch["images"], batch["superpixels"]
    table = outline_values(inverted=True)
    inverted = np.stack([table[c][pixels[:, c].numpy()] for c in range(3)], 1)
    found = inverting.superpixel(torch.from_numpy(inverted) / 255)
    assert torch.equal(labels_of_crops.long(), found)
