"""A linear classifier of frozen segment features."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data import SceneDataModule
from cast_exp.evaluation.retrieval.patches import SquareNumber
from cast_exp.evaluation.segment_features import (
    LevelChoice,
    SegmentFeatureEvaluation,
    SegmentFeatures,
)
from cast_exp.models.tokens import Sampling

_STEPS = 200  # of L-BFGS, at most


class SegmentProbe(SegmentFeatureEvaluation):
    """Linear probe for semantic segmentation.

    A softmax classifier is fitted to the labelled pixels of the training images, each with the
    feature of its segment; see `fit_classifier`.

    Args:
        scenes, level, segments, limit, sampling: See `SegmentFeatureEvaluation`.
        weight_decay: See `fit_classifier`.
    """

    def __init__(
        self,
        scenes: SceneDataModule,
        level: LevelChoice = 0,
        segments: SquareNumber = 36,
        limit: Annotated[int, Field(ge=1)] | None = None,
        sampling: Sampling | None = "interpolated",
        weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
    ) -> None:
        super().__init__(scenes, level, segments, limit, sampling)
        self.weight_decay = weight_decay

    def predict(self, train: SegmentFeatures, val: SegmentFeatures) -> Tensor:
        """See `SegmentFeatureEvaluation.predict`."""
        device = self.trainer.strategy.root_device
        features, counts = train.features.to(device), train.counts.to(device)
        weight, bias = fit_classifier(features, counts, self.weight_decay)
        return F.linear(val.features, weight.cpu(), bias.cpu()).argmax(1)


@torch.enable_grad()
def fit_classifier(features: Tensor, counts: Tensor, weight_decay: float) -> tuple[Tensor, Tensor]:
    """Fit a softmax classifier to pixels whose features are those of their segments.

    The loss is the mean cross-entropy of all labelled pixels, computed on segments, plus half the
    weight decay times the squared weights of the standardised features. It is convex, and L-BFGS
    minimises it from zero, so nothing is random.

    Args:
        features: Float32 (S, D).
        counts: Labelled pixels of each class in each segment, int64 (S, classes).
        weight_decay: How much the size of weights costs.

    Returns:
        Weight (classes, D) and bias (classes,) for the features as they are given.
    """
    seen = counts.sum(1) > 0
    deviation, mean = torch.std_mean(features[seen], 0)
    deviation = deviation.nan_to_num().clamp(min=1e-6)
    points, shares = (features[seen] - mean) / deviation, counts[seen] / counts.sum()
    weight = points.new_zeros(counts.size(1), points.size(1), requires_grad=True)
    bias = points.new_zeros(counts.size(1), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        entropy = -(shares * F.linear(points, weight, bias).log_softmax(1)).sum()
        total = entropy + weight_decay / 2 * (weight**2).sum()
        torch.autograd.backward(total)
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight = weight.detach() / deviation
    return weight, bias.detach() - weight @ mean
