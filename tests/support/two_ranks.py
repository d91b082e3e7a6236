"""Calls functions in two processes that train together (gloo), started once for all tests."""

import multiprocessing
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import torch
import torch.distributed as dist


def on_two_ranks(function: Callable[..., Any], *args: Any) -> list[Any]:
    """Results of `function(*args)` in the order of the ranks.

    The function must be importable by its name: define it in a module of `support`.
    """
    # Pickled here, or both processes would get tensors in memory that they share.
    call = pickle.dumps((function, args))
    answers = [_pool().submit(_call, call) for _ in range(2)]
    results = dict(pickle.loads(answer.result(timeout=300)) for answer in answers)
    return [results[0], results[1]]


@cache
def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return ProcessPoolExecutor(2, context, _join, (context.Value("i", 0), port))


def _join(count: Any, port: int) -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with count.get_lock():
        rank = count.value
        count.value += 1
    # As torchrun leaves them, so that a Lightning trainer finds them too.
    os.environ |= {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)
    dist.init_process_group("gloo")


def _end_with(parent: int) -> None:
    """End this process when the one of the tests has: it holds its own pipe open."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(call: bytes) -> bytes:
    function, args = pickle.loads(call)
    dist.barrier()  # so that each of the two calls finds its own process
    return pickle.dumps((dist.get_rank(), function(*args)))
