"""Pascal Context as published and as mmsegmentation prepares it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny_data import pascal_context_tree

from cast_exp.data.datasets import PASCAL_CONTEXT_CLASSES, PascalContext
from cast_exp.errors import UserError

# The numbers that mmsegmentation's converter keeps; the classes are in their order.
KEPT = [
    *(2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162),
    *(420, 454, 295, 296, 427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72),
    *(458, 34, 207, 80, 355, 85, 347, 220, 349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115),
]


def test_published_annotations_become_the_sixty_classes(tmp_path: Path) -> None:
    """Each in its column: what is not among the frequent ones is background."""
    root = pascal_context_tree(tmp_path)
    data = PascalContext("train", root)
    assert (len(data), len(PascalContext("val", root))) == (2, 1)
    expected = np.zeros(460, np.uint8)
    expected[sorted(KEPT)] = range(1, 60)
    assert (data[0]["semantic"] == expected).all()
    assert data.semantic_classes == list(PASCAL_CONTEXT_CLASSES)
    names = list(PASCAL_CONTEXT_CLASSES)
    assert (len(names), names[0], names[1:]) == (60, "background", sorted(names[1:]))


def test_prepared_label_maps_and_lists_are_taken_as_they_are(tmp_path: Path) -> None:
    voc = pascal_context_tree(tmp_path) / "VOCdevkit/VOC2010"
    for file in (tmp_path / "trainval").iterdir():
        file.unlink()
    (voc / "SegmentationClassContext").mkdir()
    labels = np.arange(3 * 460, dtype=np.int64).reshape(3, 460) % 60
    labels[0] = 255
    Image.fromarray(labels.astype(np.uint8)).save(
        voc / "SegmentationClassContext" / "2008_000003.png"
    )
    (voc / "ImageSets/SegmentationContext").mkdir()
    (voc / "ImageSets/SegmentationContext/train.txt").write_text("2008_000003\n")
    data = PascalContext("train", tmp_path)
    assert len(data) == 1
    assert (data[0]["semantic"] == labels).all()


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set.*VOCdevkit/VOC2010"):
        PascalContext("train")
    root = pascal_context_tree(tmp_path / "pcontext")
    with pytest.raises(
        UserError, match=r"no VOCdevkit/VOC2010 .*did you mean data\.root=\S+text\?"
    ):
        PascalContext("train", tmp_path)
    (root / "trainval/2008_000002.mat").write_text("no MATLAB")
    with pytest.raises(UserError, match=r"2008_000002\.mat is not a file of Pascal Context"):
        PascalContext("train", root)
    for file in (root / "trainval").iterdir():
        file.unlink()
    (root / "VOCdevkit/VOC2010/SegmentationClassContext").rmdir()
    with pytest.raises(UserError, match=r"no label maps of Pascal Context.*trainval\.tar\.gz"):
        PascalContext("train", root)
