"""Each benchmark runs to its end; how fast anything is does not matter here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT
from support.tiny_data import noise

ONCE = """
import runpy, sys

import timing

def once(candidates, *args, **options):
    for run in candidates.values():
        run()
    return dict.fromkeys(candidates, 1.0)

timing.fastest = once
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
"""Runs a script that calls what it times once."""

SMALL = {
    "gpu": ["--device", "cpu", "--small", "--out", "{tmp}", "farthest"],
    "loader": ["{tmp}", "--rounds", "1", "--modes", "SEEDS"],
    "planning": [],
    "segmentation": ["--model", "cast_tiny", "--batch", "1", "--rounds", "1"],
    "segmenter": ["--model", "cast_tiny", "--batch", "1", "--bf16"],
}
"""Those that start processes of their own or do not say how often, with little to do."""
NONE = ("gauge", "gpu_steps", "gpu_table", "timing")
"""Parts of the others."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sorted(file.stem for file in (ROOT / "benchmarks").glob("*.py") if file.stem not in NONE),
)
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    for split, count in (("train", 66), ("val", 2)):
        for number in range(count):
            path = tmp_path / split / "ant" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(path, (64, 64), number)
    script = str(ROOT / "benchmarks" / f"{name}.py")
    how = [script] if name in SMALL else ["-c", ONCE, script]
    options = [word.format(tmp=tmp_path) for word in SMALL.get(name, [])]
    ended = subprocess.run(
        [sys.executable, *how, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.strip()
