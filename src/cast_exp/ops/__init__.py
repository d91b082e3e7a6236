"""Operators: farthest points, clustering, overlaps, segment mean, pooled interpolation."""

from cast_exp.ops.clustering import kmeans, kmedoids
from cast_exp.ops.contingency import contingency
from cast_exp.ops.farthest_point import farthest_point_sampling
from cast_exp.ops.interpolate_pool import Interpolation, pooled_interpolation
from cast_exp.ops.kept_mass import kept_mass
from cast_exp.ops.segment_mean import segment_mean
from cast_exp.ops.spherical_kmeans import spherical_kmeans
from cast_exp.ops.superpixels import Superpixels

__all__ = [
    "Interpolation",
    "Superpixels",
    "contingency",
    "farthest_point_sampling",
    "kept_mass",
    "kmeans",
    "kmedoids",
    "pooled_interpolation",
    "segment_mean",
    "spherical_kmeans",
]
