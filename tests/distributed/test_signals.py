"""Signals and lost processes, each in a process that may be ended."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from cast_exp.distributed import signals
from cast_exp.distributed.signals import STOPS, Stopped, watched

PATIENCE = 30


def ended(target: Callable[..., None], *args: object) -> int | None:
    """Exit code of a process that runs a function; that of a stop if it stops it."""

    def run() -> None:
        try:
            target(*args)
        except Stopped as stop:
            sys.exit(128 + stop.signal)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(PATIENCE)
    process.kill()
    return process.exitcode


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    os.getpid()  # where it would be raised


@pytest.mark.parametrize("number", STOPS)
def test_the_first_process_stops_at_once_outside_of_steps(number: int) -> None:
    def run() -> None:
        with watched(True, None, False):
            send(number)
            os._exit(0)

    assert ended(run) == 128 + number


@pytest.mark.parametrize("first", [True, False])
def test_a_signal_waits_for_the_end_of_a_step(first: bool) -> None:
    def run() -> None:
        with watched(first, None, False):
            signals.hold()
            send(signal.SIGTERM)
            send(signal.SIGINT)
            assert signals.received() == signal.SIGTERM  # the first counts
            if first:
                signals.release()
            os._exit(3)

    assert ended(run) == (143 if first else 3)


@pytest.mark.parametrize("held", [True, False])
def test_no_process_waits_for_long(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_HELD" if held else "_OTHERS", 0.5)
    monkeypatch.setattr(signals, "_OTHERS" if held else "_HELD", 100)

    def run() -> None:
        with watched(held, None, False):
            if held:
                signals.hold()
            send(signal.SIGTERM)
            time.sleep(PATIENCE)

    assert ended(run) == 143


def wait_in_c() -> None:
    """For a process that never comes; no signal handler of Python runs meanwhile."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    store.wait(["never"], timedelta(seconds=PATIENCE))


@pytest.mark.parametrize("without_deadline", [True, False])
def test_a_process_that_is_stuck_is_ended(
    without_deadline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_LIMIT", 1)

    def run() -> None:
        with watched(True, None, False):
            signals.report_to(lambda why, code: tmp_path.joinpath(str(code)).write_text(why))
            signals.hold()
            send(signal.SIGTERM)
            if without_deadline:
                with signals.without_deadline():
                    time.sleep(3)
                    os._exit(0)
            wait_in_c()

    assert ended(run) == (0 if without_deadline else 143)
    assert [path.name for path in tmp_path.iterdir()] == ([] if without_deadline else ["143"])


def test_a_process_that_is_stuck_before_its_first_step_is_ended_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "_NOTHING", 0.5)
    monkeypatch.setattr(signals, "_LIMIT", 100)

    def run() -> None:
        with watched(True, None, False):
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            wait_in_c()

    assert ended(run) == 143


def test_nothing_interrupts_the_end() -> None:
    def run() -> None:
        with watched(True, None, False):
            signals.end()
            send(signal.SIGTERM)
            os._exit(5)

    assert ended(run) == 5


def test_what_was_ignored_is_and_handlers_are_put_back() -> None:
    def run() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        before = [signal.getsignal(number) for number in STOPS]
        with watched(True, None, False):
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) not in before
        assert [signal.getsignal(number) for number in STOPS] == before
        os._exit(6)

    assert ended(run) == 6


def test_a_signal_is_handed_on_to_the_others() -> None:
    def run() -> None:
        with subprocess.Popen(["sleep", "60"]) as other, watched(True, None, False):
            signals.watch_processes([other])
            signals.hold()
            send(signal.SIGHUP)
            os._exit(10 if other.wait() == -signal.SIGHUP else 0)

    assert ended(run) == 10


def test_a_signal_to_another_reaches_the_first() -> None:
    def run() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(11))
        if first := os.fork():
            os.waitpid(first, 0)
            time.sleep(PATIENCE)
        with watched(False, os.getppid(), True):
            send(signal.SIGUSR1)
            time.sleep(PATIENCE)

    assert ended(run) == 11


def test_a_lost_process_is_named_and_the_rest_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_LOST", 1)

    def run() -> None:
        with subprocess.Popen(["sleep", "60"]) as other, watched(True, None, False):
            signals.report_to(lambda why, code: tmp_path.joinpath(str(code)).write_text(why))
            signals.watch_processes([other])
            assert signals.lost(patience=0.5) is None
            other.kill()
            assert signals.lost() == "process 1 was killed by SIGKILL"
            wait_in_c()

    assert ended(run) == 1
    assert "process 1 was killed by SIGKILL" in (tmp_path / "1").read_text()


@pytest.mark.parametrize(("told", "code"), [(True, 7), (False, 143)])
def test_the_loss_of_who_has_started_the_process_is_noticed(
    told: bool, code: int, tmp_path: Path
) -> None:
    """The first process may have died in a step; torchrun leaves processes that are well."""

    def run() -> None:
        starter = os.getpid()
        if os.fork():
            os._exit(0)
        try:
            with watched(not told, starter, told):
                if signals.lost(PATIENCE) == "process 0 is gone":
                    tmp_path.joinpath("7").touch()
                elif not told:
                    time.sleep(PATIENCE)
        except Stopped as stop:
            tmp_path.joinpath(str(128 + stop.signal)).touch()
        os._exit(0)

    assert ended(run) == 0
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / str(code)).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
