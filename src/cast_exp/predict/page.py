"""One self-contained HTML page to explore the segments of a picture."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from cast_exp.ops.labels import nearest
from cast_exp.output.pictures import fitted
from cast_exp.predict.files import jpeg
from cast_exp.predict.photo import DETAIL, Pixels, shrunk
from cast_exp.predict.tree import Integers, SegmentTree
from cast_exp.viz.outlines import border_arcs, roomiest

_ANCHORS = 400
"""Longest side, in pixels, at which places for numbers are looked for."""


def hierarchy_page(
    title: str,
    pixels: Pixels,
    superpixels: Integers,
    tree: SegmentTree,
    heads: Sequence[Mapping[str, Any]] = (),
    head_level: int = 0,
    names: Sequence[str] = (),
) -> str:
    """Make a page that needs nothing but itself: no network, no other file.

    A photo larger than `DETAIL` is embedded smaller; the facts are those of the photo as it is.

    Args:
        title: Name of the picture.
        pixels: The picture, uint8 (H, W, 3).
        superpixels: Its superpixels, int (H, W).
        tree: Its segments.
        heads: What each attention head looks at, see `cast_exp.predict.attention_heads.heads_of`.
        head_level: Level whose segments they look at.
        names: What each segment is called, by its id; none if they have no names.
    """
    height, width = superpixels.shape
    pixels = shrunk(pixels, DETAIL)
    view = pixels.shape[:2]
    superpixels = nearest(superpixels, *view)
    photo = base64.b64encode(jpeg(pixels)).decode()
    records = tree.records()
    data = {
        "photo": f"data:image/jpeg;base64,{photo}",
        "size": [width, height],
        "view": view[::-1],
        "counts": [tree.count(level) for level in range(tree.levels)],
        "parent": tree.parent.tolist(),
        **{key: [record[key] for record in records] for key in ("area", "box", "centroid")},
        "mean": [record["hex"] for record in records],
        "fill": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in tree.colours().tolist()],
        "anchor": _anchors(superpixels, tree),
        "arcs": _arcs(tree.ids[0][superpixels]),
        "headLevel": head_level,
        "heads": heads,
        "names": [*names],
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("__TITLE__", html.escape(title)).replace("__DATA__", text)


def _arcs(leaves: Integers) -> list[int]:
    """For each arc: the ids on its left and right, the number of points, the steps between them."""
    numbers: list[int] = []
    for arc in border_arcs(leaves):
        numbers += [arc.left, arc.right, len(arc.points)]
        numbers += np.diff(arc.points, axis=0, prepend=0).ravel().tolist()
    return numbers


def _anchors(superpixels: Integers, tree: SegmentTree) -> list[list[int] | None]:
    """Where the number of a segment has most room, [x, y, room]; None for superpixels."""
    scale = min(1, _ANCHORS / max(superpixels.shape))
    small = nearest(superpixels, *fitted(superpixels.shape, min(_ANCHORS, max(superpixels.shape))))
    anchors: list[list[int] | None] = [None] * len(tree.level)
    for ids in tree.ids[1:]:
        for segment, place in roomiest(ids[small]).items():
            anchors[segment] = [round(value / scale) for value in place]
    return anchors
