"""Evaluations on two devices, as the commands that people type."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli import SMALL, runs

from cast_exp.run.folder import read_summary

pytestmark = pytest.mark.slow

TWO = ("strategy=ddp_cpu", "trainer.devices=2")
EVALUATED = (
    "scenes.dataset.train=5",
    "scenes.dataset.val=5",
    "scenes.image_size=48",
    "evaluation.hierarchy.levels=[8,4]",
    "evaluate=[knn,retrieval,figure_ground,hierarchy]",
)
TYPED = ("experiment", "data.", "superpixel", "model.", "pooling.")
EVAL = ("-m", "cast_exp.eval", *(t for t in SMALL if t.startswith(TYPED)), "model=cast_tiny")
TRAIN = ("-m", "cast_exp.train", *SMALL, "trainer.max_epochs=1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def metrics(name: str, *command: str) -> dict[str, float]:
    """Of a run of that name."""
    done = subprocess.run(
        [sys.executable, *command, f"name={name}"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    (run,) = (r for r in runs() if r.parent.name == name or r.name.startswith(f"{name}-"))
    summary = read_summary(run)
    assert summary["status"] == "finished"
    found: dict[str, float] = summary["metrics"]
    return found


def test_two_devices_evaluate_as_one_does() -> None:
    one = metrics("one", *EVAL, *EVALUATED)
    two = metrics("two", *EVAL, *EVALUATED, *TWO)
    assert two == pytest.approx(one, rel=1e-12)
    assert {name.split("/")[0] for name in two} == {
        "knn",
        "retrieval",
        "figure_ground",
        "hierarchy",
    }


def test_training_on_two_devices_ends_with_evaluations_on_both() -> None:
    both = (*EVALUATED[:-1], "evaluate=[knn,linear_probe,retrieval,figure_ground,hierarchy]")
    found = metrics("trained", *TRAIN, *both, "evaluation.linear_probe.epochs=2", *TWO)
    (run,) = runs(Path("runs/trained"))
    alone = metrics("again", "-m", "cast_exp.eval", f"run={run}", "evaluate=[knn]")
    assert found["knn/top1"] == alone["knn/top1"]
    names = {name.split("/")[0] for name in found}
    assert {"linear_probe", "retrieval", "figure_ground", "hierarchy"} <= names


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_processes_and_what_is_done_is_kept(number: int, code: int) -> None:
    long = ("scenes.dataset.val=100000", "scenes.dataset.train=5", "evaluate=[knn,figure_ground]")
    command = [sys.executable, *EVAL, *long, *TWO, "name=stopped"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 300
            while len(list(Path("runs").rglob("images*.jsonl"))) < 2:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(number)  # to the first only
            _, error = process.communicate(timeout=120)  # until no process has the pipe
        except BaseException:
            process.terminate()  # or it would be waited for
            raise
    assert process.returncode == code
    assert "Traceback" not in error
    (run,) = runs(Path("runs/eval/stopped"))
    assert read_summary(run)["status"] == "interrupted"
    assert all(path.stat().st_size for path in run.rglob("images*.jsonl"))
