"""Sets right what Lightning counts of a run that was resumed at the end of an epoch."""

from typing import Any


def count_epoch_in_work(checkpoint: dict[str, Any]) -> None:
    """Have a checkpoint from within an epoch say that this epoch has begun.

    Lightning (2.6) does not count the epoch that follows when a run goes on from the last batch of
    one. What is saved in it looks as if no epoch were in work, and Lightning would begin it anew.

    Args:
        checkpoint: As loaded; changed in place.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs = loop["epoch_progress"]
    for place in loop["state_dict"].get("combined_loader", []):  # of `ResumableLoader`
        if place["batch"] and place["epoch"] == epochs["current"]["processed"]:
            for counts in epochs.values():
                for name in ("ready", "started"):
                    counts[name] = max(counts[name], counts["processed"] + 1)
