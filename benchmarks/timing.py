"""Time and memory, as the benchmarks measure them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def fastest(candidates: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Seconds of the fastest call of each candidate.

    The candidates take turns, so that other load on the machine meets all of them alike, after one
    call each that is not counted.
    """
    seconds = dict.fromkeys(candidates, float("inf"))
    for run in candidates.values():
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


def memory_of(run: Callable[[], Any], device: str) -> float:
    """MiB that a call takes at most, beyond what was there before.

    Of torch's memory on a GPU; of the process on a CPU (Linux), which must not have had more
    before.
    """
    if device == "cuda":
        run()
        torch.cuda.reset_peak_memory_stats()
        there = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - there) / 2**20
    before = _most_resident()
    run()
    return _most_resident() - before


def _most_resident() -> float:
    """MiB of memory that this process has had at most, on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
