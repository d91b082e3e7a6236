"""What happens when a run is told to stop, or loses one of its processes.

The signals are SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1, the notice of a pre-emption, sent to
one process or to all. Each process ends with 128 + signal, in this order:

1. The process hands the signal on to those it has started, or to the first if that started it, as
   torchrun and srun do by themselves.
2. While a step of training is made the signal is held: `NanGuard` adds it to what the processes
   exchange at each step, and all of them stop after the same step. At any other time the first
   process stops at once, in the middle of what it does; the others go on for a moment, as it may
   wait for them.
3. To stop is to raise `Stopped`. `ExceptionCheckpoint` saves, `run_job` keeps the record.
4. A thread watches. It sees to it that a signal is not held for long, and ends a process that
   waits for others in a collective call, which no signal can interrupt. It also notices when a
   process of Lightning's launcher is lost, where Lightning would kill all others within seconds.

Lightning's own handling of signals is off, see `cast_exp.run.trainer`: it broadcasts from inside a
handler, which deadlocks, and requeues SLURM jobs unasked.
"""

import _thread
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
STOPS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))

_HELD = 15.0  # seconds from the signal that a process waits for the end of a step
_OTHERS = 3.0  # seconds that the others give the first outside of steps
_NOTHING = 5.0  # seconds from the signal to the end where no step has been made
_LIMIT = 25.0  # seconds to it elsewhere, but for a checkpoint that is being written
_LOST = 40.0  # seconds from the loss of a process to the end of the others


class Stopped(BaseException):
    """A signal has stopped the run.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


class _Run:
    """What this process knows of the end of the run."""

    reader: socket.socket  # which Python's numbers of signals come through
    writer: socket.socket

    def __init__(
        self, first: bool = True, parent: int | None = None, notify_parent: bool = False
    ) -> None:
        self.first, self.parent, self.notify_parent = first, parent, notify_parent
        self.others: Sequence[subprocess.Popen[Any]] = ()
        self.report: Callable[[str, int], None] = lambda _why, _code: None
        self.received = 0
        self.held = self.stepped = self.overdue = self.ending = self.without_deadline = False
        self.passed_on = self.over = False
        self.lost: str | None = None
        self.since = 0.0  # when the signal came or a process was lost

    def handle(self, number: int, _: Any) -> None:
        """Called by Python in the main thread, between two of its instructions."""
        self.received = self.received or number
        if not self.ending and (self.overdue or (self.first and not self.held)):
            self.stop()

    def stop(self) -> None:
        self.ending = True
        raise Stopped(self.received)

    def watch(self) -> None:
        """In a thread of its own."""
        while not self.over:
            if select.select([self.reader], [], [], 0.5)[0]:
                for number in set(self.reader.recv(64)).intersection(STOPS):
                    self.pass_on(number)
            self.look_for_others()
            self.end_in_time()

    def pass_on(self, number: int) -> None:
        if self.passed_on:
            return
        self.passed_on, self.since = True, time.monotonic()
        self.received = self.received or number  # the main thread may be stuck
        for process in self.others:
            process.send_signal(number)
        if self.parent and self.notify_parent and os.getppid() == self.parent:
            with suppress(ProcessLookupError):
                os.kill(self.parent, number)

    def look_for_others(self) -> None:
        if self.received or self.lost:
            return
        for number, process in enumerate(self.others, 1):
            if code := process.poll():
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "has failed"
                self.lost = f"process {number} {how}"
        if self.parent and os.getppid() != self.parent:
            if self.notify_parent:
                self.lost = "process 0 is gone"
            else:  # torchrun itself: all processes are well and can save
                os.kill(os.getpid(), signal.SIGTERM)
        self.since = time.monotonic()

    def end_in_time(self) -> None:
        age = time.monotonic() - self.since
        main = threading.main_thread().ident
        waits = self.received and not (self.ending or self.overdue)
        if waits and main and age > (_HELD if self.held else _OTHERS):
            self.overdue = True
            _interrupt(main, self.received)
        if self.without_deadline:
            return
        if self.received and age > (_LIMIT if self.stepped or self.ending else _NOTHING):
            self.end("stopped", 128 + self.received)
        if self.lost and age > _LOST:
            self.end(self.lost, 1)

    def end(self, what: str, code: int) -> None:
        """Without the main thread, which waits for the device or for another process."""
        why = (
            f"{what}, and this process waits for others that do not answer: nothing could be saved"
        )
        self.report(why, code)
        os._exit(code)


def _interrupt(main: int, number: int) -> None:
    """Have the main thread handle a signal now, also where it sleeps or waits for a file."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)
    else:  # Windows, where it handles the signal when it wakes
        _thread.interrupt_main(signal.Signals(number))


_run = _Run()


@contextmanager
def watched(first: bool, parent: int | None, notify_parent: bool) -> Iterator[None]:
    """Follow signals as the module says; to be called from the main thread.

    A signal that is ignored, such as SIGHUP under nohup, stays so. After a stop all is left in
    place for the end of the program.

    Args:
        first: Whether this is the first process of the run.
        parent: Process that has started this one with others of the run, torchrun or the first;
            None if there is none. Its end is noticed.
        notify_parent: Whether that is the first, and must be told of signals.
    """
    global _run
    _run = run = _Run(first, parent, notify_parent)
    run.reader, run.writer = socket.socketpair()  # Windows cannot wait for a pipe
    run.writer.setblocking(False)
    handlers = {n: h for n in STOPS if (h := signal.getsignal(n)) is not signal.SIG_IGN}
    former = signal.set_wakeup_fd(run.writer.fileno(), warn_on_full_buffer=False)
    for number in handlers:
        signal.signal(number, run.handle)
    threading.Thread(target=run.watch, name="signals", daemon=True).start()
    try:
        yield
    finally:
        if not (run.received or run.lost):
            run.over = True
            signal.set_wakeup_fd(former)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def watch_processes(child_processes: Sequence[subprocess.Popen[Any]]) -> None:
    """Hand signals on to the other processes, by rank from 1, and notice when one is lost."""
    _run.others = child_processes


def report_to(report: Callable[[str, int], None]) -> None:
    """Have a function called with the reason and the code before the thread ends the program."""
    _run.report = report


def received() -> int:
    """Number of the signal that has told this process to stop; 0 if none has."""
    return _run.received


def lost(patience: float = 2.0) -> str | None:
    """What has become of a process of the run that is lost, if one is; it is not waited for long.

    Args:
        patience: Seconds for it to be found, which may take longer than an error to come of it.
    """
    deadline = time.monotonic() + patience
    while not _run.lost and (_run.others or _run.notify_parent) and time.monotonic() < deadline:
        time.sleep(0.1)
    return _run.lost


def hold() -> None:
    """Hold signals from now on: a step is being made."""
    _run.held = _run.stepped = True


def release() -> None:
    """Hold them no longer.

    Raises:
        Stopped: One has come.
    """
    _run.held = False
    if _run.received and _run.first and not _run.ending:
        _run.stop()


def end() -> None:
    """The run is ending, for whatever reason: nothing is to interrupt that any more."""
    _run.ending = True


@contextmanager
def without_deadline() -> Iterator[None]:
    """What is done inside may take its time, as long as whoever sent the signal grants it."""
    end()
    _run.without_deadline = True
    try:
        yield
    finally:
        _run.since = time.monotonic()
        _run.without_deadline = False
