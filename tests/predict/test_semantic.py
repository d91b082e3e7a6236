"""Outputs of semantic segmentation."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cast_exp.predict.semantic import semantic_files
from cast_exp.viz import class_colours

CLASSES = ["background", "cat", "dog"]


def example(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((height, width), np.int64)
    labels[: height // 2, : width // 2] = 2
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return labels, pixels


def test_each_pixel_has_its_class_in_the_map_and_its_share_in_the_facts() -> None:
    labels, pixels = example()
    files = semantic_files(labels, CLASSES, pixels)
    assert files.keys() == {"semantic.png", "semantic_overlay.png", "semantic.json"}
    drawn = Image.open(io.BytesIO(files["semantic.png"]))
    assert drawn.mode == "P"
    assert np.array_equal(np.asarray(drawn), labels)
    palette = np.array(drawn.getpalette()[:9]).reshape(3, 3)
    assert np.array_equal(palette, class_colours(CLASSES))
    facts = json.loads(files["semantic.json"])
    assert (facts["width"], facts["height"]) == (60, 40)
    assert facts["classes"] == [
        {"class": 0, "name": "background", "area": 1800, "share": 0.75},
        {"class": 2, "name": "dog", "area": 600, "share": 0.25},
    ]


@pytest.mark.parametrize(("size", "shown"), [((300, 400), (300, 400)), ((30, 3200), (15, 1600))])
def test_the_overlay_is_the_photo_in_the_colours_of_classes(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    labels, pixels = example(*size)
    pixels[:] = 100
    overlay = np.asarray(
        Image.open(io.BytesIO(semantic_files(labels, CLASSES, pixels)["semantic_overlay.png"]))
    )
    height, width = shown
    assert overlay.shape[1] == width
    assert overlay.shape[0] > height, "a legend is below"
    colours = class_colours(CLASSES).astype(int)
    corners = {2: overlay[1, 1], 0: overlay[height - 2, width - 2]}
    for number, found in corners.items():
        assert np.abs(found - (100 + colours[number]) / 2).max() <= 1
    assert (overlay[: height // 2 - 2, width // 2 - 1 : width // 2 + 1] == 255).any()
