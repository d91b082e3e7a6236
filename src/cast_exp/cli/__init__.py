"""The commands beside train, eval and segment, one file each: `cast-exp NAME`."""

import sys
from collections.abc import Sequence
from importlib import import_module

from cast_exp.cli.parsers import OPTIONS
from cast_exp.config.messages import nearest
from cast_exp.errors import UserError
from cast_exp.output.console import tolerant_output

COMMANDS = {
    "advise": "measure this machine for a training: workers, batch, hours",
    "check": "check a data set before a run",
    "compare": "measure superpixel methods against segmentations drawn by people",
    "cost": "count and time what each model costs",
    "dashboard": "make a workspace and a report of W&B that compare runs",
    "export": "write a model as ONNX or for torch alone",
    "pack": "put the images of a data set into one file per split",
    "report": "compare runs on one page",
    "runs": "list, compare and prune the folders of runs",
    "sweep": "search for the values of a recipe that are best",
    "zoo": "list, describe, check and convert published weights",
}
"""What each command does, by name; `main(arguments)` in the file of that name returns its code."""

MODULES = ("train", "eval", "segment")
"""Modules of their own, which are no commands."""

_LINES = "\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())
USAGE = f"""\
usage: cast-exp NAME ...        (or python -m cast_exp NAME ...)

{_LINES}

cast-exp NAME --help tells more. Training, evaluation and segmentation are modules of their own:
cast_exp.train, cast_exp.eval and cast_exp.segment.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code, 2 for a mistake of the user's."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    try:
        if name in MODULES:
            raise UserError(f"{name} is a module of its own: python -m cast_exp.{name} ...")
        if name not in COMMANDS:
            raise UserError(f"there is no command {name!r}; {nearest(name, COMMANDS)}")
        with tolerant_output():
            if name in OPTIONS:
                OPTIONS[name](rest)  # --help and mistakes end here, without the imports
            code: int = import_module(f"cast_exp.cli.{name}").main(rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code
