"""The runs of a W&B project: choices, results, and which is built on the checkpoint of which."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cast_exp.config.messages import nearest
from cast_exp.errors import UserError
from cast_exp.loggers.wandb_run import digest_alias
from cast_exp.run.objective import direction

HEADLINES = (
    *("segmentation/miou", "retrieval/miou", "hierarchy/covering_ods", "val/miou"),
    *("classification/top1", "val/top1", "knn/top1", "val/knn"),
)
"""Results that tell best what runs are worth; of those that most runs have the first."""

_NO_CHOICE = {"name", "variant"}
_RECIPE = "experiment"


@dataclass(frozen=True)
class TrackedRun:
    """A run as W&B has it.

    Attributes:
        id: In W&B.
        name: Its display name.
        config: See `searchable_config`.
        summary: The last value of all that was logged.
    """

    id: str
    name: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]

    @cached_property
    def choices(self) -> dict[str, str]:
        """The option of each config group, by name."""
        named = {key: value for key, value in self.config.items() if isinstance(value, str)}
        return {key: value for key, value in named.items() if key not in _NO_CHOICE}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Single values of the config, by dotted keys."""
        return dict(_leaves(self.config.get("settings") or {}, "settings."))

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Finite numbers of the summary."""
        return {
            key: float(value)
            for key, value in self.summary.items()
            if isinstance(value, int | float) and not key.startswith("_") and math.isfinite(value)
        }

    def media(self, *kinds: str) -> list[str]:
        """Names of tables and pictures in the summary, by what W&B calls their kind."""
        typed = ((key, value) for key, value in self.summary.items() if isinstance(value, Mapping))
        return [key for key, value in typed if str(value.get("_type")).startswith(kinds)]


class Project:
    """A project of W&B, over the network.

    Args:
        path: "entity/project", or "project" of the account's default entity.

    Attributes:
        entity: User or team.
        name: Of the project.
        runs: All that `cast_exp` has logged there, newest first.

    Raises:
        UserError: There is no account or no network, the project is not there or not to be seen,
            or has no runs of ours.
    """

    def __init__(self, path: str) -> None:
        import wandb

        if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
            raise UserError(
                "a dashboard is made on the server of W&B: unset WANDB_MODE and upload offline "
                "runs with `wandb sync`; cast-exp report compares runs without a network"
            )
        entity, _, self.name = path.rpartition("/")
        if not self.name or "/" in entity:
            raise UserError(f"{path} is no project; give ENTITY/PROJECT, or PROJECT")
        try:
            self._api = wandb.Api()
            self.entity = entity or self._api.default_entity
            self._runs = {run.id: run for run in self._api.runs(str(self), lazy=False)}
        except Exception as error:  # wandb raises what its transport does, and ValueError
            raise UserError(_advice(error, path)) from error
        found = [
            TrackedRun(run.id, run.name, run.config, dict(run.summary_metrics))
            for run in self._runs.values()
        ]
        self.runs = [run for run in found if "variant" in run.config]
        if not self.runs:
            raise UserError(
                f"no run of cast_exp in {self}; train with logger=wandb, or upload offline runs "
                "with `wandb sync`"
            )

    def __str__(self) -> str:
        return f"{self.entity}/{self.name}"

    def link(self) -> tuple[int, list[str]]:
        """Tell W&B of each run which checkpoint it is built on, as of those logged offline.

        Returns:
            How many were linked; the names of those whose checkpoint W&B does not have.
        """
        linked, missing = 0, []
        for run in self.runs:
            source = run.config.get("source") or {}
            if not {"artifact", "sha256"} <= source.keys():
                continue
            name = f"{self.entity}/{source['artifact']}:{digest_alias(source['sha256'])}"
            try:
                self._runs[run.id].use_artifact(self._api.artifact(name))
            except Exception:  # likewise
                missing.append(run.name)
            else:
                linked += 1
        return linked, missing


def differing(runs: Sequence[TrackedRun]) -> list[str]:
    """The choices that are not the same in all runs, but for what follows from the recipe."""
    keys = dict.fromkeys(key for run in runs for key in run.choices)
    pairs = {
        key: {(run.choices.get(_RECIPE), run.choices.get(key)) for run in runs} for key in keys
    }
    recipes = len({run.choices.get(_RECIPE) for run in runs})
    return [
        key
        for key, seen in pairs.items()
        if len({value for _, value in seen}) > 1 and (key == _RECIPE or len(seen) > recipes)
    ]


def differing_settings(runs: Sequence[TrackedRun]) -> list[str]:
    """Dotted keys of the numbers that are not the same in all runs that have them."""
    seen: dict[str, set[float]] = {}
    for run in runs:
        for key, value in run.settings.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                seen.setdefault(key, set()).add(value)
    return [key for key, values in seen.items() if len(values) > 1]


def headline(runs: Sequence[TrackedRun], asked: str | None = None) -> str:
    """The result that runs are compared by.

    Args:
        runs: Of the project.
        asked: Its name; None for one of `HEADLINES`.

    Raises:
        UserError: No run has it, or any.
    """
    counts = Counter(name for run in runs for name in run.metrics)
    if asked is None:
        there = [name for name in HEADLINES if counts[name]]
        if not there:
            raise UserError(
                "none of the runs has a result yet; name a figure with --metric, such as train/loss"
            )
        return max(there, key=lambda name: counts[name])  # the first of those that most have
    if asked not in counts:
        raise UserError(f"no run has --metric {asked}; {nearest(asked, counts)}")
    return asked


def best_run(runs: Sequence[TrackedRun], metric: str) -> TrackedRun:
    """The run that is best by a figure that some run has."""
    sign = 1 if direction(metric) == "maximize" else -1
    return max(
        (run for run in runs if metric in run.metrics), key=lambda run: sign * run.metrics[metric]
    )


def checkpoint_of(run: TrackedRun) -> str | None:
    """The artifact of the weights that a run has trained or evaluated; None if W&B has none."""
    if own := run.summary.get("artifact/name"):
        return str(own)
    source = (run.config.get("source") or {}).get("artifact")
    return str(source).rpartition("/")[2] if source else None


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _advice(error: Exception, path: str) -> str:
    text = " ".join(str(error).split())
    if "could not find project" in text.lower() or "not found" in text.lower():
        return (
            f"W&B has no project {path}, or this account may not see it; give ENTITY/PROJECT, "
            "as in the address of its page"
        )
    return f"W&B does not answer ({text}); run `wandb login`, and look whether there is a network"
