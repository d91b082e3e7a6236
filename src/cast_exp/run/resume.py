"""Which checkpoint a run goes on from, and whether it fits."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cast_exp.checkpoints.files import read_checkpoint, require_whole, weights_of
from cast_exp.checkpoints.fit import differences
from cast_exp.errors import UserError, listing
from cast_exp.run.folder import checkpoints
from cast_exp.tasks.base import COURSE, BaseTask

log = logging.getLogger(__name__)

_LISTED = 4  # names of each kind in a message
_KINDS = {"missing": "not in it", "unexpected": "only in it"}


def checkpoint_to_resume(folder: Path, resume: str | None, module: nn.Module) -> Path | None:
    """The checkpoint to go on from, read and compared with the model.

    Args:
        folder: Folder of the run. The newest of its checkpoints that can be read is taken; a newer
            one that cannot (cut short by a crash or a full disk) is named in a warning.
        resume: As configured; the path of a checkpoint takes precedence over those of the folder
            only when the folder has none yet.
        module: What the weights are for.

    Returns:
        None if there is nothing to go on from: the run is new.

    Raises:
        UserError: No checkpoint of a stopped run can be read, or it is one of another model.
    """
    paths = checkpoints(folder)
    if not paths and resume not in (None, "auto") and Path(str(resume)).expanduser().is_file():
        paths = [Path(str(resume)).expanduser()]
    for path in paths:
        try:
            require_whole(path)
            checkpoint = read_checkpoint(path)
            weights = weights_of(checkpoint, "")
        except Exception as error:  # whatever unpickling rubbish raises
            reason = f"{error or type(error).__name__}".splitlines()[0]
            log.warning("%s cannot be read (%s); trying the one before", path, reason)
            continue
        if found := differences(module.state_dict(), weights, "{}: {} instead of {}"):
            lines = [
                f"  {len(names)} {_KINDS.get(kind, kind)}: {listing(names, _LISTED)}"
                for kind, names in found.items()
            ]
            raise UserError(
                f"{path} is a checkpoint of another model than the one configured:\n"
                + "\n".join(lines)
                + "\nresume with the experiment and model of its run (its folder's config.yaml)"
            )
        if isinstance(module, BaseTask):
            _require_same_optimizer(path, checkpoint, module)
        log.info("going on from %s: %s", path, _reached(checkpoint))
        return path
    if paths:
        raise UserError(f"no checkpoint can be read: {', '.join(map(str, paths))}")
    if resume not in (None, "auto"):
        log.info("no checkpoint in %s yet: training begins anew", folder)
    return None


def _reached(checkpoint: Mapping[str, Any]) -> str:
    """How far the training of a checkpoint has come."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = loop.get("epoch_progress", {}).get("current", {})
    within = epochs.get("started", 0) > epochs.get("completed", 0)
    # At the end of an epoch it is saved before the epoch counts.
    ends = within and loop.get("epoch_loop.batch_progress", {}).get("is_last_batch", False)
    done, steps = checkpoint.get("epoch", 0) + ends, checkpoint.get("global_step", 0)
    return f"epochs done: {done}, steps done: {steps}"


def _require_same_optimizer(path: Path, checkpoint: Mapping[str, Any], task: BaseTask) -> None:
    configured = task.configure_optimizers()
    course, states = checkpoint.get(COURSE), checkpoint.get("optimizer_states")
    if not isinstance(configured, dict) or not course or not states:
        return
    wanted, found = configured["optimizer"], states[0]
    groups = [len(group["params"]) for group in wanted.param_groups]
    former = [len(group["params"]) for group in found["param_groups"]]
    kind, name = type(wanted).__name__, course["optimizer"][0]
    if (name, former) != (kind, groups):
        raise UserError(
            f"{path} has the state of {name} for groups of {former} parameters, which {kind} for "
            f"groups of {groups} cannot go on from; take back what has been changed of optim"
        )
