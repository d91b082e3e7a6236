import logging
from multiprocessing import active_children
from multiprocessing.context import SpawnContext
from operator import methodcaller
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.trainers import on_rank
from torchvision.transforms.v2 import functional as F

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, DeiT, ImageDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder
from cast_exp.data.transforms import denormalise
from cast_exp.errors import UserError
from cast_exp.superpixels import FastSlic, Grid, Seeds, SuperpixelMethod

LOADERS = methodcaller("train_dataloader"), methodcaller("val_dataloader")


def module(root: Path, **options: object) -> ImageDataModule:
    defaults = {
        "dataset": ImageFolder,
        "views": TwoViews(32),
        "superpixel": Grid(16),
        "root": root,
        "batch_size": 8,
        "image_size": 32,
        "eval_crop": 1.0,
        "workers": 0,
    }
    return ImageDataModule(**{**defaults, **options})


def test_training_batches(folder: Path) -> None:
    data = module(folder)
    loader = data.train_dataloader()
    assert len(loader) == 3
    for raw in loader:
        batch = data.prepare(raw, "cpu")
        assert set(batch) == {"images", "superpixels", "label", "index"}
        for pixels, images, labels in zip(
            raw["images"], batch["images"], batch["superpixels"], strict=True
        ):
            assert (images.dtype, images.shape) == (torch.float32, (8, 3, 32, 32))
            reference = F.normalize(F.to_dtype(pixels, scale=True), IMAGENET_MEAN, IMAGENET_STD)
            torch.testing.assert_close(images, reference)
            torch.testing.assert_close(denormalise(images), pixels / 255)
            assert (labels.map.dtype, labels.map.shape) == (torch.int64, (8, 32, 32))
            assert labels.map.unique().tolist() == list(range(16))
            assert (labels.count, labels.sizes.tolist()) == (16, [[64] * 16] * 8)
        raw_data = data.raw("train")
        assert [raw_data[i]["label"] for i in batch["index"]] == batch["label"].tolist()
        assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert (data.num_classes, data.classes) == (3, ["ant", "bee", "cat"])


def test_plain_batches_are_every_image_once_in_order(folder: Path) -> None:
    data = module(folder, seed=3)
    for split, count in (("train", 24), ("val", 9)):
        batches = [data.prepare(b, "cpu") for b in data.plain_dataloader(split, batch_size=5)]
        assert torch.cat([b["index"] for b in batches]).tolist() == list(range(count))
        assert batches[0]["images"].shape == (5, 3, 32, 32)
        assert batches[0]["superpixels"].map.shape == (5, 32, 32)
        again = data.prepare(next(iter(data.plain_dataloader(split, batch_size=5))), "cpu")
        assert torch.equal(again["images"], batches[0]["images"])


