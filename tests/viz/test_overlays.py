"""Masks as W&B lays them over images."""

import numpy as np
import pytest
import torch
from support.scenes import shape_scenes

from cast_exp.models import Hierarchy, Level, Pooling, create_model
from cast_exp.viz.head_maps import binary_masks
from cast_exp.viz.overlays import mask_overlays


@torch.no_grad()
def test_overlays_name_what_they_show() -> None:
    (scene,) = shape_scenes(1, size=48)
    model = create_model("cast_tiny", image_size=48, pooling=Pooling((16, 8, 4, 2))).eval()
    hierarchy = model(scene.image, scene.superpixels, attention=model.figure_block)
    masks = binary_masks(hierarchy)
    (overlay,) = mask_overlays(hierarchy, masks, [np.array([[0, 7, 255]])])
    assert list(overlay) == [f"level {k}" for k in (1, 2, 3, 4)] + [
        f"head {k}" for k in (1, 2, 3)
    ] + ["objects"]
    level = overlay["level 2"]
    assert (level["mask_data"] == hierarchy.segmentation(2)[0].numpy()).all()
    assert level["class_labels"] == {k: f"segment {k}" for k in range(8)}
    assert (overlay["head 2"]["mask_data"] == masks[0, 1][scene.superpixels.map[0]].numpy()).all()
    assert overlay["objects"]["mask_data"].tolist() == [[0, 1, 255]]
    assert overlay["objects"]["class_labels"] == {0: "ground", 1: "figure", 255: "void"}
    assert all(mask["mask_data"].dtype == np.uint8 for mask in overlay.values())


@pytest.mark.parametrize(("segments", "shown"), [(256, True), (257, False)])
def test_a_level_with_more_segments_than_a_byte_tells_apart_is_left_out(
    segments: int, shown: bool
) -> None:
    superpixels = torch.arange(300).view(1, 15, 20)
    scores = torch.nn.functional.one_hot(torch.arange(300) % segments, segments).float()[None]
    fine = Level(torch.zeros(1, 300, 2), torch.zeros(1, 300, dtype=torch.bool), scores)
    coarse = Level(torch.zeros(1, segments, 2), torch.zeros(1, segments, dtype=torch.bool), None)
    hierarchy = Hierarchy(torch.zeros(1, 2), superpixels, (fine, coarse))
    (overlay,) = mask_overlays(hierarchy, torch.ones(1, 1, 300, dtype=torch.bool), [])
    assert ("level 1" in overlay) == shown
    assert "objects" not in overlay
    assert overlay["head 1"]["mask_data"].all()
