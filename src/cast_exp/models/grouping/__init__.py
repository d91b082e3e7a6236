"""Groupings: ways to merge tokens into fewer, coarser segments."""

from cast_exp.models.grouping.base import Grouped, Grouping, Ungrouped
from cast_exp.models.grouping.graph_pool import GraphPool
from cast_exp.models.grouping.token_pooling import KMeans, KMedoids, TokenPooling

__all__ = ["GraphPool", "Grouped", "Grouping", "KMeans", "KMedoids", "TokenPooling", "Ungrouped"]