def test_limit_is_a_fixed_choice_over_all_classes(folder: Path) -> None:
    chosen = [
        [
            int(i)
            for b in module(folder, seed=seed).plain_dataloader("train", 12)
            for i in b["index"]
        ]
        for seed in (0, 1)
    ]
    assert chosen[0] == chosen[1] == sorted(set(chosen[0]))
    assert len(chosen[0]) == 12
    assert {i // 8 for i in chosen[0]} == {0, 1, 2}


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_same_global_batch(folder: Path, ranks: int) -> None:
    """The samples themselves, not only their names, are those of one process."""
    alone = list(module(folder).train_dataloader())
    shares = [list(on_rank(module(folder), r, ranks).train_dataloader()) for r in range(ranks)]
    for whole, *parts in zip(alone, *shares, strict=True):
        index = torch.cat([p["index"] for p in parts])
        order, reference = index.argsort(), whole["index"].argsort()
        assert torch.equal(index[order], whole["index"][reference])
        for view in range(2):
            images = torch.cat([p["images"][view] for p in parts])[order]
            assert torch.equal(images, whole["images"][view][reference])


def test_ranks_share_the_validation_images_without_overlap(folder: Path) -> None:
    shares = [
        [data.prepare(b, "cpu") for b in data.val_dataloader()]
        for data in (on_rank(module(folder), r, 2) for r in range(2))
    ]
    assert [[len(b["label"]) for b in share] for share in shares] == [[4, 1], [4]]
    seen = torch.cat([b["index"] for share in shares for b in share])
    assert sorted(seen.tolist()) == list(range(9))
    reference = next(iter(module(folder).plain_dataloader("val")))["images"][0]
    raw = next(iter(on_rank(module(folder), 1, 2).val_dataloader()))
    assert torch.equal(raw["images"][0], reference[raw["index"]])


@pytest.mark.parametrize("method", [Grid(16), Grid(64)])
def test_superpixels_on_the_device_equal_those_of_the_worker(folder: Path, method: Grid) -> None:
    batches = [
        data.prepare(next(iter(data.train_dataloader())), "cpu")
        for data in (
            module(folder, superpixel=method, superpixels_on=w) for w in ("worker", "device")
        )
    ]
    for ours, theirs in zip(batches[0]["superpixels"], batches[1]["superpixels"], strict=True):
        assert torch.equal(ours.map, theirs.map)
        assert ours.count == theirs.count
    assert torch.equal(batches[0]["images"][1], batches[1]["images"][1])


@pytest.mark.parametrize("workers", [0, 2])
def test_views_made_on_the_device_are_those_of_the_worker(folder: Path, workers: int) -> None:
    theirs = module(folder, repeats=2, superpixels_on="device")
    on_device = {"repeats": 2, "augment_on": "device", "superpixels_on": "device"}
    ours = [on_rank(module(folder, workers=workers, **on_device), r, 2) for r in range(2)]
    loaders = [data.train_dataloader() for data in (theirs, *ours)]
    for whole, *shares in zip(*loaders, strict=True):
        reference = theirs.prepare(whole, "cpu")
        found = [data.prepare(share, "cpu") for data, share in zip(ours, shares, strict=True)]
        for key in ("index", "label"):
            both = torch.stack([share[key] for share in found], 1).flatten()
            assert torch.equal(both, reference[key])
        for view in range(2):
            images = torch.stack([share["images"][view] for share in found], 1).flatten(0, 1)
            levels = 255 * (denormalise(images) - denormalise(reference["images"][view]))
            assert levels.abs().mean() < 0.3
            labels = torch.stack([share["superpixels"][view].map for share in found], 1)
            assert torch.equal(labels.flatten(0, 1), reference["superpixels"][view].map)


def test_validation_is_the_same_where_the_device_makes_views(folder: Path) -> None:
    one, other = (
        data.prepare(next(iter(data.val_dataloader())), "cpu")
        for data in (
            module(folder, augment_on="device", superpixels_on="device"),
            module(folder),
        )
    )
    assert torch.equal(one["images"], other["images"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"superpixel": Seeds(16)}, "Seeds superpixels run on the CPU only; choose .*=slic"),
        ({"superpixels_on": "worker"}, "set data.superpixels_on=device"),
        ({"views": DeiT(32)}, "cannot make the views of DeiT; set data.augment_on=worker"),
    ],
)
def test_what_the_device_cannot_make_is_told(
    folder: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        module(folder, **{"augment_on": "device", "superpixels_on": "device", **options})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("where", ["worker", "device"])
def test_a_batch_is_the_same_on_the_gpu(folder: Path, where: str) -> None:
    data = on_rank(module(folder, superpixels_on=where, workers=1), 0, 1)
    reference = data.prepare(next(iter(data.train_dataloader())), "cpu")
    data.trainer.strategy.root_device = torch.device("cuda")
    raw = next(iter(data.train_dataloader()))
    assert raw["images"][0].is_pinned()
    batch = data.prepare(raw, "cuda")
    assert all(view.is_cuda for view in batch["images"])
    torch.testing.assert_close([view.cpu() for view in batch["images"]], reference["images"])
    for ours, theirs in zip(batch["superpixels"], reference["superpixels"], strict=True):
        assert ours.map.is_cuda
        torch.testing.assert_close(tuple(ours.to("cpu")), tuple(theirs))
    assert torch.equal(batch["index"].cpu(), reference["index"])


def test_superpixels_of_the_cpu_cannot_run_on_the_device(folder: Path) -> None:
    with pytest.raises(UserError, match=r"Seeds superpixels run on the CPU only.*=worker"):
        module(folder, superpixel=Seeds(16), superpixels_on="device")


def test_batch_must_suit_devices_and_data(folder: Path) -> None:
    with pytest.raises(UserError, match="shared by 3"):
        on_rank(module(folder), 0, 3).setup("fit")
    with pytest.raises(UserError, match="batch_size=25 is more than the 24 training images"):
        module(folder, batch_size=25).setup("fit")
    small = module(folder, batch_size=25, drop_last=False)
    small.setup("fit")
    assert [len(b["label"]) for b in small.train_dataloader()] == [24]


def test_workers_share_the_cores_of_the_node(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def workers(cores: int, devices: int) -> int:
        monkeypatch.setattr("cast_exp.data.base.available_cores", lambda: cores)
        data = on_rank(module(folder, workers="auto"), 0, devices)
        return data.plain_dataloader("val").num_workers

    assert [workers(*x) for x in ((8, 1), (64, 1), (64, 8), (2, 4))] == [8, 16, 8, 1]


@pytest.mark.parametrize("name", ["train_dataloader", "val_dataloader"])
def test_workers_live_as_long_as_their_loader(name: str, folder: Path) -> None:
    loader = getattr(module(folder, workers=1), name)()
    before = set(active_children())
    batches = [batch["index"].tolist() for batch in loader]
    workers = set(active_children()) - before
    assert len(workers) == 1
    assert [batch["index"].tolist() for batch in loader] == batches
    assert set(active_children()) - before == workers


def on_cuda(folder: Path, method: SuperpixelMethod) -> ImageDataModule:
    data = on_rank(module(folder, superpixel=method, workers=1), 0, 1)
    data.trainer.strategy = SimpleNamespace(root_device=torch.device("cuda"))
    return data


class Unforkable(Grid):
    """What a forked worker cannot make."""

    forks = False


@pytest.mark.parametrize(("method", "spawns"), [(Grid(16), False), (Unforkable(16), True)])
def test_workers_are_spawned_for_what_cannot_be_forked(
    method: SuperpixelMethod, spawns: bool, folder: Path
) -> None:
    for loader in (f(on_cuda(folder, method)) for f in LOADERS):
        assert isinstance(loader.multiprocessing_context, SpawnContext) == spawns
    assert module(folder, superpixel=method).val_dataloader().multiprocessing_context is None


@pytest.mark.slow
def test_spawned_workers_make_the_same_batches(folder: Path) -> None:
    loader = on_cuda(folder, FastSlic(16)).train_dataloader()
    assert loader.multiprocessing_context is not None
    loader.pin_memory = False  # which needs a GPU
    expected = list(module(folder, superpixel=FastSlic(16)).train_dataloader())
    for batch, reference in zip(loader, expected, strict=True):
        for key in ("images", "superpixels"):
            assert all(map(torch.equal, batch[key], reference[key]))


def test_wrong_image_counts_are_reported(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    module(folder, expected_images={"train": 24}).setup("fit")
    assert not caplog.records
    module(folder, expected_images={"train": 25}).setup("fit")
    assert "24 training images, expected 25" in caplog.text


# -- unreadable files --------------------------------------------------------------------------


def damage(folder: Path, count: int) -> list[str]:
    files = sorted(map(str, (folder / "train").glob("*/*.jpg")))[:count]
    for file in files:
        Path(file).write_bytes(b"\xff\xd8broken")
    return files


@pytest.mark.parametrize("workers", [0, 2])
def test_few_unreadable_files_are_replaced_counted_and_reported(
    folder: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    bad = damage(folder, 2)
    data = module(folder, workers=workers)
    loader = data.train_dataloader()
    for _ in range(2):
        for batch in loader:
            assert len(batch["label"]) == 8
            assert not {0, 1} & set(batch["index"].tolist())
    assert sorted(data.unreadable) == bad
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2, "one message for each file, not for each time it is met"
    assert all(any(file in w for w in warnings) for file in bad)
    data.teardown("fit")
    assert "2 unreadable images" in caplog.text


def test_too_many_unreadable_files_stop_the_run_with_a_list(folder: Path) -> None:
    bad = damage(folder, 11)
    with pytest.raises(UserError, match=r"11 images cannot be read; 10 are tolerated") as caught:
        for _ in module(folder, max_unreadable=0.1).train_dataloader():
            pass
    assert sum(file in str(caught.value) for file in bad) == 11
    with pytest.raises(UserError, match=r"[1-8] images cannot be read; 0 are tolerated"):
        for _ in module(folder, max_unreadable=0.0).train_dataloader():
            pass
    for _ in module(folder, max_unreadable=0.5).train_dataloader():
        pass


def test_nothing_readable_stops_the_run(folder: Path) -> None:
    damage(folder, 24)
    with pytest.raises(UserError, match="images cannot be read") as caught:
        next(iter(module(folder, max_unreadable=1.0).train_dataloader()))
    assert str(caught.value).count(".jpg") <= 20


def test_evaluation_leaves_unreadable_images_out(folder: Path) -> None:
    damage(folder, 6)
    batches = list(module(folder).plain_dataloader("train", batch_size=4))
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(6, 24))
    assert [len(b["label"]) for b in batches] == [2, 4, 4, 4, 4]
