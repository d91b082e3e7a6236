"""The published weights: `cast-exp zoo list | info NAME | convert NAME --out DIR`.

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

from cast_exp.checkpoints.files import CARD, WEIGHTS, write_converted
from cast_exp.checkpoints.foreign import Normalization
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.download.records import digest_of, recorded
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
