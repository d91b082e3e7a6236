"""Evaluations of scenes one by one, which are gone on with where they were interrupted."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.datasets import Split
from cast_exp.data.scene_samples import SceneLoader
from cast_exp.distributed import rank, world_size
from cast_exp.evaluation.base import Evaluation
from cast_exp.evaluation.records import Place, Record, RecordFile, Records
from cast_exp.output.files import atomic_write
from cast_exp.viz.draw import Pixels

Draw = Callable[[], Pixels]


class SceneEvaluation(Evaluation):
    """Measures each scene by itself and keeps a record of it; figures are made of the records.

    So they are the same for any number of processes, and an interrupted evaluation goes on with any
    number. One that is added says how a scene is measured, what records depend on, and what
    figures they make.

    Files: `images.jsonl` (see `RecordFile`); `pictures/*.png`.

    Args:
        scenes: The images.
        splits: Which of them.
        limit: At most that many images of each split; None for all.
        pictures: Draw that many images, the first ones that can be drawn.
    """

    def __init__(
        self, scenes: SceneDataModule, splits: Sequence[Split], limit: int | None, pictures: int
    ) -> None:
        super().__init__(scenes)
        self.scenes = scenes
        self.splits = list(splits)
        self.limit = limit
        self.pictures = pictures

    @abstractmethod
    def key(self) -> dict[str, Any]:
        """What the records depend on, apart from scenes and precision, in plain values."""

    @abstractmethod
    def measure(self, scene: Scene) -> tuple[Record, Draw]:
        """The record of a scene, of which only part is on the device, and what draws it."""

    @abstractmethod
    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        """What becomes of the records, in the order of the images; files on the first process."""

    def shows(self, record: Record) -> bool:
        """Whether there is something to draw."""
        return True

    def prepare(self) -> None:
        """Look what is done and what is to do."""
        images = [self.scenes.identity(split) for split in self.splits]
        data: dict[str, Any] = {
            "images": images,
            "size": self.scenes.image_size,
            "fit": self.scenes.fit,
            "precision": self.trainer.precision,
        }
        if self.scenes.sliding is not None:
            inverted = self.scenes.inverted_superpixels
            data |= {"windows": asdict(self.scenes.sliding), "inverted": inverted}
        self.records = RecordFile(self.folder, data | self.key())
        self.chosen: list[Place] = [
            (number, int(index))
            for number, split in enumerate(self.splits)
            for index in self.scenes.chosen(split, self.limit)
        ]
        self.to_do = [each for each in self.chosen if each not in self.records.known]

    def test_dataloader(self) -> list[SceneLoader]:
        """This process's share of what is to do, split by split."""
        mine = self.to_do[rank() :: world_size()]
        return [
            self.scenes.scenes_of(split, [index for number, index in mine if number == own])
            for own, split in enumerate(self.splits)
        ]

    def transfer_batch_to_device(
        self, batch: Scene, device: torch.device, dataloader_idx: int
    ) -> Scene:
        """Leave the scene where it is: only the network needs it elsewhere."""
        return batch

    def test_step(self, scene: Scene, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Measure a scene, and draw it if it is, for all this process knows, one of the first."""
        record, draw = self.measure(scene)
        record = {"index": scene.index, "path": scene.path} | record
        if len(self.splits) > 1:
            record["split"] = dataloader_idx
        where = (dataloader_idx, scene.index)
        earlier = self._first(self.records.known, where)
        if self.shows(record) and len(earlier) < self.pictures:
            path = self.picture(where)
            with self.in_full_precision(), atomic_write(path) as new:
                Image.fromarray(draw()).save(new, "png")
        self.records.add(record)

    def share(self) -> Records:
        """All records this process knows of."""
        return self.records.known

    def compute(self, shares: Sequence[Records]) -> dict[str, float]:
        """Join the records, and remove what is drawn beyond the first images."""
        records = self.records.join(shares)
        if rank() == 0:
            drawn = {self.picture(each) for each in self._first(records)}
            for path in set((self.folder / "pictures").glob("*.png")) - drawn:
                path.unlink()
        return self.figures([records[each] for each in self.chosen if each in records])

    def picture(self, where: Place) -> Path:
        """The file that shows an image."""
        return self.folder / "pictures" / f"{self.splits[where[0]]}{where[1]:05d}.png"

    def _first(self, records: Records, before: Place | None = None) -> list[Place]:
        """The first images that can be drawn, of those before another one."""
        chosen = takewhile(lambda each: before is None or each < before, self.chosen)
        shown = (each for each in chosen if each in records and self.shows(records[each]))
        return list(islice(shown, self.pictures))
