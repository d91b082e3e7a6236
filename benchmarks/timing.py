"""Timing shared by the benchmarks."""

import time
from collections.abc import Callable
from typing import Any


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
