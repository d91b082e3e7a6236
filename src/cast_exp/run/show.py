"""What a run prints when it starts."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from cast_exp.config import Plan
from cast_exp.run.folder import rank


def show_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Print a config as a tree.

    Args:
        folder: Folder of the run, where Hydra has left the config as it was written: what refers
            to another node or to the folder is shown so.
        config: Resolved config.
    """
    if rank() == 0:
        written: Any = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "config.yaml"))
        tree = Tree("[bold]config")
        _grow(tree, config, written)
        Console().print(tree)


def show_plan(plan: Plan) -> None:
    """Print the batch, learning rate and steps of a run."""
    if rank() == 0:
        table = Table(title="plan", show_header=False, title_justify="left")
        for name, value in asdict(plan).items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
            table.add_row(name.replace("_", " "), shown)
        Console().print(table)


def _grow(tree: Tree, node: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    branches = []
    for key, value in node.items():
        text = written[key]
        if isinstance(value, Mapping) and isinstance(text, Mapping) and value:
            branches.append(key)
        elif key not in ("_target_", "_partial_"):
            reference = isinstance(value, Mapping) or str(text).startswith("${paths.run}")
            tree.add(escape(f"{key}: {text if reference else value}"))
    for key in branches:
        target = node[key].get("_target_", "").rpartition(".")[2]
        _grow(tree.add(f"[cyan]{key}[/] [bold]{target}[/]"), node[key], written[key])
