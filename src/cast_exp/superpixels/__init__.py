"""Superpixels: the regions of an image that become the tokens of the network."""

from cast_exp.superpixels.base import HostMethod, SuperpixelMethod
from cast_exp.superpixels.cached import CachedSuperpixels
from cast_exp.superpixels.fast_slic import FastSlic
from cast_exp.superpixels.grid import Grid
from cast_exp.superpixels.seeds import Seeds
from cast_exp.superpixels.slic import Slic

__all__ = [
    "CachedSuperpixels",
    "FastSlic",
    "Grid",
    "HostMethod",
    "Seeds",
    "Slic",
    "SuperpixelMethod",
]
