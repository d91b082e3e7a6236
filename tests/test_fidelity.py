"""The page of deviations from the release: its switches exist, and none is missing."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cast_exp.config import conf_dir
from cast_exp.run.resolvers import register_resolvers

PAGE = Path(__file__).parents[1] / "docs" / "fidelity.md"
CONF = Path(conf_dir())
CHOSEN = {
    "train": ("voc_finetune", "ade20k_segmenter", "in1k_supervised", "in1k_linear", "coco_moco"),
    "eval": ("voc_retrieval", "part_imagenet_open"),
}


def rows() -> list[list[str]]:
    """Cells of the tables, without their heads."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what"]


def switches() -> list[str]:
    """What the tables say to set, in their order."""
    return [switch for row in rows() for switch in re.findall("`([^`]+)`", row[3])]


@cache
def configs() -> list[dict[str, Any]]:
    """Recipes that together have all that can be set."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = [
            compose(root, [f"experiment={name}"])
            for root, names in CHOSEN.items()
            for name in names
        ]
    return [OmegaConf.to_container(config) for config in composed]  # type: ignore[misc]


def exists(config: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return False
        config = config[name]
    return True


def test_each_deviation_says_all() -> None:
    assert len(rows()) > 25
    for row in rows():
        assert len(row) == 5, row
        assert all(row), row
        assert row[3] == "none" or re.fullmatch("(`[^`]+` ?)+", row[3]), row


@pytest.mark.parametrize("switch", switches())
def test_each_switch_exists(switch: str) -> None:
    key, _, value = switch.partition("=")
    if (CONF / key).is_dir():
        assert (CONF / key / f"{value}.yaml").is_file()
    else:
        assert any(exists(config, key) for config in configs())


def test_every_switch_of_compat_is_on_the_page_and_does_something() -> None:
    corrected, official = (
        yaml.safe_load((CONF / "compat" / f"{name}.yaml").read_text("utf-8"))
        for name in ("corrected", "official")
    )
    listed = {s.removeprefix("compat.") for s in switches() if s.startswith("compat.")}
    assert listed == corrected.keys() == official.keys()
    read = "".join(path.read_text("utf-8") for path in CONF.rglob("*.yaml"))
    for name in listed:
        assert corrected[name] != official[name]
        assert f"${{compat.{name}}}" in read
