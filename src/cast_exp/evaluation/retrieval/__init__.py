"""Semantic segmentation by retrieval of similar training segments."""

from cast_exp.evaluation.retrieval.retrieval import Retrieval

__all__ = ["Retrieval"]
