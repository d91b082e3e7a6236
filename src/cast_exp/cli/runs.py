"""Look through the folders of runs: `cast-exp runs list`.

`list` and `best` take filters: KEY=VALUE, where KEY is a group, any key of the config, `status` or
`kind` (train or eval) and VALUE may have wildcards, METRIC>NUMBER and METRIC<NUMBER (in quotes, for
the shell). `best` knows which figures are to be low. `show` tells of a run, and of a sweep or a
search which jobs there are, what varies, and the best of each figure. `diff` tells what two runs
were set to. `prune` tells what can go: runs that did not finish when a newer one of the same config
did, and checkpoints of every so many steps of finished runs; it deletes that with --delete only,
and nothing that is in use.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from cast_exp.config import nearest
from cast_exp.errors import UserError
from cast_exp.output.rounding import rounded
from cast_exp.run.folder import RUN, SEARCH, SWEEP, Status, read_summary, require_folder
from cast_exp.run.objective import direction
from cast_exp.run.options import given, given_path, plain, positive
from cast_exp.run.record import KILLED, RunRecord, find_runs, is_result, status_of, varying
from cast_exp.run.saved import Kind, Saved, read_yaml
from cast_exp.run.superseded import settings_of, size, superseded

_FILTER = re.compile(r"([^=<>]+)([=<>])(.*)")
_ABSENT = "(none)"
_FIGURES = 4  # columns of figures, in the table of the jobs of a sweep without objective
# What filters ask of a run beside its config.
_OF_A_RUN = {"status": (*get_args(Status), KILLED), "kind": get_args(Kind)}


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: A folder that is none of a run, a filter of another form, a metric that no run
            has.
    """
    parser = argparse.ArgumentParser(
        "cast-exp runs",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("list", "list runs, oldest first"), ("best", "list the best runs first")):
        command = commands.add_parser(name, help=what)
        if name == "best":
            command.add_argument("metric", type=given, metavar="METRIC", help="such as val/knn")
            command.add_argument(
                "--count", type=positive, default=10, metavar="N", help="default: 10"
            )
        command.add_argument(
            "filters",
            nargs="*",
            type=given,
            default=[],  # or argparse says that they are required
            metavar="FILTER",
            help="KEY=VALUE, 'METRIC>NUMBER' or 'METRIC<NUMBER'",
        )
        _add_place(command)
    show = commands.add_parser("show", help="tell what is known of a run, a sweep or a search")
    show.add_argument("folder", type=given_path, metavar="FOLDER")
    diff = commands.add_parser("diff", help="compare the configs of two runs")
    diff.add_argument("runs", type=given_path, nargs=2, metavar="RUN")
    prune = commands.add_parser("prune", help="find what is superseded")
    prune.add_argument("--delete", action="store_true", help="delete it")
    _add_place(prune)
    options = parser.parse_args(arguments)
    if options.command in ("list", "best"):
        _list(options.runs, options.filters, getattr(options, "metric", None), options)
    elif options.command == "show":
        _show(options.folder)
    elif options.command == "diff":
        _print(_different(*map(RunRecord.read, options.runs)))
    else:
        _prune(options.runs, options.delete)
    return 0


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        type=given_path,
        default=Path("runs"),
        metavar="DIR",
        help="where they are; default: runs",
    )


def _records(place: Path) -> list[RunRecord]:
    """The runs in a place, oldest first; damaged ones are named and left out."""
    found = []
    for folder in find_runs([place]):
        try:
            found.append(RunRecord.read(folder))
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)
    return found


def _list(
    place: Path, filters: Sequence[str], metric: str | None, options: argparse.Namespace
) -> None:
    tests = [_filter(text) for text in filters]
    records = _records(place)
    known = sorted({name for record in records for name in record.metrics})
    metrics = [name for text in filters if (name := re.split("[<>]", text)[0]) != text]
    metrics = list(dict.fromkeys([*([metric] if metric else []), *metrics]))
    for name in metrics:
        if name not in known:
            raise UserError(f"no run in {place} has a figure {name}; {nearest(name, known)}")
    _check_keys(filters, records)
    records = [record for record in records if all(test(record) for test in tests)]
    if metric:
        sign = -1 if direction(metric) == "maximize" else 1
        records = [record for record in records if metric in record.metrics]
        records.sort(key=lambda record: sign * record.metrics[metric])
        records = records[: options.count]
    choices = varying(records)
    _print(_listed(records, place.resolve(), metrics, choices))


def _listed(
    records: Sequence[RunRecord], place: Path, metrics: Sequence[str], choices: Sequence[str]
) -> Table:
    table = Table("run", "kind", "status", *metrics, *choices, Column("size", justify="right"))
    for record in records:
        row = [str(record.folder.relative_to(place)), record.kind, record.status]
        row += [rounded(record.metrics[m]) if m in record.metrics else "" for m in metrics]
        row += [*map(record.value, choices), _bytes(size(record.folder))]
        table.add_row(*map(escape, row))
    return table


def _check_keys(filters: Sequence[str], records: Sequence[RunRecord]) -> None:
    """See that some run has each key that filters name, and the status that they ask for."""
    for text in filters:
        key, equals, value = text.partition("=")
        fixed = _OF_A_RUN.get(key) if equals else None
        if fixed and not any(fnmatchcase(known, value) for known in fixed):
            raise UserError(f"{text}: no such {key}; {nearest(value, fixed)}")
        if equals and not fixed and not any(record.value(key) for record in records):
            keys = sorted({key for record in records for key in record.choices})
            raise UserError(f"{text}: no run has a value of {key}; {nearest(key, keys)}")


