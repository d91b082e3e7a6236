"""Timing shared by the benchmarks."""

import time
from collections.abc import Callable
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
