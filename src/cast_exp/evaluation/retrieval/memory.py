"""What votes: prototypes of training segments with their classes, kept in files."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from cast_exp.data import Scene
from cast_exp.data.sampling import FixedSampler
from cast_exp.data.scene_samples import SceneLoader
from cast_exp.data.stored import load_tensors, save_tensors
from cast_exp.errors import UserError

log = logging.getLogger(__name__)

IMAGES_PER_FILE = 256

Entries = dict[int, tuple[Tensor, Tensor]]
"""For each level, prototypes of segments (S, D) and their classes, int64 (S,)."""


class SegmentMemory:
    """Prototypes and classes of the segments of many scenes, in files of 256 images each.

    A file is written as soon as it is full, in one go, so that an interrupted evaluation goes on
    from there. Files that were made from something else are not used, but written over.

    Args:
        folder: Where the files are.
        key: What the prototypes are made from; another text means other prototypes.
        void: Class of segments that do not vote.
    """

    def __init__(self, folder: Path, key: str, void: int) -> None:
        self.folder = folder
        self.key = key
        self.void = void
        self.files: list[Path] = []

    def grow(self, scenes: SceneLoader, enter: Callable[[Scene], Entries]) -> None:
        """Enter all scenes that are not in the memory yet.

        Args:
            scenes: Scenes in ascending order of their index.
            enter: Makes entries of a scene.
        """
        last = -1
        while (path := self._path()).exists():
            if (found := load_tensors(path, self.key, ["index"])) is None:
                break
            last = int(found["index"][-1])
            self.files.append(path)
        order = scenes.sampler
        assert isinstance(order, FixedSampler)
        order.indices = [index for index in np.asarray(order.indices) if index > last]
        if self.files:
            log.info("%s: going on after image %d; %d to do", self.folder, last, len(order))
        index: list[int] = []
        entries: list[Entries] = []
        for scene in track(scenes, "memory of training segments", disable=not len(order)):
            index.append(scene.index)
            entries.append(enter(scene))
            if len(index) == IMAGES_PER_FILE:
                self._write(index, entries)
                index, entries = [], []
        if index:
            self._write(index, entries)

    def blocks(
        self, level: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Prototypes (M, D) and classes (M,) of all voters of a level, file by file.

        Raises:
            UserError: At the end, if there were none.
        """
        voters = 0
        names = [f"prototypes/{level}", f"classes/{level}"]
        for path in self.files:
            found = load_tensors(path, self.key, names)
            assert found is not None
            prototypes, classes = (found[name] for name in names)
            votes = classes != self.void
            voters += int(votes.sum())
            yield prototypes[votes].to(device), classes[votes].to(device)
        if not voters:
            raise UserError(
                "the memory has no segment with a class: there are no training images, or all of "
                "their pixels are void"
            )

    def _path(self) -> Path:
        return self.folder / f"{len(self.files):05d}.safetensors"

    def _write(self, index: list[int], entries: list[Entries]) -> None:
        tensors = {"index": torch.tensor(index)}
        for level in entries[0]:
            prototypes, classes = zip(*(entry[level] for entry in entries), strict=True)
            tensors[f"prototypes/{level}"] = torch.cat(prototypes)
            tensors[f"classes/{level}"] = torch.cat(classes)
        path = self._path()
        save_tensors(path, tensors, self.key)
        self.files.append(path)
