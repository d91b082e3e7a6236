"""What votes: prototypes of training segments with their classes, kept in files."""

import logging
from bisect import bisect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.data.stored import load_parts, load_tensors, save_tensors
from cast_exp.errors import UserError

log = logging.getLogger(__name__)

IMAGES_PER_FILE = 256

Entries = dict[int, tuple[Tensor, Tensor]]
"""For each level, prototypes of segments (S, D) and their classes, int64 (S,)."""


class SegmentMemory:
    """Prototypes and classes of the segments of many scenes, in files of 256 images each.

    Which images a file is of is known beforehand, so files can be made in any order and by several
    processes. One is written in one go, so that an interrupted evaluation goes on with those that
    are missing. Files that were made from something else or are damaged are written over.

    Args:
        folder: Where the files are.
        key: What the prototypes are made from; another text means other prototypes.
        void: Class of segments that do not vote.
        images: Numbers of all images, in ascending order.
    """

    def __init__(self, folder: Path, key: str, void: int, images: NDArray[np.int64]) -> None:
        self.folder = folder
        self.key = f"{key} {IMAGES_PER_FILE}"
        self.void = void
        starts = range(0, len(images), IMAGES_PER_FILE)
        self.parts = [images[start : start + IMAGES_PER_FILE].tolist() for start in starts]
        """Images of each file."""
        self._verified: set[tuple[Path, int]] = set()  # files and levels, by this process
        self._entered: dict[int, Entries] = {}

    def missing(self) -> list[int]:
        """Numbers of the files that are still to be made."""
        there = {path for path, _ in load_parts(self.folder, self.key)}
        if there:
            log.info("%s: %d of %d files are there", self.folder, len(there), len(self.parts))
        return [number for number, path in enumerate(self._paths()) if path not in there]

    def enter(self, index: int, entries: Entries) -> None:
        """Enter a scene of the file that is being filled, or of the next one."""
        number = self._file_of(index)
        if self._entered and number != self._file_of(next(iter(self._entered))):
            self.flush()  # its last image cannot be read
        self._entered[index] = entries
        if index == self.parts[number][-1]:
            self.flush()

    def flush(self) -> None:
        """Write the file that is being filled; a file none of whose images can be read is not."""
        if not self._entered:
            return
        tensors = {"index": torch.tensor(list(self._entered))}
        for level in next(iter(self._entered.values())):
            prototypes, classes = zip(
                *(entries[level] for entries in self._entered.values()), strict=True
            )
            tensors[f"prototypes/{level}"] = torch.cat(prototypes)
            tensors[f"classes/{level}"] = torch.cat(classes)
        number = self._file_of(next(iter(self._entered)))
        save_tensors(self._paths()[number], tensors, self.key)
        self._entered = {}

    def blocks(
        self, level: int, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Prototypes (M, D) and classes (M,) of all voters of a level, file by file.

        Checksums are compared when a process reads a level of a file for the first time.

        Raises:
            UserError: A file has changed since it was written or looked at; at the end, if there
                were no voters.
        """
        voters = 0
        names = [f"prototypes/{level}", f"classes/{level}"]
        for path in self._paths():
            if not path.exists():  # none of its images can be read
                continue
            verify = (path, level) not in self._verified
            if (found := load_tensors(path, self.key, names, verify)) is None:
                raise UserError(f"{path} is no longer what it was; evaluate again to make it anew")
            self._verified.add((path, level))
            prototypes, classes = (found[name] for name in names)
            votes = classes != self.void
            voters += int(votes.sum())
            yield prototypes[votes].to(device), classes[votes].to(device)
        if not voters:
            raise UserError(
                "the memory has no segment with a class: there are no training images, or all of "
                "their pixels are void"
            )

    def _paths(self) -> list[Path]:
        return [self.folder / f"{number:05d}.safetensors" for number in range(len(self.parts))]

    def _file_of(self, index: int) -> int:
        return bisect([part[0] for part in self.parts], index) - 1