def _filter(text: str) -> Callable[[RunRecord], bool]:
    """What a filter asks of a run."""
    match = _FILTER.fullmatch(text)
    if not match and Path(text).is_dir():
        raise UserError(f"{text}: a folder of runs is given as --runs {text}")
    if not match:
        raise UserError(f"{text}: a filter is KEY=VALUE, 'METRIC>NUMBER' or 'METRIC<NUMBER'")
    key, sign, value = match.groups()
    if sign == "=":
        return lambda record: fnmatchcase(
            getattr(record, key) if key in _OF_A_RUN else record.value(key), value
        )
    try:
        bound = float(value)
    except ValueError:
        raise UserError(f"{text}: {value} is not a number") from None
    way = 1 if sign == ">" else -1
    return lambda record: key in record.metrics and way * record.metrics[key] > way * bound


def _show(folder: Path) -> None:
    require_folder(folder, "the folder of a run, a sweep or a search")
    if (folder / SWEEP).is_file() or (folder / SEARCH).is_file():
        jobs = [record for record in _records(folder) if record.folder.parent == folder.resolve()]
        jobs.sort(key=lambda record: int(re.split(r"\D", record.folder.name)[0] or 0))
        _print(_summed_up(folder, jobs))
        shown = [name for record in jobs if (name := record.value("objective"))] or _results(jobs)
        metrics = list(dict.fromkeys(shown))[:_FIGURES]
        _print(_listed(jobs, folder.resolve(), metrics, varying(jobs)))
    elif (folder / RUN).is_file():
        _print(_shown(RunRecord.read(folder)))
    else:
        raise UserError(
            f"{folder} is not the folder of a run, sweep or search; find them by cast-exp runs list"
        )


def _summed_up(folder: Path, jobs: Sequence[RunRecord]) -> Table:
    """How the jobs of a sweep or a search stand, and the best of each figure."""
    table = _sheet(folder)
    if (folder / SWEEP).is_file():
        saved = Saved.read(folder)
        table.add_row("status", status_of(folder, read_summary(folder)))
        table.add_row("command", escape(_command(saved)))
    else:
        about = read_yaml(folder / SEARCH)
        for name in ("objective", "space"):
            table.add_row(name, escape(str(about.get(name) if isinstance(about, dict) else "")))
    counts = Counter(record.status for record in jobs)
    table.add_row("jobs", ", ".join(f"{count} {status}" for status, count in counts.items()))
    table.add_row("what varies", escape(", ".join(varying(jobs)) or "nothing"))
    table.add_row("size", _bytes(size(folder)))
    table.add_section()
    for name in _results(jobs):
        sign = -1 if direction(name) == "minimize" else 1
        having = [record for record in jobs if name in record.metrics]
        best = max(having, key=lambda record: sign * record.metrics[name])
        told = f"{rounded(best.metrics[name])} in {best.folder.name}"
        table.add_row(escape(f"best {name}"), escape(told))
    return table


def _results(jobs: Sequence[RunRecord]) -> list[str]:
    """Figures that tell how good jobs are; the losses where there are none."""
    names = dict.fromkeys(name for record in jobs for name in record.metrics)
    results = [name for name in names if is_result(name)]
    return results or [name for name in names if name.endswith("loss")]


def _command(saved: Saved) -> str:
    words = [f"python -m cast_exp.{saved.kind}"]
    words += ["-m"] if (saved.folder / SWEEP).is_file() else []
    words += (
        [] if saved.config_name in (None, saved.kind) else [f"--config-name={saved.config_name}"]
    )
    return " ".join([*words, *saved.overrides])


def _sheet(folder: Path) -> Table:
    """A table of names and values."""
    return Table(Column(), Column(overflow="fold"), title=escape(str(folder)), show_header=False)


def _shown(record: RunRecord) -> Table:
    table = _sheet(record.folder)
    table.add_row("status", escape(": ".join(filter(None, [record.status, record.reason]))))
    table.add_row("command", escape(_command(record.saved)))
    if record.started:
        table.add_row("started", record.started)
    table.add_row("size", _bytes(size(record.folder)))
    table.add_row("of which checkpoints", _bytes(size(record.folder / "checkpoints")))
    for rows in (record.choices, {k: f"{v:.6g}" for k, v in record.metrics.items()}):
        table.add_section()
        for name, value in rows.items():
            table.add_row(escape(name), escape(value))
    return table


def _different(first: RunRecord, second: RunRecord) -> Table:
    """The keys whose values differ; one that refers to another is not repeated."""
    ours, theirs = settings_of(first), settings_of(second)
    table = Table("key", *(str(record.folder) for record in (first, second)))
    for key in dict.fromkeys([*ours, *theirs]):
        values = [settings.get(key, _ABSENT) for settings in (ours, theirs)]
        if values[0] != values[1]:
            table.add_row(*(escape(str(cell)) for cell in (key, *values)))
    return table


def _prune(place: Path, delete: bool) -> None:
    found = superseded(_records(place))
    sizes = [size(each.path) for each in found]
    for each, taken in zip(found, sizes, strict=True):
        print(f"{_bytes(taken):>9}  {each.path.relative_to(place.resolve())}  ({each.reason})")
        if delete:
            each.delete()
    if not found:
        print(f"nothing in {place} is superseded")
        return
    done = "deleted" if delete else "can go; add --delete"
    print(f"{_bytes(sum(sizes))} {done}")


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _print(table: Table) -> None:
    options = Console(width=10_000).options
    width = Measurement.get(Console(), options, table).maximum
    Console(width=max(width, Console().width)).print(table)  # names can be copied
