import itertools
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from support.feature_ranks import cannot_save
from support.two_ranks import on_two_ranks
from torch import Tensor

from cast_exp.data import CropFlip, ImageDataModule
from cast_exp.data.datasets import ImageFolder
from cast_exp.data.features import CachedFeatures, Features
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid


def colour(batch: dict[str, Any]) -> Tensor:
    """Mean colour and number of superpixels, (B, 4)."""
    return torch.cat(
        [batch["images"].mean((2, 3)), batch["superpixels"].map.amax((1, 2))[:, None]], 1
    )


def images(root: Path, **options: Any) -> ImageDataModule:
    settings: dict[str, Any] = {"views": CropFlip(32), "superpixel": Grid(16), "drop_last": False}
    settings |= {"batch_size": 10, "image_size": 32, "eval_crop": 1.0, "workers": 0}
    return ImageDataModule(ImageFolder, root=root, **(settings | options))


def cached(
    root: Path, run: Path, encoder: Any = colour, key: str = "a", **options: Any
) -> CachedFeatures:
    data = CachedFeatures(images(root, **options), encoder, lambda: key)
    data.trainer = Trainer(default_root_dir=run, accelerator="cpu", logger=False)
    data.setup("fit")
    return data


def never(batch: dict[str, Any]) -> Tensor:
    raise AssertionError("encoded again")


def test_features_are_those_of_the_plain_images(folder: Path, tmp_path: Path) -> None:
    data = cached(folder, tmp_path / "run")
    for split, count in (("train", 24), ("val", 9)):
        features = data.features(split)
        batch = next(iter(data.images.plain_dataloader(split)))
        batch = data.images.prepare(batch, "cpu")
        torch.testing.assert_close(features.features, colour(batch))
        assert torch.equal(features.label, batch["label"])
        assert features.index.tolist() == list(range(count))
    assert data.num_classes == 3


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("ranks", [1, 2])
def test_batches_come_in_the_order_of_the_images(
    folder: Path, tmp_path: Path, ranks: int, drop_last: bool
) -> None:
    for rank in range(ranks):
        data = cached(folder, tmp_path / "run", drop_last=drop_last)
        data.features("train"), data.features("val")
        device = SimpleNamespace(root_device=torch.device("cpu"))
        share = SimpleNamespace(
            global_rank=rank, world_size=ranks, num_devices=ranks, strategy=device, callbacks=[]
        )
        data.trainer = data.images.trainer = share
        ours, theirs = data.train_dataloader(), data.images.train_dataloader()
        assert len(ours) == len(theirs)
        for epoch in range(2):
            ours.sampler.set_epoch(epoch)
            theirs.sampler.set_epoch(epoch)
            for mine, batch in itertools.zip_longest(ours.batches(), theirs.batches()):
                assert torch.equal(mine["index"], batch["index"])
                assert torch.equal(mine["label"], batch["label"])
                assert torch.equal(mine["features"], data.features("train").features[mine["index"]])
        val, reference = data.val_dataloader(), data.images.val_dataloader()
        for mine, batch in itertools.zip_longest(val, reference):
            assert torch.equal(mine["index"], batch["index"])


def test_a_resumed_run_reads_what_is_there(folder: Path, tmp_path: Path) -> None:
    first = cached(folder, tmp_path / "run")
    again = cached(folder, tmp_path / "run", never)
    with pytest.raises(AssertionError, match="encoded again"):
        again.features("train")
    computed = first.features("train")
    read = again.features("train")
    for name, column in vars(computed).items():
        assert torch.equal(column, vars(read)[name])
        assert column.dtype == vars(read)[name].dtype
    assert again.features("train") is read


@pytest.mark.parametrize(
    "change",
    [
        {"key": "b"},
        {"image_size": 16},
        {"eval_crop": 0.5},
        {"superpixel": Grid(4)},
    ],
)
def test_features_of_something_else_are_not_used(
    change: dict[str, Any], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached(folder, tmp_path / "run").features("val")
    data = cached(folder, tmp_path / "run", **change)
    with caplog.at_level(logging.WARNING):
        features = data.features("val")
    assert "another backbone or other data" in caplog.text
    batch = data.images.prepare(next(iter(data.images.plain_dataloader("val"))), "cpu")
    torch.testing.assert_close(features.features, colour(batch))
    cached(folder, tmp_path / "run", never, **change).features("val")  # now those are there


def test_features_of_fewer_images_are_not_used(folder: Path, tmp_path: Path) -> None:
    cached(folder, tmp_path / "run").features("val")
    next((folder / "val" / "ant").glob("*.jpg")).unlink()
    assert len(cached(folder, tmp_path / "run").features("val")) == 8


def test_features_of_replaced_images_are_not_used(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = cached(folder, tmp_path / "run").features("val")
    path = sorted((folder / "val").glob("*/*.jpg"))[4]
    path.write_bytes(sorted((folder / "train").glob("*/*.jpg"))[0].read_bytes())
    after = cached(folder, tmp_path / "run").features("val")
    assert caplog.text.count("computed anew") == 1
    changed = (before.features != after.features).any(1)
    assert changed.nonzero().flatten().tolist() == [4]
    cached(folder, tmp_path / "run", never).features("val")


def test_a_flipped_byte_is_told_and_the_features_computed_anew(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cached(folder, tmp_path / "run").features("val")
    path = tmp_path / "run" / "features" / "val.safetensors"
    content = bytearray(path.read_bytes())
    content[content.find(whole.features.numpy().tobytes()) + 9] ^= 64
    path.write_bytes(content)
    again = cached(folder, tmp_path / "run").features("val")
    assert f"{path} is damaged (checksum of features); computed anew" in caplog.text
    assert torch.equal(again.features, whole.features)
    cached(folder, tmp_path / "run", never).features("val")


def test_half_of_the_features_count_for_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoded = 0

    def breaks_off(batch: dict[str, Any]) -> Tensor:
        nonlocal encoded
        encoded += 1
        if encoded == 2:
            raise KeyboardInterrupt
        return colour(batch)

    with pytest.raises(KeyboardInterrupt):
        cached(folder, tmp_path / "run", breaks_off).features("train")
    assert not (tmp_path / "run" / "features").exists()
    whole = cached(folder, tmp_path / "run").features("train")
    path = tmp_path / "run" / "features" / "train.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING):
        again = cached(folder, tmp_path / "run").features("train")
    assert "cannot be read" in caplog.text
    assert torch.equal(again.features, whole.features)


def test_unreadable_images_are_left_out(folder: Path, tmp_path: Path) -> None:
    bad = sorted((folder / "train").glob("*/*.jpg"))[3]
    bad.write_bytes(b"\xff\xd8broken")
    data = cached(folder, tmp_path / "run")
    assert data.features("train").index.tolist() == [0, 1, 2, *range(4, 24)]
    seen = torch.cat([batch["index"] for batch in data.train_dataloader().batches()])
    assert sorted(seen.tolist()) == [0, 1, 2, *range(4, 24)]


def test_features_that_cannot_be_kept_end_all_processes(tmp_path: Path) -> None:
    first, second = on_two_ranks(cannot_save, tmp_path)
    assert "File exists" in first
    assert second == f"process 0: FileExistsError: {first}"


def test_no_image_is_a_mistake() -> None:
    with pytest.raises(UserError, match="no image to encode"):
        Features.joined([[], []])
