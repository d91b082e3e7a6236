"""Options that let commands without overrides use a user's own parts; quick to import."""

from argparse import ArgumentParser
from pathlib import Path


def add_config_dir(parser: ArgumentParser) -> None:
    """Add `--config-dir`."""
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder of yours with config files"
    )


def add_plugins(parser: ArgumentParser) -> None:
    """Add `--plugins`; `cast_exp.run.trust.allow_parts` follows it."""
    parser.add_argument(
        "--plugins", metavar="A,B,...", help="packages of yours that parts may come from"
    )
