"""CAST: concurrent recognition and hierarchical segmentation with superpixel tokens."""

from cast_exp.models import Hierarchy, create_model, load_pretrained

__version__ = "0.1.0"

__all__ = ["Hierarchy", "__version__", "create_model", "load_pretrained"]
