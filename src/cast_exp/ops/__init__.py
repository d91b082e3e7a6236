"""Operators: farthest points, clustering, overlaps, means over superpixels and segments."""

from cast_exp.ops.clustering import kmeans, kmedoids
from cast_exp.ops.contingency import contingency
from cast_exp.ops.farthest_point import farthest_point_sampling
from cast_exp.ops.farthest_tokens import farthest_tokens
from cast_exp.ops.interpolated_weights import Interpolation, interpolated_weights
from cast_exp.ops.kept_mass import kept_mass
from cast_exp.ops.pooling_weights import PoolingWeights, nearest_weights
from cast_exp.ops.segment_mean import segment_mean
from cast_exp.ops.spherical_kmeans import spherical_kmeans
from cast_exp.ops.superpixels import Superpixels

__all__ = [
    "Interpolation",
    "PoolingWeights",
    "Superpixels",
    "contingency",
    "farthest_point_sampling",
    "farthest_tokens",
    "interpolated_weights",
    "kept_mass",
    "kmeans",
    "kmedoids",
    "nearest_weights",
    "segment_mean",
    "spherical_kmeans",
]
