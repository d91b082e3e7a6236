"""Outputs of a hierarchy: maps, pictures and facts that agree."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.scenes import shape_scenes

from cast_exp.errors import UserError
from cast_exp.models import Backbone, Pooling, create_model
from cast_exp.predict import segments as module
from cast_exp.predict.segments import hierarchy_files, segment, tree_of


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    pooling = Pooling((16, 8, 4))
    return create_model("cast_tiny", image_size=64, pooling=pooling, sampling="interpolated").eval()


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_maps_pictures_and_facts_are_of_the_same_segments(backbone: Backbone) -> None:
    (scene,) = shape_scenes(1)
    hierarchy = segment(backbone, scene, levels=(12, 6, 3))
    assert hierarchy.attention is None
    tree = tree_of(scene, hierarchy, scene.pixels)
    files = hierarchy_files(scene, tree, scene.pixels)
    painted = {f"level_{level}{kind}.png" for level in range(4) for kind in ("", "_painted")}
    assert files.keys() == painted | {"overlay.png", "tree.json"}
    facts = json.loads(files["tree.json"])
    assert (facts["width"], facts["height"]) == (64, 64)
    for level in range(4):
        labels = read(files[f"level_{level}.png"])
        expected = scene.paint(hierarchy.labels(level)[0]).numpy()
        pairs = np.unique(np.stack([labels, expected]).reshape(2, -1), axis=1)
        assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(expected))
        assert facts["levels"][level] == {"level": level, "segments": len(np.unique(expected))}
        colours = read(files[f"level_{level}_painted.png"])
        assert (colours[:, 1:][labels[:, 1:] != labels[:, :-1]] == 255).all()
        inside = (colours != 255).any(-1)
        for number in np.unique(labels):
            assert len(np.unique(colours[inside & (labels == number)], axis=0)) <= 1
            assert facts["segments"][number]["level"] == level
            assert facts["segments"][number]["area"] == (labels == number).sum()
    overlay, superpixels = read(files["overlay.png"]), scene.full_superpixels.numpy()
    border = superpixels[:, 1:] != superpixels[:, :-1]
    assert (overlay[:, 1:][border] == 255).all()
    changed = (overlay != scene.pixels).any(-1)
    assert 0 < changed.mean() < 0.5


def test_attention_is_that_of_the_block_that_tells_figure_from_ground(backbone: Backbone) -> None:
    (scene,) = shape_scenes(1)
    found = segment(backbone, scene, attention=True)
    with torch.no_grad():
        expected = backbone(scene.image, scene.superpixels, attention=backbone.figure_block)
    assert torch.equal(found.attention.heads, expected.attention.heads)
    assert not found.cls.requires_grad


def test_more_segments_than_a_map_can_tell_apart(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene,) = shape_scenes(1)
    hierarchy = segment(backbone, scene)
    tree = tree_of(scene, hierarchy, scene.pixels)
    tree = replace(tree, level=np.zeros((1 << 16) + 1))
    monkeypatch.setattr(module, "segment_tree", lambda *_: tree)
    with pytest.raises(UserError, match="65537 segments are too many for label maps of 16 bits"):
        tree_of(scene, hierarchy, scene.pixels)
