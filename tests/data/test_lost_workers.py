"""Workers that die, and what they need and do not get; the errors are torch's own but for one."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.cli import restored
from support.tiny_run import Blots

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.lost_workers import lost_worker
from cast_exp.run.folder import read_summary
from cast_exp.run.job import run_job
from cast_exp.superpixels import Grid


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with restored():
        yield


class Deadly(Grid):
    """Superpixels that end their process."""

    def __init__(self, by: signal.Signals | None) -> None:
        super().__init__(16)
        self.by = by

    def segment(self, images: torch.Tensor) -> torch.Tensor:
        if self.by is None:
            os._exit(3)
        os.kill(os.getpid(), self.by)
        return super().segment(images)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        (
            signal.SIGSEGV,
            "a worker of the loader has crashed (SIGSEGV), in a compiled library. FastSlic "
            "superpixels are made there: try superpixel=slic.",
        ),
        (signal.SIGKILL, "was killed (SIGKILL), most often since the machine"),
        (signal.SIGBUS, "the shared memory /dev/shm"),
        (None, "has ended by itself (code 3); data.workers=0"),
    ],
)
def test_a_worker_that_dies_is_explained(
    by: signal.Signals | None, told: str, tmp_path: Path
) -> None:
    def task(**_: object) -> dict[str, float]:
        data = ImageDataModule(Blots, TwoViews(24), Deadly(by), batch_size=8, workers=1)
        return {"batches": len(list(data.train_dataloader()))}

    config = {"superpixel": {"_target_": "cast_exp.superpixels.FastSlic"}}
    assert run_job(task, config, tmp_path) == 2
    assert told in read_summary(tmp_path)["error"]
    log = (tmp_path / "run.log").read_text()
    assert f"resume={tmp_path}" in log
    assert "Traceback" not in log


def test_too_many_open_files_are_explained() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd"))
    kept = []
    data = ImageDataModule(Blots, TwoViews(16), Grid(16), batch_size=8, workers=1)
    loader = data.train_dataloader()
    with pytest.raises((RuntimeError, OSError)) as raised:  # noqa: PT012
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
            for _ in range(9):
                kept += list(loader)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "too many files are open" in str(lost_worker(raised.value))


def test_little_shared_memory_is_explained() -> None:
    text = "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device"
    assert "docker run --shm-size" in str(lost_worker(RuntimeError(text)))
    assert lost_worker(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
