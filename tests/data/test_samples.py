from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from cast_exp.data.datasets import ImageFolder
from cast_exp.data.samples import Samples, collate
from cast_exp.data.sampling import FixedSampler
from cast_exp.data.transforms import TwoViews, evaluation_transform
from cast_exp.superpixels import Grid, Seeds


def samples(folder: Path, count: int = 16, seed: int = 0, attempts: int = 16) -> Samples:
    data = ImageFolder("train", folder)
    return Samples(data, TwoViews(32).transforms, Grid(count), seed, attempts)


def same(a: dict, b: dict) -> bool:
    return all(
        torch.equal(x, y)
        for key in ("images", "superpixels")
        for x, y in zip(a[key], b[key], strict=True)
    ) and torch.equal(a["index"], b["index"])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(folder: Path, workers: int) -> None:
    keys = FixedSampler([3, 1, 20, 7, 5, 12])
    loaders = [
        DataLoader(samples(folder), 2, sampler=keys, num_workers=n, collate_fn=collate)
        for n in (0, workers)
    ]
    for alone, parallel in zip(*loaders, strict=True):
        assert same(alone, parallel)


def test_a_sample_depends_on_seed_epoch_index_and_view_only(folder: Path) -> None:
    data = samples(folder)
    first = collate([data[2, 5]])
    torch.manual_seed(99)
    state = torch.get_rng_state()
    data[7, 1]
    assert same(first, collate([data[2, 5]]))
    assert torch.equal(state, torch.get_rng_state()), "the generator of the model was touched"
    for other in (data[3, 5], samples(folder, seed=1)[2, 5]):
        assert not same(first, collate([other]))
    data.transforms = [data.transforms[0]] * 2
    views = data[2, 5]["views"]
    assert not torch.equal(views[0], views[1]), "the view is not part of the seed"


def test_superpixels_are_those_of_the_finished_view(folder: Path) -> None:
    method = Seeds(16)
    data = Samples(ImageFolder("train", folder), TwoViews(32).transforms, method, 0, 1)
    batch = collate([data[0, i] for i in range(4)])
    for images, labels in zip(batch["images"], batch["superpixels"], strict=True):
        assert (images.dtype, images.shape) == (torch.uint8, (4, 3, 32, 32))
        assert (labels.dtype, labels.shape) == (torch.int16, (4, 32, 32))
        assert torch.equal(labels.long(), method(images / 255))


def test_labels_that_need_it_are_shipped_in_32_bits(folder: Path) -> None:
    assert samples(folder, count=2**15 - 1)[0, 0]["superpixels"][0].dtype == torch.int16
    assert samples(folder, count=2**15)[0, 0]["superpixels"][0].dtype == torch.int32


def test_an_unreadable_image_is_replaced_the_same_way_every_time(folder: Path) -> None:
    bad = folder / "train/ant/0.jpg"  # index 0
    bad.write_bytes(b"")
    item = samples(folder)[0, 0]
    assert item["unreadable"] == [(str(bad), "empty file (0 bytes)")]
    assert item["index"] != 0
    assert item["label"] == ImageFolder("train", folder)[item["index"]]["label"]
    again = samples(folder)[0, 0]
    assert same(collate([item]), collate([again]))
    assert len({samples(folder)[epoch, 0]["index"] for epoch in range(8)}) > 1


def test_giving_up_leaves_a_hole_in_the_batch(folder: Path) -> None:
    (folder / "train/ant/0.jpg").write_bytes(b"")
    data = Samples(ImageFolder("train", folder), [evaluation_transform(32, 1.0)], Grid(16), 0, 1)
    batch = collate([data[0, i] for i in range(3)])
    assert (batch["lost"], batch["index"].tolist(), len(batch["unreadable"])) == (1, [1, 2], 1)
    assert batch["images"][0].shape == (2, 3, 32, 32)
    empty = collate([data[0, 0]])
    assert (empty["lost"], empty["images"], len(empty["label"])) == (1, [], 0)
