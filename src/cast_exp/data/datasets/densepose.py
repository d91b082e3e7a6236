"""DensePose-COCO: people in COCO images with their body parts (Güler et al., 2018)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.data.datasets.base import ImageFiles, Split
from cast_exp.data.datasets.coco import Entry, decode_mask, read_coco
from cast_exp.data.datasets.images import read_image
from cast_exp.errors import UserError

_SIDE = 256  # of the masks, which are stretched to the box of a person
_GROUPS = {
    "head": (14,),
    "torso": (1,),
    "upper limb": (2, 3, 10, 11, 12, 13),  # hands, arms, forearms
    "lower limb": (4, 5, 6, 7, 8, 9),  # feet, thighs, legs
}
_GROUP_OF = {part: number for number, parts in enumerate(_GROUPS.values(), 1) for part in parts}
_LAYOUT = (
    "<root>/annotations/densepose_coco_2014_<name>.json and <root>/{train2014,val2014}/COCO_*.jpg"
)


class DensePose(ImageFiles):
    """COCO images with the bodies of people in four parts, as the paper groups them.

    Only images in which the parts of someone were drawn. Where people overlap, the later one in the
    file covers the earlier; parts of all people in an image are one region.

    An item has, besides ``image`` and ``label`` (0: there is none), ``semantic``, uint8 (H, W): 0
    for what is no part, else the number of the group in `semantic_classes`; ``regions``, a list of
    one int64 map (H, W): the groups from 0, and -1 for what is no part.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``annotations/densepose_coco_2014_<name>.json`` and COCO's
            ``train2014`` and ``val2014``.
        train: Name of the annotations for training.
        val: Name of those for validation: ``minival`` (1,508 images) or ``valminusminival``.

    Raises:
        UserError: Another layout, or files that are not what they should be. From an item: masks
            that cannot be read, or pycocotools is not installed.
    """

    def __init__(
        self, split: Split, root: Path | None = None, train: str = "train", val: str = "minival"
    ) -> None:
        if root is None:
            raise UserError(f"data.root is not set; give the folder <root> that holds {_LAYOUT}")
        name = train if split == "train" else val
        file = read_coco(root / "annotations" / f"densepose_coco_2014_{name}.json")
        images: list[Path] = []
        self._people: list[list[Entry]] = []
        for image in file.images:
            drawn = [one for one in file.annotations.get(image["id"], []) if one.get("dp_masks")]
            if drawn:
                # The name says where the file is: COCO_val2014_000000000042.jpg
                images.append(root / image["file_name"][5:].split("_")[0] / image["file_name"])
                self._people.append(drawn)
        if not images:
            raise UserError(f"{file.path} has no image with body parts (dp_masks)")
        for folder in {path.parent for path in images}:
            if not folder.is_dir():
                raise UserError(f"no folder {folder} of COCO's images; expected {_LAYOUT}")
        super().__init__(images)
        self._annotations = file.path
        self.semantic_classes = ["background", *_GROUPS]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self._images[index])
        semantic = np.zeros(image.size[::-1], np.uint8)
        for person in self._people[index]:
            _paint(person, semantic, self.path(index))
        regions = semantic.astype(np.int64) - 1
        return {"image": image, "label": 0, "semantic": semantic, "regions": [regions]}

    def _truth_files(self) -> list[Path]:
        return [self._annotations]


def _paint(person: Entry, canvas: NDArray[np.uint8], path: str) -> None:
    """Paint the parts of a person: each pixel takes what the masks have at its centre."""
    try:
        x, y, width, height = map(float, person["bbox"])
        groups = np.zeros((_SIDE, _SIDE), np.uint8)
        for part, mask in enumerate(person["dp_masks"], 1):
            if mask:  # parts do not overlap but for errors
                groups[decode_mask(mask, _SIDE, _SIDE)] = _GROUP_OF[part]
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"the body parts of {path} cannot be read: {error}") from error
    rows, inside_rows = _inside(y, height, canvas.shape[0])
    columns, inside_columns = _inside(x, width, canvas.shape[1])
    stretched = groups[inside_rows[:, None], inside_columns]
    there = canvas[rows, columns]
    there[stretched > 0] = stretched[stretched > 0]


def _inside(start: float, length: float, size: int) -> tuple[slice, NDArray[np.int64]]:
    """Pixels of a side whose centre is in a box, and the places in the masks they see."""
    centres = np.arange(size) + 0.5 - start
    inside = np.flatnonzero((centres >= 0) & (centres < length))
    first = int(inside[0]) if len(inside) else 0
    places = (centres[inside] * _SIDE / length).astype(np.int64)
    return slice(first, first + len(inside)), places
