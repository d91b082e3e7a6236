"""Windows and macOS, as far as they can be imitated: no locks, fewer signals, no fork."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import multiprocessing, os, runpy, signal, sys
sys.modules |= {"fcntl": None, "resource": None}
for name in ("SIGHUP", "SIGUSR1", "SIGKILL", "pthread_kill"):
    delattr(signal, name)
del os.O_DIRECTORY
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    sys.argv[:] = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run(folder: Path, *command: str) -> None:
    (folder / "elsewhere.py").write_text(PROGRAM)
    words = [sys.executable, "elsewhere.py", *command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "imports.py").write_text(
        "import importlib, pkgutil, cast_exp\n"
        "for module in pkgutil.walk_packages(cast_exp.__path__, 'cast_exp.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
    )
    run(tmp_path, "imports")


@pytest.mark.slow
def test_a_run_with_workers(tmp_path: Path) -> None:
    words = ("experiment=shapes_moco", "debug=fast", "data.workers=1", "paths.runs=runs")
    run(tmp_path, "cast_exp.train", *words)
    assert list(tmp_path.glob("runs/debug/*/checkpoints/last.ckpt"))


@pytest.mark.slow
def test_what_a_model_costs(tmp_path: Path) -> None:
    run(tmp_path, "cast_exp", "cost", "--models", "cast_tiny", "--sizes", "64")
