"""Checkpoints and cards from strangers: one line each, soon, and with little memory."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.official import backbone_shapes, blank
from support.stored import nested, own, saved

from cast_exp.checkpoints import load_projector
from cast_exp.checkpoints.files import CONFIG, PREFIX

pytestmark = pytest.mark.usefixtures("little_memory")
NORM = f"{PREFIX}norm.weight"
CLS = f"{PREFIX}cls_token"


def bomb() -> list[Any]:
    inside: list[Any] = [1]
    for _ in range(40):
        inside = [inside] * 10
    return inside


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dim": 60000}, r"of another shape: cls_token"),
        ({"dim": 10**30}, "dim: Input should be less"),
        ({"dim": 0}, "dim: Input should be greater"),
        ({"dim": True}, "dim: Input should be a valid integer"),
        ({"dim": "24"}, "dim: Input should be a valid integer"),
        ({"dim": torch.zeros(1)}, "dim: Input should be a valid integer"),
        ({"depths": [10**7, 10**7]}, "depths: Input should be less"),
        ({"depths": [900, 900]}, "1800 blocks, but has only"),
        ({"depths": [1] * 1800}, "1800 blocks, but has only"),
        ({"depths": []}, "depths"),
        ({"depths": 3}, "depths: Input should be a valid tuple"),
        ({"depths": bomb()}, "depths: Input should be a valid integer"),
        ({"heads": 0}, "heads: Input should be greater"),
        ({"heads": 5}, "dim=24 with heads=5"),
        ({"heads": 10**18}, "dim=24 with heads=1000"),
        ({"image_size": 10**8}, "image_size: Input should be less"),
        ({"image_size": 2**16}, r"positions\.grid"),
        ({"image_size": 0}, "image_size: Input should be greater"),
        ({"family": "resnet"}, "family: Input should be 'cast'"),
        ({"levels": [float("nan"), 2]}, "levels"),
        ({"levels": [float("inf"), 2]}, "levels"),
        ({"levels": [True]}, "levels"),
        ({"levels": list(range(3000, 0, -1))}, "at most 100 items"),
        ({"levels": bomb()}, "levels"),
        ({"drop_path": float("nan")}, "drop_path"),
        ({"drop_path": 1.0}, "drop_path: Input should be less"),
        ({"fusion": "no"}, "fusion: Input should be a valid boolean"),
        ({"merged": -1}, "merged"),
        ({"grouping": 7}, "grouping: Input should be a valid string"),
        ({"grouping": "GraphPool\x1b[2J\n" * 20}, "grouping: String should match"),
        ({"grouping_options": {"dropout": 7.0}}, "dropout: Input should be less"),
        ({"grouping_options": {"speed": 9}}, "unexpected keyword argument 'speed'"),
        ({"grouping_options": {3: 9}}, "grouping_options"),
        ({"grouping_options": {"dropout": nested(100)}}, "grouping_options"),
        ({"grouping_options": {"dropout": bomb()}}, "grouping_options"),
        (
            {"grouping": "KMeans", "grouping_options": {"iterations": 10**12}},
            "iterations: Input should",
        ),
        ({"grouping": "KMeans", "grouping_options": {"seeding": "me"}}, "seeding: Input should be"),
        ({7: 1}, r"unknown entries \(7\)"),
        ({"a\nb\x1b[31m": 1}, r"unknown entries \(a\?b\?\[31m\)"),
        ({f"name{number}": 1 for number in range(10**4)}, "and 9980 more"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value))[:20],
)
def test_a_config_that_is_wrong(
    changes: dict[Any, Any], reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint, _ = own()
    checkpoint[CONFIG] |= changes
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))


def wide(state: dict[str, Any]) -> None:
    """A model of a width of 60000, of views of one number."""
    for name, value in state.items():
        shape = [60000 if size == 24 else 180000 if size == 72 else size for size in value.shape]
        state[name] = torch.zeros(()).expand(shape)


def changed(name: str, value: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state[name] = value(state[name])

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wide, r"claims to hold \d+ numbers in \d+ bytes"),
        (changed(NORM, lambda value: value.to("meta")), "without values: backbone.norm.weight"),
        (changed(NORM, torch.Tensor.to_sparse), "sparse"),
        (changed(NORM, lambda value: value.cfloat()), "of another type: norm.weight"),
        (changed(NORM, torch.Tensor.bool), "of another type: norm.weight"),
        (changed(NORM, lambda value: value[0]), r"of another shape: norm.weight \(\)"),
        (changed(NORM, lambda value: value[:0]), r"of another shape: norm.weight \(0,\)"),
        (changed(NORM, lambda value: value.tolist()), "1 missing: norm.weight"),
        (lambda state: state.update({f"{PREFIX}a\r\x1b[2J": torch.ones(1)}), r"a\?\?\[2J"),
        (lambda state: state.update({3: torch.ones(1), NORM: torch.ones(1)}), "norm.weight"),
        (dict.clear, "2 blocks, but has only 0"),
    ],
)
def test_weights_that_are_wrong(
    change: Callable[[dict[str, Any]], None],
    reason: str,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    checkpoint, _ = own()
    change(checkpoint["state_dict"])
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))


def test_weights_for_a_config_that_promises_more(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint, _ = own()
    checkpoint[CONFIG] |= {"dim": 60000, "image_size": 8}
    checkpoint["state_dict"][CLS] = torch.zeros(1, 1, 60000)
    checkpoint["state_dict"][f"{PREFIX}tokens.positions.grid"] = torch.zeros(1, 60000, 1, 1)
    assert "of another shape" in refused(saved(tmp_path, checkpoint), image_size=64)


def own_with_grid(*shape: int) -> dict[str, Any]:
    checkpoint, _ = own()
    checkpoint["state_dict"][f"{PREFIX}tokens.positions.grid"] = torch.zeros(shape)
    return checkpoint


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        (own_with_grid(3), "of another shape: tokens.positions.grid"),
        (own_with_grid(1, 24, 0, 4), "of another shape: tokens.positions.grid"),
        (own_with_grid(1, 7, 4, 4), "of another shape: tokens.positions.grid"),
        ({CONFIG: {}}, r"has no weights \(state_dict\)"),
        ({CONFIG: {}, "state_dict": [1]}, "no weights"),
        ({CONFIG: 3, "state_dict": {}}, "config is a int, not a mapping"),
        ({3: 4, CONFIG: {}}, "numbered values"),
        ({}, "holds nothing"),
        ({"a\n\x1b[2J" * 1000: 1}, "holds a"),
        ({"model": {3: torch.zeros(3)}}, "holds model"),
        (nested(400), "holds a list"),
    ],
)
def test_what_is_no_checkpoint(
    checkpoint: Any, reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = saved(tmp_path, checkpoint)
    assert re.search(reason, refused(path, image_size=64))
    if isinstance(checkpoint, dict) and "state_dict" not in checkpoint and CONFIG in checkpoint:
        assert refused(path, load_projector)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cls_token": torch.zeros(())}, "cls_token is no array of 3 axes"),
        ({"pos_embed": torch.zeros(384)}, "pos_embed is no array of 3 axes"),
        ({"pos_embed": torch.zeros(1, 0, 384)}, "not a square grid"),
        ({"pos_embed": torch.zeros(1, 783, 384)}, "not a square grid"),
        ({"pos_embed": torch.zeros(()).expand(1, 10**10, 384)}, "claims to hold"),
        ({"pos_embed": torch.zeros(1, 4 * 10**4, 8)}, "of another shape"),
        ({"cls_token": torch.zeros(1, 1, 0)}, "dim: Input should be greater"),
        ({"cls_token": torch.zeros(1, 1, 60000)}, "of another shape"),
        ({f"blocks1.{'9' * 5000}.norm1.weight": torch.zeros(1)}, "that no backbone"),
        ({f"blocks1.{number}.a": torch.zeros(1) for number in range(99)}, "lacks blocks"),
        ({f"blocks.{number}.a": torch.zeros(1) for number in range(10**3)}, "differ"),
        ({"blocks.": torch.zeros(1)}, "that no backbone"),
    ],
)
def test_official_layouts(
    changes: dict[str, Any], reason: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    checkpoint = {"model": blank(backbone_shapes("cast")) | changes}
    assert re.search(reason, refused(saved(tmp_path, checkpoint)))
