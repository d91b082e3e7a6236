"""The arguments of an entry point: Hydra's flags and the overrides."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

_VALUED = (
    "--config-name -cn",
    "--config-path -cp",
    "--config-dir -cd",
    "--cfg -c",
    "--package -p",
    "--experimental-rerun",
)
_FLAGS = ("--help -h", "--hydra-help", "--version", "--multirun -m", "--shell-completion -sc")


def parsed(command: Sequence[str]) -> Namespace:
    """Hydra's flags that matter here, and the overrides; Hydra itself refuses wrong flags."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    for names in _VALUED:
        parser.add_argument(*names.split())
    for names in _FLAGS:
        parser.add_argument(*names.split(), action="store_true")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    return parser.parse_known_intermixed_args(command)[0]
