"""Folders as runs leave them, without the runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from cast_exp.output.files import write_csv
from cast_exp.run.folder import write_summary

CHOICES = {"experiment": "shapes_moco", "pooling": "graph", "local": "default", "hydra": "default"}


def run_folder(
    folder: Path,
    *overrides: str,
    choices: Mapping[str, str | None] | None = None,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    rows: Iterable[Mapping[str, Any]] = (),
    status: str = "finished",
    kind: str = "train",
) -> Path:
    """Make the folder of a run.

    Args:
        folder: It.
        overrides: As typed.
        choices: Options of groups, beside `CHOICES`.
        config: Resolved config.
        metrics: Final metrics.
        rows: Of `metrics.csv`.
        status: How the run ended.
        kind: Name of its root config.
    """
    hydra = {
        "overrides": {"task": list(overrides), "hydra": []},
        "runtime": {"choices": CHOICES | dict(choices or {}), "config_sources": []},
        "job": {"config_name": kind},
    }
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config or {})))
    write_summary(folder, status, **({"metrics": metrics} if metrics else {}))  # type: ignore[arg-type]
    if rows := list(rows):
        names = sorted({name for row in rows for name in row})
        lines = [[row.get(name, "") for name in names] for row in rows]
        write_csv(folder / "metrics.csv", [names, *lines])
    return folder


def picture(path: Path, shade: int = 0) -> Path:
    """A grey PNG file of 60x40 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((40, 60, 3), shade, np.uint8))
    return path
