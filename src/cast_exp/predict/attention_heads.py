"""What the attention heads of a backbone see of a picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.data import Scene
from cast_exp.models import Hierarchy
from cast_exp.ops.labels import nearest
from cast_exp.predict.files import compact_json, png
from cast_exp.predict.photo import Pixels, shrunk
from cast_exp.predict.tree import SegmentTree
from cast_exp.viz.head_maps import (
    HeadMaps,
    binary_masks,
    figure_ground_sheet,
    superpixel_heads,
)

MASS = 0.6
"""Share of a head's attention that its mask holds, as in the paper."""
_CELL = 400
"""Longer side of a picture on the sheet, in pixels."""


def heads_of(hierarchy: Hierarchy, tree: SegmentTree) -> tuple[list[dict[str, Any]], int]:
    """What each attention head looks at, as plain values for the page.

    Returns:
        For each head, the "share" of its attention for each segment of a level, in the order of
        their ids, the ids of those in its "mask", and the "area" of the mask in pixels; the level.
    """
    assert hierarchy.attention is not None
    level = hierarchy.attention.level
    span, ids = tree.span(level), tree.ids[level]
    superpixel = np.zeros(tree.count(level), np.int64)  # one of each segment
    superpixel[ids - span.start] = np.arange(len(ids))
    masks = binary_masks(hierarchy, MASS)[0].cpu().numpy()[:, superpixel]
    looked = superpixel_heads(hierarchy)[0].double().cpu().numpy()[:, superpixel]
    heads = [
        {
            "share": np.round(attention / max(attention.sum(), 1e-12), 4).tolist(),
            "mask": (span.start + np.flatnonzero(mask)).tolist(),
            "area": int(tree.area[span][mask].sum()),
        }
        for attention, mask in zip(looked, masks, strict=True)
    ]
    return heads, level


def figure_ground_files(scene: Scene, hierarchy: Hierarchy, pixels: Pixels) -> dict[str, bytes]:
    """Outputs of the task by name.

    `head_H.png` is 255 where the head looks and 0 elsewhere, `heads.png` shows all heads on the
    photo, and `figure_ground.json` says how much of the photo each mask covers. A mask is the
    tokens with the most attention that together hold `MASS` of it.
    """
    masks = binary_masks(hierarchy, MASS)[0].cpu().numpy()
    heat = superpixel_heads(hierarchy)[0].cpu().numpy()
    owner = hierarchy.tokens_at(scene.full_superpixels[None])[0].numpy()
    height, width = owner.shape
    files, rows = {}, []
    for head, mask in enumerate(masks, 1):
        name = f"head_{head:0{len(str(len(masks)))}}.png"
        painted: NDArray[np.bool_] = mask[owner]
        area = int(painted.sum())
        files[name] = png(painted.astype(np.uint8) * 255)
        rows.append(
            {"head": head, "mask": name, "area": area, "share": round(area / owner.size, 4)}
        )
    small = shrunk(pixels, _CELL)
    small_owner = nearest(owner, *small.shape[:2])
    sheet = figure_ground_sheet([HeadMaps(small, heat[:, small_owner], masks[:, small_owner])])
    files["heads.png"] = png(sheet)
    header = {"width": width, "height": height, "mass": MASS}
    files["figure_ground.json"] = compact_json(header, "heads", rows)
    return files
