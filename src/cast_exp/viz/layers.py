"""A picture with label maps to lay over it, one at a time."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cast_exp.errors import UserError
from cast_exp.ops.labels import VOID
from cast_exp.output.files import atomic_write
from cast_exp.viz.draw import Pixels

MOST_LABELS = 256
"""Of a map: trackers keep one as bytes."""


@dataclass(frozen=True)
class Layers:
    """A picture and what is laid over it.

    Attributes:
        image: uint8 (H, W, 3).
        maps: Labels by name of the map, integers in 0..255, (H, W); 255 is void.
        names: What the labels of each map are called, from 0 on; the same for all pictures of a
            kind.
    """

    image: Pixels
    maps: Mapping[str, NDArray[np.integer[Any]]]
    names: Mapping[str, Sequence[str]]

    @classmethod
    def of_levels(
        cls, image: Pixels, levels: Iterable[tuple[str, int, NDArray[np.integer[Any]]]]
    ) -> "Layers":
        """Levels of a hierarchy, without those of more segments than fit.

        Args:
            image: uint8 (H, W, 3).
            levels: Name, most segments, and the segment of each pixel, int (H, W).
        """
        kept = {name: (most, labels) for name, most, labels in levels if most <= MOST_LABELS}
        return cls(
            image,
            {name: labels for name, (_, labels) in kept.items()},
            {name: [f"segment {n}" for n in range(most)] for name, (most, _) in kept.items()},
        )

    def also(self, name: str, labels: NDArray[np.integer[Any]], names: Sequence[str]) -> "Layers":
        """These and another map."""
        return Layers(self.image, {**self.maps, name: labels}, {**self.names, name: names})

    def with_regions(self, name: str, regions: NDArray[np.integer[Any]]) -> "Layers":
        """These and regions that somebody has drawn, -1 for void; unless there are too many."""
        if regions.max(initial=0) >= VOID:
            return self
        numbered = [f"region {number}" for number in range(VOID)]
        return self.also(name, np.where(regions < 0, VOID, regions), numbered)

    def masks(self) -> dict[str, Any]:
        """The maps as `wandb.Image(..., masks=...)` takes them."""
        return {
            name: {
                "mask_data": labels.astype(np.uint8),
                "class_labels": {VOID: "void", **dict(enumerate(self.names[name]))},
            }
            for name, labels in self.maps.items()
        }

    def save(self, path: Path) -> None:
        """Write it to an `.npz` file."""
        names = json.dumps({name: list(own) for name, own in self.names.items()})
        maps = {f"map/{name}": labels.astype(np.uint8) for name, labels in self.maps.items()}
        with atomic_write(path) as new, new.open("wb") as file:
            np.savez_compressed(file, image=self.image, names=np.array(names), **maps)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> "Layers":
        """Read what `save` wrote.

        Raises:
            UserError: The file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                names: dict[str, list[str]] = json.loads(str(stored["names"]))
                return cls(stored["image"], {n: stored[f"map/{n}"] for n in names}, names)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UserError(f"{path} is damaged ({type(error).__name__})") from error
