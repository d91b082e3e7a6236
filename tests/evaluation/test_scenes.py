"""Evaluations scene by scene: order, pictures, and what is not done twice."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.retrieval import scenes, subject
from support.trainers import evaluate
from support.voc import voc_tree

from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.datasets import VOCFolder
from cast_exp.evaluation.records import Record
from cast_exp.evaluation.scenes import SceneEvaluation
from cast_exp.superpixels import Grid


class Counting(SceneEvaluation):
    """Counts superpixels; every second image has nothing to show."""

    headline = ("superpixels",)

    def __init__(
        self,
        weights: str = "w",
        most: int | None = None,
        data: SceneDataModule | None = None,
        **options: Any,
    ) -> None:
        settings: dict[str, Any] = {"splits": ["val", "train"], "limit": None, "pictures": 2}
        super().__init__(data or scenes(), **(settings | options))
        self.weights, self.most = weights, most
        self.seen: list[str] = []

    def check(self, subject: Any = None) -> None:
        """Nothing to look for."""

    def key(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def measure(self, scene: Scene) -> tuple[Record, Any]:
        if len(self.seen) == self.most:
            raise KeyboardInterrupt
        self.seen.append(scene.path)
        return {"count": scene.count}, lambda: np.full((4, 5, 3), scene.index, np.uint8)

    def shows(self, record: Record) -> bool:
        return bool(record["index"] % 2)

    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        counts = [record["count"] for record in records]
        return {"superpixels": sum(counts), "images": len(counts)}


def test_each_scene_is_measured_once_and_the_first_are_drawn(tmp_path: Path) -> None:
    counting, data = Counting(), scenes()
    expected = [scene for split in ("val", "train") for scene in data.scenes(split)]
    found = evaluate(counting, subject(), tmp_path)
    assert counting.seen == [scene.path for scene in expected]
    assert found == {"superpixels": sum(scene.count for scene in expected), "images": 11}
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in pictures] == ["val00001.png", "val00003.png"]
    assert [Image.open(path).getpixel((0, 0)) for path in pictures] == [(1,) * 3, (3,) * 3]
    again = Counting()
    assert evaluate(again, subject(), tmp_path) == found
    assert again.seen == []


@pytest.mark.parametrize("limit", [None, 3])
def test_an_interrupted_evaluation_goes_on(limit: int | None, tmp_path: Path) -> None:
    straight, cut, rest = (Counting(limit=limit, most=most) for most in (None, 4, None))
    expected = evaluate(straight, subject(), tmp_path / "straight")
    with pytest.raises(SystemExit):  # what Lightning makes of Ctrl-C
        evaluate(cut, subject(), tmp_path / "parts")
    assert evaluate(rest, subject(), tmp_path / "parts") == expected
    assert cut.seen + rest.seen == straight.seen
    assert len(straight.seen) == (11 if limit is None else 2 * limit)


def test_other_weights_are_measured_anew(tmp_path: Path) -> None:
    evaluate(Counting(splits=["val"]), subject(), tmp_path)
    other = Counting(weights="other", splits=["val"])
    evaluate(other, subject(), tmp_path)
    assert len(other.seen) == 4


@pytest.mark.parametrize("kind", ["JPEGImages", "SegmentationClass"])
def test_images_and_truth_that_were_replaced_are_measured_anew(kind: str, tmp_path: Path) -> None:
    root = voc_tree(tmp_path / "voc")
    dataset = partial(VOCFolder, classes=["background", "a", "b"])

    def counting() -> Counting:
        data = SceneDataModule(dataset, Grid(16), root, image_size=32, workers=0)
        found = Counting(data=data, splits=["val"])
        evaluate(found, subject(), tmp_path / "run")
        return found

    assert len(counting().seen) == 2
    assert counting().seen == []
    replaced = sorted((root / kind).iterdir())[-1]  # one of validation
    replaced.write_bytes(replaced.read_bytes())
    assert len(counting().seen) == 2
    assert counting().seen == []
    replaced = sorted((root / kind).iterdir())[0]  # one of training
    replaced.write_bytes(replaced.read_bytes())
    assert counting().seen == []
