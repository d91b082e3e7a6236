"""What is counted of the epochs of a resumed run; tests/data/test_resume.py resumes some."""

from typing import Any

import pytest

from cast_exp.tasks.progress import count_epoch_in_work


def saved(ready: int, processed: int, epoch: int, batch: int, last: bool) -> dict[str, Any]:
    counts = {"ready": ready, "started": ready, "processed": processed, "completed": processed}
    loader = {"combined_loader": [{"epoch": epoch, "batch": batch}]}
    progress = {"total": dict(counts), "current": dict(counts)}
    return {"loops": {"fit_loop": {"epoch_progress": progress, "state_dict": loader}}}


@pytest.mark.parametrize(
    ("ready", "processed", "epoch", "batch", "expected"),
    [
        (3, 2, 2, 1, 3),  # as Lightning saves it within an epoch
        (2, 2, 2, 1, 3),  # as it does after a run went on from the end of the second epoch
        (2, 2, 1, 6, 2),  # at the end of an epoch
        (1, 1, 0, 6, 1),
    ],
)
def test_an_epoch_is_counted_once(
    ready: int, processed: int, epoch: int, batch: int, expected: int
) -> None:
    checkpoint = saved(ready, processed, epoch, batch)
    count_epoch_in_work(checkpoint)
    for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
        assert counts["ready"] == counts["started"] == expected
        assert counts["processed"] == counts["completed"] == processed
