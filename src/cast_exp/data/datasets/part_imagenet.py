"""PartImageNet: ImageNet images with objects and their parts (He et al., 2022)."""

from pathlib import Path
from typing import Any

import numpy as np

from cast_exp.data.datasets.base import ImageFiles, Split
from cast_exp.data.datasets.coco import decode_mask, read_coco
from cast_exp.data.datasets.images import read_image
from cast_exp.errors import UserError

_LAYOUT = "<root>/annotations/<split>.json and <root>/images/<split>/<wnid>/<wnid>_*.JPEG"
_WNID = 9  # letters of a file's name that are the name of its folder


class PartImageNet(ImageFiles):
    """Images of animals, vehicles and bottles with their parts.

    Annotations are painted in the order of the file, each over those before, as the official
    release does; the rest is background, which here comes first (there, last).

    An item has, besides ``image`` and ``label`` (0: there is none), uint8 maps (H, W): ``semantic``
    (objects: indices of `semantic_classes`) and ``parts`` (indices of `part_classes`), both 0 for
    the background; and ``regions``, a list of one int64 map (H, W): the parts from 0, and -1 for
    the background.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``annotations`` and ``images``.
        train: Name of the training split.
        val: Name of the validation split; ``test`` for the other.

    Attributes:
        part_classes: ``background``, then ``<object> <part>`` in the order of the file.

    Raises:
        UserError: Another layout, or files that are not what they should be. From an item: masks
            that cannot be read or do not fit the image, or pycocotools is not installed.
    """

    def __init__(
        self, split: Split, root: Path | None = None, train: str = "train", val: str = "val"
    ) -> None:
        if root is None:
            raise UserError(f"data.root is not set; give the folder <root> that holds {_LAYOUT}")
        name = train if split == "train" else val
        file = self._file = read_coco(root / "annotations" / f"{name}.json")
        folder = root / "images" / name
        if not folder.is_dir():
            raise UserError(f"no folder {folder} of images; expected {_LAYOUT}")
        if not file.images:
            raise UserError(f"{file.path} has no images")
        names = [image["file_name"] for image in file.images]
        super().__init__([folder / name[:_WNID] / name for name in names])
        categories = file.categories
        try:
            objects = list(dict.fromkeys(entry["supercategory"] for entry in categories))
            parts = [_part_name(entry["supercategory"], entry["name"]) for entry in categories]
        except (KeyError, TypeError) as error:
            raise UserError(f"{file.path} has categories without {error}") from error
        self.semantic_classes = ["background", *objects]
        self.part_classes = ["background", *parts]
        self._labels = {
            entry["id"]: (part, 1 + objects.index(entry["supercategory"]))
            for part, entry in enumerate(categories, 1)
        }

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self._images[index]
        image = read_image(path)
        shape = image.size[::-1]
        parts, semantic = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for annotation in self._file.annotations.get(self._file.images[index]["id"], []):
            try:
                mask = decode_mask(annotation.get("segmentation"), *shape)
            except UserError as error:
                raise UserError(f"the parts of {path} cannot be read: {error}") from error
            category = annotation.get("category_id")
            if category not in self._labels:
                raise UserError(
                    f"{path} has a part of category {category}, which "
                    f"{self._file.path} does not have; fetch it again"
                )
            parts[mask], semantic[mask] = self._labels[category]
        truth = {"semantic": semantic, "parts": parts, "regions": [parts.astype(np.int64) - 1]}
        return {"image": image, "label": 0, **truth}

    def _truth_files(self) -> list[Path]:
        return [self._file.path]


def _part_name(thing: str, part: str) -> str:
    return part if part.startswith(thing) else f"{thing} {part}"
