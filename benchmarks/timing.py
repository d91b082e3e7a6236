"""Time and memory, as the benchmarks measure them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def cpu_clock() -> float:
    """Seconds of CPU time with one thread, which other load disturbs least; else of wall time."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def fastest(
    candidates: dict[str, Callable[[], Any]],
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds of the fastest call of each candidate.

    The candidates take turns, so that other load on the machine meets all of them alike, after one
    call each that is not counted.
    """
    seconds = dict.fromkeys(candidates, float("inf"))
    for run in candidates.values():
        run()
    for _ in range(rounds):
        for name, run in candidates.items():
            begin = clock()
            run()
            seconds[name] = min(seconds[name], clock() - begin)
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
