"""Spherical K-Means on the tokens of a ViT, of a scene."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from support.scenes import shape_scenes

from cast_exp.checkpoints import save_pretrained
from cast_exp.errors import UserError
from cast_exp.evaluation.hierarchy import spherical_levels
from cast_exp.evaluation.hierarchy.vit import load_vit, vit_levels
from cast_exp.models import create_model


@torch.no_grad()
def test_levels_are_those_of_its_tokens(tmp_path: Path) -> None:
    save_pretrained(create_model("vit_tiny", image_size=64), tmp_path / "vit")
    vit = load_vit(str(tmp_path / "vit"), "key").eval()
    scene = shape_scenes(2)[1]
    levels = vit_levels(vit, scene, [9, 4], seed=3)
    tokens = vit(scene.image, scene.superpixels).levels[0].tokens[0].T.unflatten(1, (4, 4))
    expected = spherical_levels(tokens, (64, 64), [9, 4], seed=(3, 1))
    assert all(torch.equal(one, other) for one, other in zip(levels, expected, strict=True))
    for fine, coarse in pairwise(levels):
        assert len(np.unique(torch.stack([fine, coarse]).flatten(1), axis=1).T) == fine.max() + 1


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_pretrained(create_model("cast_tiny"), tmp_path / "cast")
    with pytest.raises(UserError, match=r"key=.*cast is a CAST; name a ViT's checkpoint, or null"):
        load_vit(str(tmp_path / "cast"), "key")
