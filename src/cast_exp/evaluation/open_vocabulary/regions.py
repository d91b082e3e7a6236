"""The segments of an image in which objects are looked for, and those in which parts are."""

from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cast_exp.naming import ImageText, Namer, paint, stored_encodings


class Regions(NamedTuple):
    """Segments of an image, by whatever made them.

    Attributes:
        objects: Segments of objects, bool (N, H, W); of those that overlap the first one counts.
        parts: Segments of parts, bool (M, H, W); of those that overlap the last one counts.
        empty: Clusters without a pixel, of objects and of parts.
        gap: Whether one of the parts has a smaller number than one that has pixels; the official
            release fails there.
    """

    objects: Tensor
    parts: Tensor
    empty: tuple[int, int] = (0, 0)
    gap: bool = False

    @classmethod
    def of(cls, objects: Tensor, parts: Tensor, counts: tuple[int, int]) -> Self:
        """The segments of two label maps, int64 (H, W), with clusters up to these counts."""
        maps = (objects, parts)
        found = [torch.unique(each) for each in maps]
        masks = [(each == ids[:, None, None]) for each, ids in zip(maps, found, strict=True)]
        empty = tuple(max(count - len(ids), 0) for count, ids in zip(counts, found, strict=True))
        gap = len(found[1]) <= int(found[1].max())
        return cls(masks[0], masks[1], (empty[0], empty[1]), gap)


def named_maps(
    regions: Regions, namer: Namer, model: ImageText, image: Tensor, path: Path, batch_size: int
) -> dict[str, Tensor]:
    """Name the segments: objects first, then parts among those of the object that they are in.

    A part is in the object that was found at its first pixel, row by row (official release).

    Args:
        regions: The segments; pixels of none are of the first object of the vocabulary.
        namer: Names them.
        model: Encodes them.
        image: RGB, float (3, H, W) in 0..1.
        path: File of the encodings; see `stored_encodings`.
        batch_size: Likewise.

    Returns:
        "object" and "part": number of the name of each pixel, int64 (H, W).
    """
    count, nothing = len(regions.objects), torch.zeros(regions.objects.shape[1:], dtype=torch.int64)
    masks = torch.cat([regions.objects, regions.parts])
    if not len(masks):
        return {"object": nothing, "part": nothing}
    encodings = stored_encodings(path, model, image, masks, batch_size)
    objects = paint(regions.objects, namer.objects(encodings[:count]).labels, 0)
    first = regions.parts.flatten(1).int().argmax(1)
    named = namer.parts(encodings[count:], objects.flatten()[first])
    return {"object": objects, "part": paint(regions.parts, named.labels, 0, last_wins=True)}
