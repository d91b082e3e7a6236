"""The published weights: `cast-exp zoo list | info NAME | check [NAME] | convert NAME --out DIR`.

`check` fetches and verifies those that are named, or all, and builds their models. With `--root` it
measures the published figure of one on your copy of its data set, and prints both.

`convert` takes any checkpoint that `cast_exp.load_pretrained` takes, and writes the backbone alone
as `model.safetensors` with a card `config.json` beside it.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Column, Table

from cast_exp.api import run_evaluation, run_training
from cast_exp.checkpoints.files import CARD, WEIGHTS, write_converted
from cast_exp.checkpoints.foreign import Normalization
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.download.records import digest_of, recorded
from cast_exp.errors import UserError, listing
from cast_exp.run.options import add_plugins
from cast_exp.run.trust import allow_parts


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: See `convert`.
    """
    parser = argparse.ArgumentParser("cast-exp zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the published weights")
    info = commands.add_parser("info", help="tell what is known about one of them")
    info.add_argument("name", choices=PUBLISHED, metavar="NAME")
    checker = commands.add_parser("check", help="fetch, verify and build them; measure a figure")
    checker.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    checker.add_argument(
        "--root", metavar="DIR", help="data set on which to measure the published figure of one"
    )
    converter = commands.add_parser("convert", help="write a backbone as safetensors with a card")
    converter.add_argument("checkpoint", metavar="NAME_OR_PATH")
    converter.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")
    converter.add_argument(
        "--weights",
        choices=get_args(Weights),
        default="trained",
        help="average: the moving average that supervised training keeps; default: trained",
    )
    add_plugins(converter)
    converter.add_argument("--heads", type=int, help="attention heads, of a ViT of others")
    converter.add_argument(
        "--normalization",
        choices=get_args(Normalization),
        help="inputs that a ViT of others was trained with; inception: mean and deviation 0.5",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("cast_exp").setLevel(logging.INFO)
    if options.command == "list":
        Console().print(_list())
    elif options.command == "info":
        Console().print(_info(options.name))
    elif options.command == "check":
        return check(options.names, options.root)
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
            "reported": published.reported,
        }
    if weights == "average":
        about["weights"] = weights
    write_converted(folder, model.state_dict(), model.config.to_dict(), about)


def check(names: Sequence[str], root: str | None = None) -> int:
    """Fetch, verify and build published weights, and say what measures their figures.

    Args:
        names: Which; none for all.
        root: Data set on which the figure of a single one is measured at once. That of a training
            takes as long as the training.

    Returns:
        1 if one cannot be fetched, or is not what it should be; else 0.

    Raises:
        UserError: Unknown names, or a root with several; see `run_training` for what is measured.
    """
    if strange := [name for name in names if name not in PUBLISHED]:
        raise UserError(f"{listing(strange)}: none of the published weights {listing(PUBLISHED)}")
    if root is not None and len(names) != 1:
        raise UserError("--root is the data set of one figure; name one of the published weights")
    bad = 0
    for name in names or PUBLISHED:
        weights = PUBLISHED[name]
        try:
            model = load_pretrained(weights.fetch())
        except UserError as error:
            print(f"{name}: {error}")
            bad = 1
            continue
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name}: verified, {type(model).__name__} of {size / 1e6:.1f} M parameters")
        overrides = [f"experiment={weights.experiment}", f"checkpoint={name}", "compat=official"]
        if root is None:
            command = f"python -m cast_exp.{weights.entry} {' '.join(overrides)} data.root=DIR"
            print(f"  published {weights.reported}: {command}")
        else:
            run = {"train": run_training, "eval": run_evaluation}[weights.entry]
            found = run([*overrides, f"data.root={root}"]).metrics[weights.metric]
            print(f"  published {weights.reported}; found {100 * found:.1f} %")
    return bad


def _list() -> Table:
    table = Table(title="Weights of the official release", caption="figures as its README reports")
    for column in ("name", "trained on", "reported", "here"):
        table.add_column(column, overflow="fold")
    for name, weights in PUBLISHED.items():
        here = "yes" if weights.path.is_file() else ""
        table.add_row(name, weights.trained, weights.reported, here)
    return table


def _info(name: str) -> Table:
    weights = PUBLISHED[name]
    table = Table(Column(), Column(overflow="fold"), title=name, show_header=False)
    table.add_row("trained on", weights.trained)
    table.add_row("reported", weights.reported)
    table.add_row("source", weights.url)
    here = weights.path.is_file()
    table.add_row("file", f"{weights.path}{'' if here else ' (not downloaded)'}")
    known = recorded(weights.path)
    for key in ("revision", "size", "sha256"):
        if value := known.get(key):
            table.add_row(key, f"{value:,} bytes" if key == "size" else value)
    return table
