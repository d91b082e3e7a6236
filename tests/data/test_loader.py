"""Workers neither chatter when a run is interrupted nor outlive one that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.retrieval import scenes
from torch.utils.data import DataLoader

PROGRAM = """
import sys
from pathlib import Path
from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder
from cast_exp.superpixels import Grid

data = ImageDataModule(ImageFolder, TwoViews(64), Grid(16), Path(sys.argv[1]), 2, workers=2)
loader = data.train_dataloader()
while True:
    for batch in loader:
        print(len(batch["label"]), flush=True)
"""


def group_is_gone(group: int, within: float) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_quietly_with_the_run(folder: Path, sent: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n", process.communicate()[1]
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as the terminal does: to the run and to its workers
    else:
        process.kill()  # to the run alone
    _, errors = process.communicate(timeout=30)
    # The run's own trace and nothing else.
    assert errors.count("Traceback") == (1 if sent == signal.SIGINT else 0), errors
    assert ("KeyboardInterrupt" in errors) == (sent == signal.SIGINT)
    assert group_is_gone(process.pid, within=20)


@pytest.mark.parametrize("kind", ["scenes", "batches"])
def test_ctrl_c_waits_until_the_workers_are_there(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(loader: DataLoader[object]) -> Iterator[object]:
        os.kill(os.getpid(), signal.SIGINT)
        os.getpid()  # where it would be raised
        started.append(loader)
        return iter([])

    data = scenes()
    data.batch_size = 2
    loader = data.scenes("val") if kind == "scenes" else data.train_dataloader()
    monkeypatch.setattr(DataLoader, "__iter__", start)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(loader)
    assert len(started) == 1
    assert signal.getsignal(signal.SIGINT) is handler
