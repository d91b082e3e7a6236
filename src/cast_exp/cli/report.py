"""Compare runs on one page without an account: `cast-exp report RUN_DIR... --out report.html`.

The page holds a table of choices and results, curves, pictures, scatter plots and parallel
coordinates of any runs, multiruns and evaluations. It is one file that needs no network.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from cast_exp.errors import UserError
from cast_exp.output.files import write_text
from cast_exp.report.content import report_content
from cast_exp.report.page import report_page
from cast_exp.run.folder import read_summary
from cast_exp.run.options import given_path, new_file, plain, positive, positive_number
from cast_exp.run.record import RunRecord, find_runs, status_of

_WATCHED = ("summary.json", "metrics.csv", "images")


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: See `find_runs` and `report_page`; or the page cannot be written.
    """
    parser = argparse.ArgumentParser("cast-exp report", description=plain(__doc__))
    parser.add_argument(
        "runs",
        type=given_path,
        nargs="+",
        metavar="RUN_DIR",
        help="runs, or folders with runs in them",
    )
    parser.add_argument(
        "--out", type=new_file, default=Path("report.html"), help="default: %(default)s"
    )
    parser.add_argument("--title", help="of the page; default: the names of the folders")
    parser.add_argument(
        "--pictures",
        type=_size,
        default=12.0,
        metavar="MIB",
        help="room for pictures; default: %(default)g MiB",
    )
    parser.add_argument(
        "--watch",
        type=positive,
        nargs="?",
        const=30,
        metavar="SECONDS",
        help="go on, and renew the page when runs have got on; default: every 30 seconds",
    )
    options = parser.parse_args(arguments)
    title = options.title or ", ".join(place.resolve().name for place in options.runs)
    before: object = None
    while True:
        folders = find_runs(options.runs)
        if (now := [_state(folder) for folder in folders]) != before:
            room = int(options.pictures * 2**20)
            count = write_report(options.out, folders, title, room, options.watch)
            print(f"{options.out}: {count} runs, {options.out.stat().st_size / 2**20:.1f} MiB")
            before = now
        if not options.watch:
            return 0
        time.sleep(options.watch)


def write_report(
    out: Path, folders: Sequence[Path], title: str, picture_bytes: int, reload: int | None = None
) -> int:
    """Write the page of some runs.

    Args:
        out: The file.
        folders: Of the runs; one that is damaged is left out with a warning.
        title: Of the page.
        picture_bytes: Room for pictures.
        reload: Seconds after which the page loads itself again.

    Returns:
        The number of runs in it.

    Raises:
        UserError: All are damaged, Plotly is missing, or the file cannot be written.
    """
    records = []
    for folder in folders:
        try:
            records.append(RunRecord.read(folder))
        except UserError as error:
            print(f"warning: left out: {error}")
    if not records:
        raise UserError("none of the runs can be read")
    page = report_page(title, report_content(records, picture_bytes), reload)
    try:
        write_text(out, page)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return len(records)


def _state(folder: Path) -> tuple[object, ...]:
    """What changes when a run gets on."""
    files = [folder / name for name in _WATCHED]
    status = status_of(folder, read_summary(folder))  # a process that is killed leaves no trace
    return (folder, status, *(path.stat().st_mtime_ns if path.exists() else 0 for path in files))


def _size(text: str) -> float:
    return 0.0 if text == "0" else positive_number(text)
