"""The published weights: the command `zoo`."""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from cast_exp.api import run_evaluation, run_training
from cast_exp.checkpoints.archive import Archive, figure_of
from cast_exp.checkpoints.files import CARD, WEIGHTS, read_checkpoint, write_converted
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
from cast_exp.checkpoints.published import PUBLISHED, Figure, fetch_archive
from cast_exp.cli.parsers import OFFICIAL, zoo_options
from cast_exp.config.messages import nearest
from cast_exp.download.records import digest_of, recorded
from cast_exp.errors import UserError, listing
from cast_exp.run.trust import allow_parts


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: See `convert`.
    """
    options = zoo_options(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("cast_exp").setLevel(logging.INFO)
    if options.command == "list":
        Console().print(_list())
    elif options.command == "info":
        Console().print(_info(options.name))
    elif options.command == "check":
        return check(options.names, options.root, options.archive)
    else:
        allow_parts(None, options.plugins)
        about_file = {"heads": options.heads, "normalization": options.normalization}
        convert(options.checkpoint, options.out, options.weights, **about_file)
        print(f"wrote {options.out / WEIGHTS} and {options.out / CARD}")
    return 0


def convert(checkpoint: str, folder: Path, weights: Weights = "trained", **untold: Any) -> None:
    """Write the backbone of a checkpoint as safetensors with a card beside it.

    Args:
        checkpoint: Path of a checkpoint, or name of one of the published weights.
        folder: Where the two files go.
        weights: See `load_pretrained`; the card tells of an average.
        untold: What the file does not tell, `heads` and `normalization`; see `load_pretrained`.

    Raises:
        UserError: See `load_pretrained`.
    """
    path = locate(checkpoint)
    model = load_pretrained(path, weights=weights, **untold)
    assert model.config is not None
    about: dict[str, Any] = {"source": path.name}
    if path.is_file():
        about["sha256"] = digest_of(path)
    if published := PUBLISHED.get(checkpoint):
        about |= {
            "name": checkpoint,
            "source": published.url,
            "trained": published.trained,
            "reported": published.figure.reported,
        }
    if weights == "average":
        about["weights"] = weights
    write_converted(folder, model.state_dict(), model.config.to_dict(), about)


def check(names: Sequence[str], roots: Sequence[str] = (), archive: str | None = None) -> int:
    """Fetch, verify and build published weights, and measure their figures or say what does.

    Args:
        names: Which; none for all.
        roots: Data sets on which figures are measured at once, each as DATA=DIR, or one DIR for the
            figure of a single name. A figure of a training takes as long as the training.
        archive: Zip file or folder of checkpoints that are checked instead; `OFFICIAL` for that of
            the release.

    Returns:
        1 if one cannot be fetched or measured, or is not what it should be; else 0.

    Raises:
        UserError: Unknown names or data sets, a root without a name, or no such archive.
    """
    for each in names:
        _require_published(each)
    places = _places(roots, names)
    bad = 0
    for file, name, fetch in _archived(archive, names) if archive else _each(names):
        try:
            path = fetch()
            model = load_pretrained(path)
            figure = PUBLISHED[name].figure if name else figure_of(file, read_checkpoint(path))
            size = sum(parameter.numel() for parameter in model.parameters())
            print(f"{file}: verified, {type(model).__name__} of {size / 1e6:.1f} M parameters")
            if figure:
                _tell(figure, name or str(path), places)
            else:
                print("  the official README reports no figure of it")
        except UserError as error:
            print(f"{file}: {error}")
            bad = 1
    return bad


_Check = tuple[str, str | None, Callable[[], Path]]
"""How a file is called, the name of published weights that it is of, and what fetches it."""


def _each(names: Sequence[str]) -> Iterator[_Check]:
    for name in names or PUBLISHED:
        yield name, name, PUBLISHED[name].fetch


def _archived(archive: str, names: Sequence[str]) -> Iterator[_Check]:
    """The files of an archive; of those that are named if some are."""
    opened = Archive(fetch_archive() if archive == OFFICIAL else Path(archive))
    known = {weights.file: name for name, weights in PUBLISHED.items()}
    missing = set(names) - {known.get(file) for file in opened.files}
    if missing:
        files = listing(f"{PUBLISHED[name].file} ({name})" for name in sorted(missing))
        raise UserError(f"{opened.path} has no {files}")
    for file in opened.files:
        name = known.get(file)
        if not names or name in names:
            # What is unpacked to where it would be downloaded to goes by its name.
            yield file, name if opened.path.is_file() else None, partial(opened.unpack, file)


def _tell(figure: Figure, checkpoint: str, places: Mapping[str, str]) -> None:
    """Print a published figure, and the one found or else the command that finds it."""
    overrides = [f"experiment={figure.experiment}", f"checkpoint={checkpoint}", "compat=official"]
    if (root := places.get(figure.data)) is None:
        command = shlex.join([*overrides, "data.root=DIR"])
        print(f"  published {figure.reported}: python -m cast_exp.{figure.entry} {command}")
        return
    run = {"train": run_training, "eval": run_evaluation}[figure.entry]
    found = run([*overrides, f"data.root={root}"]).metrics[figure.metric]
    print(f"  published {figure.reported}; found {100 * found:.1f} %")


def _places(roots: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Where the data sets are, by the options of `data`."""
    known = sorted({weights.figure.data for weights in PUBLISHED.values()})
    places: dict[str, str] = {}
    for root in roots:
        data, found, place = root.partition("=")
        if found and data in known:
            places[data] = place
        elif len(names) == 1:
            places[PUBLISHED[names[0]].figure.data] = root
        else:
            forms = " or ".join(f"--root {data}=DIR" for data in known)
            raise UserError(
                f"--root {root} is the data set of one figure; name one of the published weights, "
                f"or say which data set it is: {forms}"
            )
    return places


def _require_published(name: str) -> None:
    if name not in PUBLISHED:
        raise UserError(f"{name}: none of the published weights; {nearest(name, PUBLISHED)}")


def _list() -> Table:
    table = Table(title="Weights of the official release", caption="figures as its README reports")
    for column in ("name", "trained on", "reported", "here"):
        table.add_column(column, overflow="fold")
    for name, weights in PUBLISHED.items():
        here = "yes" if weights.path.is_file() else ""
        table.add_row(name, weights.trained, weights.figure.reported, here)
    return table


def _info(name: str) -> Table:
    _require_published(name)
    weights = PUBLISHED[name]
    table = Table(Column(), Column(overflow="fold"), title=name, show_header=False)
    table.add_row("trained on", weights.trained)
    table.add_row("reported", weights.figure.reported)
    table.add_row("source", weights.url)
    here = weights.path.is_file()
    table.add_row("file", f"{weights.path}{'' if here else ' (not downloaded)'}")
    known = recorded(weights.path)
    for key in ("revision", "size", "sha256"):
        if value := known.get(key):
            table.add_row(key, f"{value:,} bytes" if key == "size" else value)
    return table
