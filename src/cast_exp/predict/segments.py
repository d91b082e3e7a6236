"""The hierarchy of segments of a picture: maps, pictures, a tree, and a page to explore it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cast_exp.data import Scene
from cast_exp.errors import UserError
from cast_exp.models import Backbone, Hierarchy
from cast_exp.predict.files import compact_json, png
from cast_exp.predict.photo import Pixels
from cast_exp.predict.tree import SegmentTree, segment_tree
from cast_exp.viz.draw import outlined

_MOST = 1 << 16  # ids that fit into a 16-bit PNG


def tree_of(scene: Scene, hierarchy: Hierarchy, pixels: Pixels) -> SegmentTree:
    """The segments of a scene at all levels.

    Args:
        scene: The scene.
        hierarchy: What a backbone made of it.
        pixels: The picture at its own size, uint8 (H, W, 3).

    Raises:
        UserError: More segments than 16-bit label maps can tell apart.
    """
    levels = [hierarchy.labels(level)[0].cpu().numpy() for level in range(1, hierarchy.depth + 1)]
    tree = segment_tree(pixels, scene.full_superpixels.numpy(), levels)
    if len(tree.level) > _MOST:
        raise UserError(f"{len(tree.level)} segments are too many for label maps of 16 bits")
    return tree


def hierarchy_files(
    scene: Scene,
    tree: SegmentTree,
    pixels: Pixels,
    more: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, bytes]:
    """Outputs of the task by name.

    `level_L.png` has the id of each pixel's segment (16 bits), `level_L_painted.png` shows the
    segments in colours that agree across levels, `overlay.png` the photo with the contours of its
    superpixels, and `tree.json` has the facts. Level 0 are the superpixels.

    Args:
        scene: The scene.
        tree: Its segments.
        pixels: The picture at its own size, uint8 (H, W, 3).
        more: Further facts of each segment for `tree.json`, by its id.
    """
    superpixels = scene.full_superpixels.numpy()
    colours = tree.colours()
    files = {}
    for level, ids in enumerate(tree.ids):
        labels = ids[superpixels]
        files[f"level_{level}.png"] = png(labels.astype(np.uint16))
        files[f"level_{level}_painted.png"] = png(outlined(colours[labels], labels))
    files["overlay.png"] = png(outlined(pixels, superpixels))
    height, width = superpixels.shape
    counts = [{"level": level, "segments": tree.count(level)} for level in range(tree.levels)]
    header = {"width": width, "height": height, "levels": counts}
    records = tree.records()
    if more is not None:
        records = [record | dict(facts) for record, facts in zip(records, more, strict=True)]
    files["tree.json"] = compact_json(header, "segments", records)
    return files


@torch.inference_mode()
def segment(
    backbone: Backbone,
    scene: Scene,
    levels: Sequence[int | float] | None = None,
    attention: bool = False,
) -> Hierarchy:
    """Run a backbone on a scene.

    Args:
        backbone: In evaluation mode.
        scene: On the device of the backbone.
        levels: Other levels than those of the backbone.
        attention: Whether the attention that tells figure from ground is wanted.
    """
    block = backbone.figure_block if attention else None
    hierarchy: Hierarchy = backbone(scene.image, scene.superpixels, levels=levels, attention=block)
    return hierarchy
