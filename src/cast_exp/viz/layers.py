"""A picture with label maps to lay over it, one at a time."""

import json
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Layers:
    """A picture and what is laid over it.

    Attributes:
        image: uint8 (H, W, 3).
        maps: Labels by name of the map, integers in 0..255, (H, W); 255 is void. Trackers
            keep them as bytes.
        names: What the labels of each map are called, from 0 on; the same for all pictures of a
            kind.
    """

    image: Pixels
    maps: Mapping[str, NDArray[np.integer[Any]]]
    names: Mapping[str, Sequence[str]]

    @classmethod
    def of_levels(cls, image: Pixels, levels: Mapping[str, NDArray[np.integer[Any]]]) -> "Layers":
        """Levels of a hierarchy, without those of more segments than fit.

        Args:
            image: uint8 (H, W, 3).
            levels: The segment of each pixel, int (H, W), by name of the level.
        """
        layers = cls(image, {}, {})
        for name, labels in levels.items():
            layers = layers.also(name, labels, [f"segment {number}" for number in range(VOID)])
        return layers

    def also(self, name: str, labels: NDArray[np.integer[Any]], names: Sequence[str]) -> "Layers":
        """These and another map; only these if it has more labels than fit.

        Args:
            name: Of the map.
            labels: int (H, W); 255 is void, and so is what is below 0.
            names: What the labels are called.
        """
        void = (labels < 0) | (labels == VOID)
        if labels.max(initial=0, where=~void) > VOID:
            return self
        drawn = np.where(void, VOID, labels)
        return Layers(self.image, {**self.maps, name: drawn}, {**self.names, name: names[:VOID]})

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
