"""The segments of a picture named in the user's own words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.data.datasets.base import UnreadableImage
from cast_exp.errors import UserError
from cast_exp.naming import ImageText, Namer, Vocabulary, load_image_text, stored_encodings
from cast_exp.naming.vocabulary import check_prompts
from cast_exp.ops.labels import shrunk_superpixels
from cast_exp.predict.photo import Pixels, shrunk
from cast_exp.predict.semantic import semantic_files
from cast_exp.predict.tree import Integers, SegmentTree


@dataclass(frozen=True)
class SegmentNames:
    """What the segments of a tree are called.

    Attributes:
        vocabulary: The names.
        object_level: Level whose segments are named as objects, as are all coarser ones.
        objects: The object that each segment is, or is part of, int (S,).
        parts: The part that each segment below that level is, int (S,); -1 for the others.
        shares: How sure the name is, see `Named.shares`; segments that had no choice have that of
            the one that they are part of, float (S,).
    """

    vocabulary: Vocabulary
    object_level: int
    objects: Integers
    parts: Integers
    shares: NDArray[np.float64]

    @property
    def names(self) -> list[str]:
        """Name of each segment."""
        objects, parts = self.vocabulary.objects, self.vocabulary.parts
        return [
            objects[thing] if part < 0 else parts[part]
            for thing, part in zip(self.objects, self.parts, strict=True)
        ]

    def facts(self) -> list[dict[str, Any]]:
        """Name, object and share of each segment, as plain values."""
        objects = [self.vocabulary.objects[thing] for thing in self.objects]
        return [
            {"name": name, "object": thing, "share": round(share, 4)}
            for name, thing, share in zip(self.names, objects, self.shares.tolist(), strict=True)
        ]

    def files(self, tree: SegmentTree, superpixels: Integers, pixels: Pixels) -> dict[str, bytes]:
        """Maps and overlays of the objects, and of the parts if there are any.

        Args:
            tree: The segments.
            superpixels: Superpixel of each pixel, int (H, W).
            pixels: The picture, uint8 (H, W, 3).
        """
        at = tree.ids[self.object_level]
        files = semantic_files(
            self.objects[at][superpixels], self.vocabulary.objects, pixels, "open_objects"
        )
        if self.vocabulary.has_parts:
            at = tree.ids[self.object_level - 1]
            files |= semantic_files(
                self.parts[at][superpixels], self.vocabulary.parts, pixels, "open_parts"
            )
        return files


class OpenVocabulary:
    """Names the segments of pictures.

    Segments of the level of objects, and of coarser ones, take the object that is nearest. Those
    below take one of the parts of the object that they are in, or its name if it has no parts;
    superpixels have the name of the segment that they are in.

    Args:
        classes: See `Vocabulary.parse`.
        prompts: Texts that names are put into at {}.
        image_text: See `load_image_text`.
        object_level: Level of the objects, 1 being the finest above the superpixels; None for the
            coarsest.
        depth: Levels above the superpixels.
        device: Where the model runs.

    Raises:
        UserError: Something is not as it should be.
    """

    def __init__(
        self,
        classes: str,
        prompts: Sequence[str],
        image_text: str,
        object_level: int | None,
        depth: int,
        device: torch.device,
    ) -> None:
        self.vocabulary = Vocabulary.parse(classes)
        check_prompts(prompts, "--prompt")
        self.level = object_level or depth
        if self.level > depth:
            raise UserError(f"--object-level {self.level}: there are levels 1 to {depth}")
        if self.level == 1 and self.vocabulary.has_parts:
            raise UserError(
                "--object-level 1 leaves no level for the parts in --classes; set it higher, or "
                "leave the parts out"
            )
        self.prompts = list(prompts)
        self.model: ImageText = load_image_text(image_text).to(device)
        self.namer = Namer(self.model, self.vocabulary, prompts)

    def settings(self) -> dict[str, Any]:
        """All that decides names, in plain values."""
        vocabulary = self.vocabulary
        return {
            "classes": [list(vocabulary.objects), list(vocabulary.parts)],
            "prompts": self.prompts,
            "image_text": self.model.identity,
            "object_level": self.level,
        }

    def name(
        self, tree: SegmentTree, superpixels: Integers, pixels: Pixels, folder: Path, path: Path
    ) -> SegmentNames:
        """Name all segments of a picture.

        Args:
            tree: The segments.
            superpixels: Superpixel of each pixel, int (H, W).
            pixels: The picture, uint8 (H, W, 3).
            folder: For the encodings of segments, so that other words take no time.
            path: The picture's file, for messages.

        Raises:
            UnreadableImage: It is so narrow that superpixels vanish in what the model sees.
        """
        longest = max(self.model.size)
        small = shrunk(pixels, longest)
        height, width = small.shape[:2]
        if len(tree.ids[0]) > height * width:
            raise UnreadableImage(
                str(path),
                f"{len(tree.ids[0])} superpixels do not fit into the {width} x {height} pixels "
                "that the image-text model sees; set --superpixels lower",
            )
        shown = shrunk_superpixels(superpixels, height, width)
        image = torch.from_numpy(small).movedim(-1, 0) / 255

        def encoded(ids: Integers, name: str) -> Tensor:
            masks = [tree.ids[tree.level[each]][shown] == each for each in ids]
            file = folder / f"{name}.safetensors"
            return stored_encodings(file, self.model, image, torch.from_numpy(np.stack(masks)))

        count = len(tree.level)
        objects, parts, shares = np.zeros(count, np.int64), np.full(count, -1), np.ones(count)
        things = np.flatnonzero(tree.level >= self.level)
        named = self.namer.objects(encoded(things, "objects"))
        objects[things], shares[things] = (each.numpy() for each in named)
        for level in range(self.level - 1, 0, -1):
            inside = np.r_[tree.span(level)]
            objects[inside] = objects[tree.parent[inside]]
            shares[inside] = shares[tree.parent[inside]]
        below = np.flatnonzero((tree.level > 0) & (tree.level < self.level))
        owners = np.array(self.vocabulary.owners)
        parts[below] = owners.searchsorted(objects[below])  # the first one, of most the only one
        several = np.bincount(owners) > 1
        free = below[several[objects[below]]]
        if len(free):
            found = self.namer.parts(encoded(free, "parts"), torch.from_numpy(objects[free]))
            parts[free], shares[free] = (each.numpy() for each in found)
        leaves = np.r_[tree.span(0)]
        for values in (objects, parts, shares):
            values[leaves] = values[tree.parent[leaves]]
        return SegmentNames(self.vocabulary, self.level, objects, parts, shares)
