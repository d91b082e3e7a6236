"""The config files, what their values must be, and what follows from them."""

from cast_exp.config.locate import conf_dir
from cast_exp.config.messages import gist, listed, nearest
from cast_exp.config.overrides import explain
from cast_exp.config.plan import Plan, scaled_lr
from cast_exp.config.validate import mistakes

__all__ = [
    "Plan",
    "conf_dir",
    "explain",
    "gist",
    "listed",
    "mistakes",
    "nearest",
    "scaled_lr",
]
