"""CAST: concurrent recognition and hierarchical segmentation with superpixel tokens."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cast_exp.checkpoints import load_pretrained, push_to_hub, save_pretrained
    from cast_exp.models import Hierarchy, create_model

__version__ = "0.1.0"

__all__ = [
    "Hierarchy",
    "__version__",
    "create_model",
    "load_pretrained",
    "push_to_hub",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    """Import models when they are asked for: that takes seconds, which `--help` need not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "models" if name in ("Hierarchy", "create_model") else "checkpoints"
    return getattr(import_module(f"cast_exp.{room}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
