"""The scenes of a run: their order, what there is, and what is said of bad ones."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.scenes import Wide, module
from support.tiny_run import Blots
from support.trainers import on_rank
from support.voc import TRAIN, VAL, save_map, voc_tree

from cast_exp.data.datasets import VOCFolder
from cast_exp.errors import UserError

FOLDER = partial(VOCFolder, classes=["background", "cat", "dog"])


# -- order -------------------------------------------------------------------------------------


def test_limit_and_ranks() -> None:
    few = [[s.index for s in module(seed=seed).scenes("train", limit=5)] for seed in (0, 1)]
    assert few[0] == few[1] == sorted(set(few[0]))
    assert len(module().scenes("train", limit=5)) == len(few[0]) == 5
    shares = [[s.index for s in on_rank(module(), r, 2).val_dataloader()] for r in range(2)]
    assert shares == [[0, 2, 4, 6], [1, 3, 5]]
    every = [len(on_rank(module(), r, 2).scenes("val")) for r in range(2)]
    assert every == [7, 7]


def test_a_finished_scene_is_not_finished_again() -> None:
    data = module()
    (scene, *_) = data.scenes("val")
    assert data.on_after_batch_transfer(scene, 0) is scene


# -- what there is -----------------------------------------------------------------------------


def test_classes_and_truth() -> None:
    data = module()
    assert data.semantic_classes[0] == "background"
    assert data.num_classes == len(data.semantic_classes) == 11
    for truth in ("semantic", "instance", "regions"):
        data.need(truth)
    blots = module(dataset=Blots)
    assert (blots.semantic_classes, blots.num_classes) == ([], 0)
    with pytest.raises(UserError, match=r"Blots has no instance masks \(it has: no ground truth"):
        blots.need("instance")
    with pytest.raises(
        UserError, match=r"Wide has no instance masks \(it has: semantic, regions\)"
    ):
        module(dataset=partial(Wide, width=9, height=9)).need("instance")
    with pytest.raises(UserError, match="Blots has no semantic masks"):
        blots.train_dataloader()


def test_training_warns_of_masks_of_0_and_255(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And of nothing else, on one rank."""
    dataset = partial(VOCFolder, classes=["background", "cell"])
    drawn = {path: np.zeros((4, 5), np.uint8) for path in _maps(voc_tree(tmp_path))}
    for void, ranks, warned in ((255, 1, 1), (1, 1, 0), (255, 2, 1)):
        caplog.clear()
        for path, values in drawn.items():
            values[0, 1:] = void
            save_map(path, values, Image.open(path).size)
        for rank in range(ranks):
            data = module(dataset=dataset, root=tmp_path, batch_size=2)
            on_rank(data, rank, ranks).train_dataloader()
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == warned, said
        assert all("1 of 2 classes have no pixel: cell; masks of 0 and 255?" in s for s in said)


def _maps(root: Path) -> list[Path]:
    return sorted((root / "SegmentationClass").iterdir())


def test_unreadable_scenes_are_reported_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = voc_tree(tmp_path) / f"JPEGImages/{VAL[0]}.jpg"
    bad.write_bytes(b"")
    data = module(dataset=FOLDER, root=tmp_path)
    data.need("semantic")
    assert [scene.index for scene in data.scenes("val")] == [1]
    assert data.unreadable == {str(bad): "empty file (0 bytes)"}
    assert f"{bad} (empty file (0 bytes))" in caplog.text
    with pytest.raises(UserError, match="1 images cannot be read; 0 are tolerated"):
        list(module(dataset=FOLDER, root=tmp_path, max_unreadable=0.0).scenes("val"))


@pytest.mark.parametrize("workers", [0, 1])
def test_wrong_label_maps_end_the_run_with_one_line(tmp_path: Path, workers: int) -> None:
    voc_tree(tmp_path)
    for name in (TRAIN[2], *VAL):
        path = tmp_path / f"SegmentationClass/{name}.png"
        with Image.open(path) as drawn:
            size = drawn.size
        save_map(path, np.array([[7]], np.uint8), size)
    for split in ("train", "val"):
        data = module(dataset=FOLDER, root=tmp_path, workers=workers, batch_size=1)
        make = data.train_dataloader if split == "train" else data.val_dataloader
        with pytest.raises(UserError, match=r"^/[^\n]* has the value 7 in [^\n]*$"):
            list(make())
