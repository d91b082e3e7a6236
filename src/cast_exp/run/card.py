"""What an evaluation was of: `card.json` in its folder."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cast_exp
from cast_exp.checkpoints.files import fingerprint
from cast_exp.checkpoints.load import Weights, locate
from cast_exp.data.datasets.base import Split
from cast_exp.download.records import digest_of
from cast_exp.errors import UserError
from cast_exp.evaluation import BaseEvaluation, Subject
from cast_exp.output.files import write_json
from cast_exp.run.folder import rank, run_of


def write_card(
    folder: Path,
    subject: Subject,
    checkpoint: str | None,
    weights: Weights,
    evaluations: Mapping[str, BaseEvaluation],
    settings: Mapping[str, Any],
) -> None:
    """Say which weights and which data the figures in a folder are of.

    Args:
        folder: Where `card.json` goes; only the first process writes it.
        subject: What is evaluated.
        checkpoint: Where its weights are from; None for none.
        weights: Which of those there.
        evaluations: By name; their data are described.
        settings: What else the figures depend on, in plain values.
    """
    if rank() != 0:
        return
    config = subject.backbone.config
    card = {
        "version": cast_exp.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "weights": _weights(checkpoint, weights) | {"fingerprint": fingerprint(subject.backbone)},
        "model": config and config.to_dict(),
        "data": {name: _data(evaluation) for name, evaluation in evaluations.items()},
        **settings,
    }
    write_json(folder / "card.json", card)


def _weights(checkpoint: str | None, weights: Weights) -> dict[str, Any]:
    if checkpoint is None:
        return {"checkpoint": None}  # not trained
    path, run = locate(checkpoint).resolve(), run_of(checkpoint)
    file = {"sha256": digest_of(path)} if path.is_file() else {}
    return {"checkpoint": str(path), "run": run and str(run), "which": weights} | file


def _data(evaluation: BaseEvaluation) -> list[dict[str, Any]]:
    found = []
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        with suppress(UserError):  # there are none of that split, and none are needed
            found.append(evaluation.data.identity(split))
    return found
