"""The config files, what their values must be, and what follows from them."""

from cast_exp.config.kinds import Builds, Ordered
from cast_exp.config.locate import conf_dir
from cast_exp.config.messages import gist, key_of, listed, nearest
from cast_exp.config.overrides import FAILURES, combinations, explain, options, swept, values_of
from cast_exp.config.reads import read_keys, unread
from cast_exp.config.validate import mistakes

__all__ = [
    "FAILURES",
    "Builds",
    "Ordered",
    "combinations",
    "conf_dir",
    "explain",
    "gist",
    "key_of",
    "listed",
    "mistakes",
    "nearest",
    "options",
    "read_keys",
    "swept",
    "unread",
    "values_of",
]
