"""The page of speeds on a GPU says of every row what was measured, or that it was not run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.commands import ROOT


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu
    import gpu_table

    for name in ("gauge", "gpu", "gpu_steps", "gpu_table"):
        monkeypatch.delitem(sys.modules, name)
    return gpu, gpu_table


def record(row: str, **figures: Any) -> dict[str, Any]:
    source = {"hardware": "a GPU", "versions": "torch 2", "commit": "1234567", "seed": 0}
    return {"row": row, **source, "command": "python benchmarks/gpu.py", **figures}


def cells(text: str, row: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_the_page_is_that_of_the_records(benchmarks: Any, tmp_path: Path) -> None:
    gpu, gpu_table = benchmarks
    rows = [name for name, _ in gpu.Bench(gpu.steps.FULL, "cuda", 0).rows()]
    assert len(set(rows)) == len(rows)
    page = tmp_path / "speed.md"
    page.write_text((ROOT / "results/speed.md").read_text())
    gpu_table.rewrite(page, rows, gpu_table.read(ROOT / "results/speed.jsonl"))
    assert page.read_text() == (ROOT / "results/speed.md").read_text()


def test_the_newest_record_of_a_row_counts(benchmarks: Any, tmp_path: Path) -> None:
    _, gpu_table = benchmarks
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{gpu_table.BEGIN}\nold\n{gpu_table.END}\nafter\n")
    records = [
        record("a", images_s=1000.0, ms=2.0, waits=19),
        record("a", images_s=2345.6, ms=1.0, of_peak=0.25, commit="7654321"),
        record("b", error="OutOfMemoryError: too much"),
    ]
    gpu_table.rewrite(page, ["a", "b", "c"], records)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    found = dict(zip(gpu_table.COLUMNS, cells(text, "a"), strict=False))
    assert (found["images_s"], found["ms"], found["of_peak"]) == ("2,346", "1.00", "25%")
    assert found["waits"] == ""
    assert cells(text, "b")[0] == "failed: OutOfMemoryError: too much"
    assert set(cells(text, "c")) == {"not run here", ""}
    assert "1. hardware a GPU; versions torch 2; commit 7654321; seed 0; command python" in text
    assert cells(text, "a")[-1] == "1"
    assert cells(text, "b")[-1] == "2"


def test_a_gauge_times_what_follows_the_warm_up(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    gpu, _ = benchmarks
    gauge = gpu.Gauge("cpu", warmup=2, timed=4)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    for step in range(gauge.total):
        gauge.begin()
        now += 100 if step < 2 else 0.25
        gauge.end()
    assert gauge.total == 6
    assert gauge.figures == {"ms": 250.0}
