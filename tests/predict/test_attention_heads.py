"""What attention heads look at, against sums over tokens."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.scenes import shape_scenes

from cast_exp.data import Scene
from cast_exp.models import Hierarchy, Pooling, create_model
from cast_exp.predict.attention_heads import MASS, figure_ground_files, heads_of
from cast_exp.predict.segments import segment, tree_of


def looked(name: str) -> tuple[Scene, Hierarchy]:
    torch.manual_seed(0)
    options = {} if name == "vit_tiny" else {"pooling": Pooling((16, 8, 4, 2))}
    backbone = create_model(name, image_size=64, **options).eval()
    torch.nn.init.normal_(backbone.cls_token)
    (scene,) = shape_scenes(1)
    return scene, segment(backbone, scene, attention=True)


@pytest.mark.parametrize("name", ["cast_tiny", "vit_tiny"])
def test_masks_hold_most_of_the_attention(name: str) -> None:
    scene, hierarchy = looked(name)
    files = figure_ground_files(scene, hierarchy, scene.pixels)
    facts = json.loads(files["figure_ground.json"])
    assert (facts["width"], facts["height"], facts["mass"]) == (64, 64, 0.6)
    attention = hierarchy.attention.heads[0].double()
    owner = hierarchy.tokens_at(scene.full_superpixels[None])[0]
    token = hierarchy.labels(hierarchy.attention.level)[0][owner]
    assert len(facts["heads"]) == len(attention)
    for number, (head, row) in enumerate(zip(attention, facts["heads"], strict=True), 1):
        order = head.argsort(descending=True)
        held = (head[order].cumsum(0) < MASS * head.sum()).sum() + 1
        expected = torch.isin(token, order[:held]).numpy()
        mask = np.asarray(Image.open(io.BytesIO(files[row["mask"]])))
        assert row["head"] == number
        assert np.array_equal(mask, np.where(expected, 255, 0))
        assert row["area"] == expected.sum()
        assert row["share"] == pytest.approx(expected.mean(), abs=5e-5)
    assert Image.open(io.BytesIO(files["heads.png"])).width > 400


def test_the_page_gets_the_shares_of_segments() -> None:
    scene, hierarchy = looked("cast_tiny")
    tree = tree_of(scene, hierarchy, scene.pixels)
    heads, level = heads_of(hierarchy, tree)
    assert level == hierarchy.attention.level
    span = tree.span(level)
    for head, attention in zip(heads, hierarchy.attention.heads[0], strict=True):
        share, mask = np.array(head["share"]), np.array(head["mask"])
        rounding = 5e-5 * len(share)
        assert share.sum() == pytest.approx(1, abs=rounding)
        assert len(share) == tree.count(level)
        assert all(span.start <= number < span.stop for number in mask)
        kept = share[mask - span.start]
        assert kept.sum() >= MASS - rounding
        assert kept.min() >= np.delete(share, mask - span.start).max()
        assert head["area"] == tree.area[mask].sum()
        ids = tree.ids[level][scene.full_superpixels.numpy()]
        labels = scene.paint(hierarchy.labels(level)[0])
        best = attention.argmax()
        (segment,) = set(ids[(labels == best).numpy()])
        assert share[segment - span.start] == share.max()
