"""Segments and figure-ground masks as W&B lays them over an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cast_exp.models import Hierarchy
from cast_exp.ops.labels import VOID

_CLASSES = 256  # W&B keeps a mask as bytes
_FIGURE = {0: "ground", 1: "figure", VOID: "void"}


def mask_overlays(
    hierarchy: Hierarchy, heads: Tensor, objects: Sequence[NDArray[np.integer[Any]]]
) -> list[dict[str, Any]]:
    """Masks with class names for each image of a batch, for `wandb.Image(..., masks=...)`.

    Args:
        hierarchy: What a backbone makes of the images.
        heads: Superpixels that each attention head takes for the figure, bool (B, heads, N).
        objects: Truth of each image, 0 for none and 255 for void; empty without truth.

    Returns:
        For each image, by name: "level 1" and coarser as long as a level has at most 256 segments,
        "head 1" and so on, and "objects".
    """
    # W&B keeps one list of names for a mask, so it has to be the same for all images and steps.
    superpixels = hierarchy.superpixels
    levels = {
        f"level {level}": (hierarchy.segmentation(level).cpu().numpy(), count)
        for level in range(1, hierarchy.depth + 1)
        if (count := hierarchy.levels[level].tokens.size(1)) <= _CLASSES
    }
    overlays = []
    for image in range(len(superpixels)):
        masks = {
            name: _mask(labels[image], {number: f"segment {number}" for number in range(count)})
            for name, (labels, count) in levels.items()
        }
        figures = heads[image][:, superpixels[image]].long().cpu().numpy()
        for head, figure in enumerate(figures, 1):
            masks[f"head {head}"] = _mask(figure, _FIGURE)
        if objects:
            drawn = objects[image]
            masks["objects"] = _mask(np.where(drawn == VOID, VOID, drawn > 0), _FIGURE)
        overlays.append(masks)
    return overlays


def _mask(data: NDArray[Any], names: dict[int, str]) -> dict[str, Any]:
    return {"mask_data": data.astype(np.uint8), "class_labels": names}
