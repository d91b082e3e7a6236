"""What a resumed run would do otherwise than before, and whether it may."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from cast_exp.errors import UserError, listing
from cast_exp.output.files import write_json
from cast_exp.run.folder import (
    RUN,
    SWEEP,
    checkpoints,
    job_folder,
    rank,
    read_summary,
    run_of,
)
from cast_exp.run.plan import Plan
from cast_exp.run.saved import read_yaml

Leave = Literal["refuse", "accept"]
"""Whether a resumed run may be trained otherwise than before."""

PLAN, RECORD = "plan.json", "run.json"
_OWN = ("resume", "resume_changes", "plugins", "objective")
_HARMLESS = (
    *("name", "paths", "compile", "task.compile", "weights", "logger", "callbacks"),
    *("evaluate", "evaluate_untrained", "evaluation", "scenes", "model.activation_checkpointing"),
    *("data.root", "data.workers", "data.prefetch", "data.max_unreadable", "data.expected_images"),
    "data.cache_superpixels",
    *("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.default_root_dir"),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"),
    "trainer.plugins",
    *("trainer.benchmark", "trainer.deterministic", "trainer.log_every_n_steps"),
    *("trainer.check_val_every_n_epoch", "trainer.val_check_interval", "trainer.limit_val_batches"),
    *("trainer.num_sanity_val_steps", "trainer.enable_model_summary"),
    *("trainer.enable_progress_bar", "trainer.profiler"),
)
"""What does not enter a step of the training, or only says when it ends."""
_PACKAGES = ("cast-exp", "torch", "torchvision", "lightning", "timm", "numpy")
_NONE = "(none)"
_LISTS = Repr()
_ADVICE = "add resume_changes=accept to go on all the same, or take that back"


def review_changes(
    configs: Sequence[DictConfig], jobs: Sequence[Sequence[str]], stopped: Path | None
) -> None:
    """Print what differs from the saved configs and versions of runs that go on.

    Args:
        configs: Composed config of each job, with `resume` and `resume_changes`.
        jobs: The overrides of each.
        stopped: Folder of the run or multirun that is resumed; None if a new one begins, perhaps
            from a checkpoint.

    Raises:
        UserError: Something that enters the training differs, and that is not accepted. Or what is
            saved is damaged.
    """
    for config, folder in zip(configs, _trained_before(configs[0], jobs, stopped), strict=True):
        if folder and checkpoints(folder):  # else there is nothing to go on with
            _review(config, folder)


def review_plan(plan: Plan, folder: Path, checkpoint: Path | None, leave: Leave) -> None:
    """Compare the number of images with that of the plan that was saved, and save the new one.

    Args:
        plan: What the run will do.
        folder: Of the run, where `plan.json` is written.
        checkpoint: What the run goes on from, if it does.
        leave: Whether there may be another number.

    Raises:
        UserError: There is, and it may not.
    """
    before = checkpoint and (run_of(str(checkpoint)) or folder) / PLAN
    saved = _read(before) if before and before.is_file() else {}
    images = saved.get("images")
    if images not in (None, plan.images):
        change = f"{listing([images])} -> {plan.images} training images"
        if leave == "refuse":
            raise UserError(f"{folder} has been trained on other data so far: {change}; {_ADVICE}")
        if rank() == 0:
            print(f"note: resumed with {change}", file=sys.stderr)
    if rank() == 0:
        write_json(folder / PLAN, asdict(plan))


def _trained_before(
    config: DictConfig, jobs: Sequence[Sequence[str]], stopped: Path | None
) -> list[Path | None]:
    """The folder of the run that each job goes on from, if there is one."""
    if stopped and (stopped / SWEEP).is_file():
        shared = set.intersection(*map(set, jobs))
        own = [",".join(sorted(text for text in job if text not in shared)) for job in jobs]
        folders = [stopped / job_folder(number, texts) for number, texts in enumerate(own)]
        return [f if read_summary(f).get("status") != "finished" else None for f in folders]
    given = config.resume
    return [stopped or (run_of(given) if given not in (None, "auto") else None)] * len(jobs)


def _review(config: DictConfig, folder: Path) -> None:
    found = dict(_differences(config, _read(folder / RUN)))
    grave = [text for key, text in found.items() if not _within(key, _HARMLESS)]
    if grave and config.get("resume_changes") != "accept":
        raise UserError(f"{folder} has been trained otherwise so far: {listing(grave)}; {_ADVICE}")
    if rank() == 0:
        for text in chain(found.values(), _versions(folder)):
            print(f"note: resumed with {listing([text])}", file=sys.stderr)


def _differences(config: DictConfig, saved: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that differ, and how; those that refer to others, which are named, are left out."""
    written: Any = OmegaConf.to_container(config)
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    for key, text in _compared(written, resolved, saved, ""):
        unasked = _within(key, ("evaluation",)) and text.endswith(_NONE)  # left out by `only_asked`
        if not (unasked or _within(key, _OWN)):
            yield key, text


def _compared(
    written: Mapping[str, Any], now: Mapping[str, Any], saved: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str]]:
    for key in dict.fromkeys([*now, *saved]):
        name, old, new = f"{prefix}{key}", saved.get(key, _NONE), now.get(key, _NONE)
        text = str(written.get(key))
        if text.startswith("${") and "oc.env" not in text:
            continue
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            yield from _compared(written[key], new, old, f"{name}.")
        elif old != new:
            yield name, f"{name}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("_target_", "...")
    if isinstance(value, list):  # it may hold itself
        return _LISTS.repr(value)
    return "null" if value is None else str(value)


def _versions(folder: Path) -> Iterator[str]:
    """A line for each package that matters and is of another version than at the last launch."""
    try:
        launches = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    last = launches[-1] if isinstance(launches, list) and launches else None
    packages = last.get("packages") if isinstance(last, Mapping) else None
    if not isinstance(packages, Mapping):
        return
    for name in _PACKAGES:
        old = str(packages.get(name, _NONE))
        try:
            new = version(name)
        except PackageNotFoundError:
            new = _NONE
        if old != new:
            yield f"{name} {old} -> {new}"


def _within(key: str, keys: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in keys)


def _read(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} is damaged; start a new run")
    return content
