"""What a run was chosen to be, small enough to be searched: what W&B gets of its config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cast_exp.errors import UserError
from cast_exp.run.record import RunRecord
from cast_exp.run.superseded import settings_of

_TRAINED = ("superpixel", "augmentation", "data", "pooling", "model", "regularizer")
_OF_TRAINING = (*_TRAINED, "optim", "task", "trainer")
_OF_EVALUATION = ("superpixel", "data", "pooling", "model")
_HOW = ("experiment", "sweep", "debug", "callbacks", "compat", "precision", "strategy")
_REFERRED = ("scenes", "decoder")  # nodes that are read only where something refers to them


def searchable_config(folder: Path) -> dict[str, Any]:
    """The config of a run as W&B is to show it.

    Args:
        folder: Of the run.

    Returns:
        The option of each config group by the name of the group, such as "pooling": "graph";
        "name", "seed" and "variant" (see `RunRecord.variant`); and "settings": the values of the
        nodes that the run reads, each once, with no evaluation that was not asked for. Empty if
        Hydra was told to leave nothing in the folder.
    """
    try:
        record = RunRecord.read(folder)
    except UserError:
        return {}
    written = settings_of(record)
    evaluations = written.get("evaluate") or []
    asked = tuple(f"evaluation.{name}." for name in evaluations)
    leaves = {key: value for key, value in written.items() if key.startswith(asked)}
    roots = list(_OF_EVALUATION if record.kind == "eval" else _OF_TRAINING)
    leaves |= {key: value for key, value in written.items() if key.partition(".")[0] in roots}
    for name in _REFERRED:
        if any(str(value).startswith(f"${{{name}") for value in leaves.values()):
            roots.append(name)
            leaves |= {key: value for key, value in written.items() if key.startswith(f"{name}.")}
    named = {group.rpartition("@")[2]: option for group, option in record.saved.choices.items()}
    return {
        **{group: option for group, option in named.items() if group in (*roots, *_HOW)},
        "name": written.get("name"),
        "seed": written.get("seed"),
        "variant": record.variant,
        "evaluate": evaluations,
        "settings": _nested({key: value for key, value in leaves.items() if _tells(key, value)}),
    }


def _tells(key: str, value: Any) -> bool:
    """Whether a leaf is a value of its own, not a class, a reference or nothing."""
    reference = isinstance(value, str) and "${" in value
    return not (reference or key.endswith("_") or value is None or value in ({}, []))


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted keys as nodes in nodes."""
    found: dict[str, Any] = {}
    for key, value in leaves.items():
        node = found
        *path, last = key.split(".")
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    return found
