"""Which values a search tries next and which trial is not worth going on with: Optuna, wrapped.

A search is a folder. It holds the storage, a SQLite file or, where several machines share the
folder, a journal, and the folder of each trial, whose name begins with the trial's number. Any
number of processes may work at a search: each takes on one trial after the other, first those that
a killed process has left. A trial is whose lock is held; a lock is gone with its process.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cast_exp.output.files import atomic_write

if TYPE_CHECKING:
    import optuna

PRUNED = "pruned"
"""Name of the figure that a trial has which was not gone on with."""

_SQLITE, _JOURNAL = "search.db", "search.journal"
_NAME = "search"
_WHOLE_TRIALS = 5  # that a curve is compared with before one is cut off
_FIRST_EPOCHS = 2  # of a trial, which are never the last
_PATIENCE = 120  # seconds that another process may need to take on a trial


class Interval(BaseModel):
    """Numbers from `low` to `high`, whole ones if both are, perhaps on a logarithmic scale."""

    model_config = ConfigDict(extra="forbid", strict=True)
    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> "Interval":
        if not self.low < self.high:
            raise ValueError("low should be below high")
        if self.log and self.low <= 0:
            raise ValueError("low should be above 0 with log: true")
        return self


Choices = Annotated[list[Any], Field(min_length=1)]
Space = Annotated[dict[str, Interval | Choices], Field(min_length=1)]
"""What is searched, by parameter: an interval, or a list of choices, as text."""


def open_study(
    folder: Path,
    direction: Literal["maximize", "minimize"] | None = None,
    journal: bool = False,
) -> "optuna.Study":
    """The study of a search.

    Args:
        folder: Of the search.
        direction: To begin one if there is none; None to find it.
        journal: Begin it with a storage for several machines.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if (folder / _JOURNAL).exists() or (journal and not (folder / _SQLITE).exists()):
        storage: Any = optuna.storages.JournalStorage(JournalFileBackend(str(folder / _JOURNAL)))
    else:
        waiting = {"connect_args": {"timeout": _PATIENCE}}
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder / _SQLITE}", waiting)
    pruner = optuna.pruners.MedianPruner(_WHOLE_TRIALS, _FIRST_EPOCHS)
    if direction is None:
        return optuna.load_study(study_name=_NAME, storage=storage, pruner=pruner)
    with FileLock(folder / ".study.lock", timeout=_PATIENCE):
        return optuna.create_study(
            study_name=_NAME,
            storage=storage,
            direction=direction,
            pruner=pruner,
            load_if_exists=True,
        )


@contextmanager
def claimed(
    study: "optuna.Study",
    folder: Path,
    space: Mapping[str, Interval | list[str]],
    count: int,
    at_work: Callable[[int], bool],
) -> Iterator["optuna.Trial | None"]:
    """Take on a trial, with all its values chosen: one that was left, else a new one.

    Args:
        study: See `open_study`.
        folder: Of the search.
        space: What is searched.
        count: Trials in all.
        at_work: Whether the run of a trial goes on without the process that began it.

    Yields:
        None if all are taken.
    """
    import optuna

    with ExitStack() as stack:
        with FileLock(folder / ".study.lock", timeout=_PATIENCE):
            trials = study.get_trials(deepcopy=False)
            running = [t.number for t in trials if t.state == optuna.trial.TrialState.RUNNING]
            left = (n for n in running if _claim(folder, n, stack) and not at_work(n))
            number = next(left, len(trials))
            if number == len(trials):
                if number >= count:
                    yield None
                    return
                _claim(folder, number, stack)
                study.ask()
            trial = _trial(study, number)
            for name, values in space.items():
                _suggest(trial, name, values)
        yield trial


def report(run: Path, epoch: int, value: float) -> bool:
    """Add a point to the curve of a trial; whether it is not worth going on with.

    That is when its best value so far is worse than the median of the others' at the same epoch,
    once enough of them have been whole.

    Args:
        run: Folder of the trial.
        epoch: Counted from 0.
        value: Of the curve.
    """
    trial = _trial(open_study(run.parent), int(run.name.partition("_")[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch that a resumed run repeats
        trial.report(value, epoch)
    return trial.should_prune()


def tell(study: "optuna.Study", trial: "optuna.Trial", value: float, pruned: bool) -> None:
    """Record how a trial has ended.

    Args:
        study: See `open_study`.
        trial: From `claimed`.
        value: Its objective, NaN if it has failed.
        pruned: Whether it was not gone on with.
    """
    from optuna.trial import TrialState

    if pruned or isnan(value):
        study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)
    else:
        study.tell(trial, value)


def draw(study: "optuna.Study", folder: Path) -> None:
    """Plot which parameters matter, `importance.png`, and what goes with what, `parallel.png`.

    Only once there are two whole trials of different values.
    """
    import optuna
    from matplotlib import pyplot
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    whole = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len({trial.value for trial in whole}) < 2:
        return
    with warnings.catch_warnings(), pyplot.rc_context({"figure.figsize": (9, 5)}):
        warnings.simplefilter("ignore")  # that these functions may change
        axes: dict[str, Any] = {
            "importance": plots.plot_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator()
            ),
            "parallel": plots.plot_parallel_coordinate(study),
        }
    for name, axis in axes.items():
        with atomic_write(folder / f"{name}.png") as new:
            axis.figure.savefig(new, format="png", dpi=120, bbox_inches="tight")
        pyplot.close(axis.figure)


def _claim(folder: Path, number: int, stack: ExitStack) -> bool:
    """Take the lock of a trial for as long as the stack, unless another process has it."""
    try:
        stack.enter_context(FileLock(folder / f".trial{number}.lock", timeout=0))
    except Timeout:
        return False
    return True


def _trial(study: "optuna.Study", number: int) -> "optuna.Trial":
    """A trial as one that this process has begun.

    Its choices depend on its number, lest a search that goes on repeats the random ones.
    """
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=number, constant_liar=True)
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def _suggest(trial: "optuna.Trial", name: str, values: "Interval | list[str]") -> None:
    if isinstance(values, list):
        trial.suggest_categorical(name, values)
    elif isinstance(values.low, int) and isinstance(values.high, int):
        trial.suggest_int(name, values.low, values.high, log=values.log)
    else:
        trial.suggest_float(name, values.low, values.high, log=values.log)
