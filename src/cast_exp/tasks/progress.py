"""Where a resumed run is, in terms of what Lightning counts."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from cast_exp.data.loader import ResumableLoader


def count_epoch_in_work(checkpoint: dict[str, Any]) -> None:
    """Have a checkpoint say which epoch is in work, and how much of it is done.

    Lightning (2.6) does not count the epoch that follows when a run goes on from the last batch of
    one. What is saved in it looks as if no epoch were in work, and Lightning would begin it anew.
    It counts an epoch that `max_steps` cuts short as a whole one, and would leave out the rest;
    and where there are `max_steps`, it would leave out the epoch after a whole one.

    Args:
        checkpoint: As loaded; changed in place.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    for place in loop["state_dict"].get("combined_loader", []):  # of `ResumableLoader`
        ended = place["epoch"] == epochs["current"]["processed"] - 1
        if not place["batch"] or place["epoch"] < epochs["current"]["processed"] - 1:
            continue
        for counts in epochs.values():
            if ended and batches["is_last_batch"]:
                counts["completed"] = counts["processed"]
                continue
            if ended:
                counts["processed"] -= 1
                counts["completed"] = counts["processed"]
            for name in ("ready", "started"):
                counts[name] = max(counts[name], counts["processed"] + 1)
        if ended and batches["is_last_batch"]:
            batches["current"] = dict.fromkeys(batches["current"], 0)
            batches["is_last_batch"] = False


def steps_ahead(trainer: Trainer, before: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Take a resumed run to the same share of its epoch, if epochs have other steps than before.

    A step that is not whole in the new terms is begun anew.

    Args:
        trainer: About to train; its counts of batches are changed.
        before: `batches` and `steps_per_epoch` of the checkpoint, and `ahead`: what this returned
            when it was last asked.
        steps_per_epoch: Optimizer steps in an epoch now.

    Returns:
        How many steps more than this run a straight one of such epochs has made by now.
    """
    batches = int(trainer.num_training_batches)
    former: int = before["steps_per_epoch"]
    if (batches, steps_per_epoch) == (before["batches"], former):
        return int(before["ahead"])
    done: int = (trainer.global_step + before["ahead"]) * steps_per_epoch // former
    loop: Any = trainer.fit_loop
    epoch, progress = loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress
    if progress.is_last_batch:  # the epoch will be counted as done
        batch = batches
    else:
        inside = min(max(done - epoch * steps_per_epoch, 0), steps_per_epoch - 1)
        batch = inside * trainer.accumulate_grad_batches
        for loader in loop._combined_loader.flattened if loop._combined_loader else ():
            if isinstance(loader, ResumableLoader):
                loader.load_state_dict({"epoch": epoch, "batch": batch})
    late = progress.total.processed - progress.total.completed  # saved as the batch was being ended
    current = progress.current
    current.ready = current.started = current.processed = batch
    current.completed = batch - late
    return done - trainer.global_step
