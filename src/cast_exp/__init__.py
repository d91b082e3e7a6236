"""CAST: concurrent recognition and hierarchical segmentation with superpixel tokens."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cast_exp.models import Hierarchy, create_model, load_pretrained

__version__ = "0.1.0"

__all__ = ["Hierarchy", "__version__", "create_model", "load_pretrained"]


def __getattr__(name: str) -> Any:
    """Import models when they are asked for: that takes seconds, which `--help` need not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cast_exp import models

    return getattr(models, name)
