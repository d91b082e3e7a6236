"""CAST: concurrent recognition and hierarchical segmentation with superpixel tokens."""

__version__ = "0.1.0"
