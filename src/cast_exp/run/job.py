"""One process of a run: its log, its summary, and what it says when it does not end well."""

import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from cast_exp.data.lost_workers import lost_worker
from cast_exp.distributed import OutOfStep, signals
from cast_exp.errors import UserError
from cast_exp.loggers import end_wandb
from cast_exp.output.files import room_for
from cast_exp.run.folder import (
    SWEEP,
    Status,
    checkpoints,
    rank,
    read_summary,
    remove_partials,
    sole_writer,
    write_summary,
)

log = logging.getLogger(__name__)

_PATIENCE = 3.0  # seconds that the other processes leave the first to report an error of all
_SAVING = 10.0  # seconds that they leave it to save: launchers end all when one has ended
# What gloo says of a process that is gone.
_LOST_CONNECTION = ("Connection closed by peer", "Connection reset by peer")

Task = Callable[..., dict[str, float]]


def run_job(task: Task, config: Mapping[str, Any], folder: Path) -> int:
    """Run a task, with `summary.json` saying how it stands.

    The summary holds the status, seconds, and in the end the metrics or the error. With several
    processes the first writes it, unless only another fails.

    Args:
        task: Called with the nodes of the config as keyword arguments; returns the final metrics.
        config: Resolved config.
        folder: Folder of the run.

    Returns:
        Exit code; see `cast_exp.run.app`. After an error it is 0 in another process than the first
        when the first ends as well, as its code counts.

    Raises:
        UserError: Another run is at work in the folder.
    """
    first = rank() == 0
    _log_to(folder, first)
    with sole_writer(folder) if first else nullcontext():
        code = _run(task, config, folder, first)
        end_wandb(code)
        return code


def _run(task: Task, config: Mapping[str, Any], folder: Path, first: bool) -> int:
    start, advice = time.monotonic(), partial(_way_on, config, folder)
    signals.report_to(partial(_record_end, folder, advice))
    try:
        if first:
            log.info("folder of the run: %s", folder)
            remove_partials(folder)
            write_summary(folder, "running")
        with room_for(folder):  # whichever library writes
            metrics = task(**config)
        if first:
            seconds = round(time.monotonic() - start, 1)
            write_summary(folder, "finished", seconds=seconds, metrics=metrics)
            log.info("finished after %.1f seconds: %s", seconds, folder)
        return 0
    except (signals.Stopped, OutOfStep, Exception) as raised:
        signals.end()
        error = raised.__cause__ or raised if isinstance(raised, OutOfStep) else raised
        # Of an error that follows a signal another process is the cause, which has stopped before.
        number = error.signal if isinstance(error, signals.Stopped) else signals.received()
        if number:
            return _stopped(folder, advice, first, 128 + number)
        gone = signals.lost() or _connection_lost(error)
        worker = lost_worker(error, _superpixels(config))
        known = gone or worker or isinstance(error, UserError)
        text = gone or worker or (str(error) if known else f"{type(error).__name__}: {error}")
        if not known:
            log.exception("unexpected error")
        if not first and _reported(folder, _PATIENCE):
            return 0
        if known:
            log.error("error: %s", f"{text}; {advice()}" if gone or worker else text)
        if not (gone and _reported(folder, 0)):  # by the process that is gone: it knows why
            _close(folder, "failed", text)
        return 2 if known and not gone else 1


def _stopped(folder: Path, advice: Callable[[], str], first: bool, code: int) -> int:
    name = signal.Signals(code - 128).name
    if first:
        log.warning("stopped by %s; %s", name, advice())
        _close(folder, "interrupted", name)
    else:
        _reported(folder, _SAVING)
    return code


def _close(folder: Path, status: Status, error: str) -> None:
    """Say how a run has ended; where that cannot be written, it counts as one that was killed."""
    try:
        write_summary(folder, status, error=error)
    except (OSError, UserError) as reason:
        log.error("the end of the run could not be recorded: %s", reason)


def _record_end(folder: Path, advice: Callable[[], str], why: str, code: int) -> None:
    """Record an end that the main thread cannot."""
    if not _reported(folder, 0):
        log.error("error: %s; %s", why, advice())
        _close(folder, "interrupted" if code > 128 else "failed", why)


def _way_on(config: Mapping[str, Any], folder: Path) -> str:
    """What resumes a run, or the multirun that it is a job of, as it stands now."""
    whole = folder.parent if (folder.parent / SWEEP).is_file() else folder
    trains = "resume_changes" in config  # evaluations save what they have found as they go
    if whole == folder and trains and not checkpoints(folder):
        return "nothing has been saved yet: the same command begins anew"
    plugins = config.get("plugins")
    return f"go on with resume={whole}" + (f" plugins=[{','.join(plugins)}]" if plugins else "")


def _superpixels(config: Mapping[str, Any]) -> str:
    """Class of the method that makes superpixels in the workers."""
    target: str = (config.get("superpixel") or {}).get("_target_", "")
    return target.rpartition(".")[2]


def _connection_lost(error: BaseException) -> str | None:
    """What to say of an error that comes of the loss of another process."""
    lost = any(text in str(error) for text in _LOST_CONNECTION)
    return "another process of the run is gone, see what its launcher says" if lost else None


def _reported(folder: Path, patience: float) -> bool:
    """Whether the first process has ended as well; waits for it so many seconds."""
    deadline = time.monotonic() + patience
    while read_summary(folder).get("status") == "running":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class _Stderr(logging.Handler):
    """Writes to whatever standard error is at the time, be it redirected by a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _LogFile(logging.FileHandler):
    """A log that is cut short by a full disk, which standard error tells of."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Print no trace for each line."""


def _log_to(folder: Path, first: bool) -> None:
    """Log to standard error and, in the first process, to `run.log` in the folder."""
    console = _Stderr(logging.INFO if first else logging.WARNING)
    prefix = "" if first else f"[process {rank()}] "
    console.setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    handlers: list[logging.Handler] = [console]
    if first:
        file = _LogFile(folder / "run.log")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}"
    # Of no use to anyone who trains: what Lightning calls in torch, what a resumed run finds, that
    # pretraining has no use for validation images but callbacks have, that a backbone is frozen.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=r"You passed in a `val_dataloader` but have no")
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start")
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):  # they print by themselves
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)  # below it are hints and advertisements
