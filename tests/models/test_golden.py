"""The official model's outputs, through the importer of its checkpoints."""

import numpy as np
import pytest
import torch
from support.golden import official_state, read
from support.official import build_official

from cast_exp.models import Pooling
from cast_exp.models.positions import sincos_grid


def run(name, *, sincos=True, **options):
    config, arrays = read(name)
    model = build_official(
        official_state(config, sincos),
        heads=config["config"]["heads"],
        pooling=Pooling(config["config"]["clusters"]),
        **options,
    ).eval()
    images = torch.from_numpy(arrays["image"])
    superpixels = torch.from_numpy(arrays["superpixels"]).long()
    with torch.no_grad():
        return model(images, superpixels), arrays


def assert_near(ours, golden):
    np.testing.assert_allclose(ours.numpy(), golden, atol=1e-5, rtol=1e-5)


def assert_levels(hierarchy, arrays):
    for number, level in enumerate(hierarchy.levels[:-1], start=1):
        if f"logit{number}" not in arrays:
            continue
        golden = arrays[f"logit{number}"]
        assert_near(level.assignment, golden)
        assert (level.assignment.argmax(-1).numpy() == golden.argmax(-1)).all()


def test_recognition():
    hierarchy, arrays = run("tiny_classify", mask_empty=False)
    assert_near(hierarchy.cls, arrays["cls"])
    assert_levels(hierarchy, arrays)
    for number, level in enumerate(hierarchy.levels[:-1], start=1):
        assert_near(level.tokens, arrays[f"block{number}"])
    assert_near(hierarchy.levels[-1].tokens, arrays["centroid4"])


@torch.no_grad()
def test_groupings_one_by_one():
    config, arrays = read("tiny_classify")
    model = build_official(
        official_state(config, True), pooling=Pooling((16, 8, 4, 2)), mask_empty=False
    )
    padding = torch.from_numpy(arrays["padding_mask1"])
    for number, grouping in enumerate(model.groupings, start=1):
        tokens = torch.from_numpy(arrays[f"block{number}"])
        golden = arrays[f"sampled_inds{number}"]
        grouped = grouping.eval()(
            tokens, torch.zeros(2, 1, 96), golden.shape[1], padding if number == 1 else None
        )
        np.testing.assert_array_equal(grouped.seeds.numpy(), golden)
        assert_near(grouped.tokens, arrays[f"centroid{number}"])


def test_recognition_with_missing_superpixels():
    hierarchy, arrays = run("tiny_padded", mask_empty=False)
    assert_near(hierarchy.cls, arrays["cls"])
    np.testing.assert_array_equal(hierarchy.levels[0].padding.numpy(), arrays["padding_mask1"])


@pytest.mark.parametrize("mask_empty", [False, True])
def test_dense(mask_empty):
    hierarchy, arrays = run("tiny_segment", sampling="interpolated", mask_empty=mask_empty)
    assert_near(hierarchy.fused, arrays["tokens"])
    assert_levels(hierarchy, arrays)


def test_dense_pretraining():
    hierarchy, arrays = run("tiny_segment_pretrain", mask_empty=False)
    # The official mean counts empty superpixels too.
    assert_near(hierarchy.fused_mean(), arrays["mean_token"])
    assert hierarchy.levels[0].padding.any()


def test_supervised():
    config, arrays = read("tiny_deit")
    state = official_state(config, sincos=False)
    hierarchy, _ = run("tiny_deit", sincos=False, mask_empty=False)
    logits = hierarchy.cls @ state["head.weight"].T + state["head.bias"]
    assert_near(logits, arrays["logits"])


def test_supervised_dense():
    hierarchy, arrays = run("tiny_deit_segment", sincos=False, sampling="interpolated")
    assert_near(torch.cat([hierarchy.cls[:, None], hierarchy.fused], 1), arrays["tokens"])


def baseline(name, **options):
    config, arrays = read(name)
    state = official_state(config, sincos=True)
    if name == "tiny_vit":  # its class token has a slot of its own, zero
        state["pos_embed"] = torch.nn.functional.pad(
            sincos_grid(96, 4, 4).flatten(2).mT, (0, 0, 1, 0)
        )
        del state["pe_token"]
    model = build_official(state, heads=config["config"]["heads"], **options).eval()
    images = torch.from_numpy(arrays["image"])
    superpixels = arrays.get("superpixels", np.zeros((2, 64, 64)))
    with torch.no_grad():
        return model(images, torch.from_numpy(superpixels).long()), arrays


def test_vit():
    hierarchy, arrays = baseline("tiny_vit")
    assert_near(hierarchy.cls, arrays["cls"])


def test_vit_on_superpixels():
    hierarchy, arrays = baseline("tiny_vit_superpixel", mask_empty=False)
    assert_near(hierarchy.cls, arrays["cls"])
    assert hierarchy.depth == 0


def test_tome():
    hierarchy, arrays = baseline("tiny_tome", mask_empty=False, merged=4)
    assert_near(hierarchy.cls, arrays["cls"])
    assert hierarchy.depth == 4
