"""Superpixels of images that are not augmented, in the caches of data modules of both kinds."""

from functools import partial
from pathlib import Path

import pytest
import torch
from support.scenes import module
from torch import Tensor

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid, Seeds, SuperpixelMethod

images = partial(
    ImageDataModule, ImageFolder, TwoViews(32), batch_size=8, image_size=32, eval_crop=1.0
)


@pytest.mark.parametrize("workers", [0, 2])
def test_superpixels_of_plain_images_are_computed_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """For later epochs and runs, by whichever worker; those of training views are not kept."""
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))

    def maps(method: SuperpixelMethod, **options: object) -> Tensor:
        data = images(root=folder, superpixel=method, workers=workers, **options)
        for batch in data.train_dataloader():
            assert batch["images"]
        loaders = [data.plain_dataloader("train", batch_size=5), data.val_dataloader()]
        return torch.cat([b["superpixels"][0] for loader in loaders for b in loader])

    wanted = maps(Seeds(16))
    assert maps(Seeds(16), cache_superpixels=True).equal(wanted)
    (kept,) = (tmp_path / "cache/superpixels").iterdir()
    entries = sum(file.stat().st_size for file in kept.glob("*.entries")) // 32
    assert 24 <= entries <= len(wanted) == 33  # some images are there twice

    def fails(*_: object) -> None:
        raise AssertionError("computed anew")

    again = images(root=folder, superpixel=Seeds(16), workers=workers, cache_superpixels=True)
    monkeypatch.setattr(Seeds, "segment_image", fails)
    loaders = [again.plain_dataloader("train", batch_size=7), again.val_dataloader()]
    assert torch.cat([b["superpixels"][0] for loader in loaders for b in loader]).equal(wanted)


def test_the_device_keeps_no_superpixels(folder: Path) -> None:
    with pytest.raises(UserError, match=r"cache_superpixels keeps what loader workers.*on=worker"):
        images(root=folder, superpixel=Grid(16), superpixels_on="device", cache_superpixels=True)


@pytest.mark.parametrize("fit", ["long_side", "square", "center_crop", "windows"])
def test_superpixels_of_scenes_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: str
) -> None:
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path))
    options = {"fit": fit, "superpixel": Seeds(16), "crop": 32}
    wanted = [scene.full_superpixels for scene in module(**options).scenes("val")]
    for _ in range(2):
        scenes = [*module(**options, cache_superpixels=True).scenes("val")]
        for scene, full in zip(scenes, wanted, strict=True):
            assert scene.full_superpixels.equal(full)
        monkeypatch.setattr(Seeds, "segment_image", lambda *_: pytest.fail("computed anew"))
