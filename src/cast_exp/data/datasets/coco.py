"""Annotation files in the format of COCO."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.data.datasets.nearby import other_root
from cast_exp.errors import UserError
from cast_exp.extras import from_extra

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """What a file says.

    Attributes:
        path: The file.
        images: ``images`` in the order of the file; each has ``id`` and ``file_name``.
        categories: ``categories`` in the order of the file; each has ``id`` and ``name``.
        annotations: ``annotations`` of each image by its ``id``, in the order of the file.
    """

    path: Path
    images: list[Entry]
    categories: list[Entry]
    annotations: dict[Any, list[Entry]]


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file, which is in a folder of the root.

    Raises:
        UserError: It is missing, or not what it should be.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason, root = (error.strerror or str(error)).lower(), path.parents[1]
        raise UserError(
            f"cannot read {path} ({reason})"
            + (
                other_root(root, lambda other: (other / path.relative_to(root)).is_file())
                or "; correct data.root"
            )
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON or is damaged ({error}); fetch it again") from error
    try:
        images = [image for image in content["images"] if isinstance(image["file_name"], str)]
        by_image = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        categories = [entry for entry in content["categories"] if entry["id"] is not None]
        return CocoFile(path, images, categories, dict(by_image))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not an annotation file of COCO's format ({error!r})") from error


def decode_mask(mask: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Paint a mask of COCO's format: polygons, or run lengths, compressed or not.

    Args:
        mask: ``segmentation`` of an annotation or the like.
        height: Of what it is drawn on.
        width: Likewise.

    Returns:
        bool (height, width).

    Raises:
        UserError: The mask is none, or pycocotools is not installed.
    """
    pycocotools = from_extra("eval", "reading masks of COCO's format", "pycocotools.mask")
    try:
        if isinstance(mask, list):
            mask = pycocotools.merge(pycocotools.frPyObjects(mask, height, width))
        elif isinstance(mask["counts"], list):
            mask = pycocotools.frPyObjects(mask, height, width)
        painted = pycocotools.decode(mask).astype(np.bool_)
    except Exception as error:  # pycocotools raises anything
        raise UserError(f"a mask is not of COCO's format ({error!r})") from error
    if painted.shape != (height, width):
        raise UserError(f"a mask is of size {painted.shape} where ({height}, {width}) is wanted")
    return np.asarray(painted)
