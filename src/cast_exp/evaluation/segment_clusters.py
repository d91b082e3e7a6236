"""Clusters of frozen segment features as classes."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data import SceneDataModule
from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval.patches import SquareNumber
from cast_exp.evaluation.segment_features import (
    LevelChoice,
    SegmentFeatureEvaluation,
    SegmentFeatures,
)
from cast_exp.evaluation.subject import Subject
from cast_exp.extras import need_extra
from cast_exp.models.tokens import Sampling
from cast_exp.ops import spherical_kmeans
from cast_exp.ops.assignment import best_assignment

_STEPS = 50  # of each clustering


class SegmentClusters(SegmentFeatureEvaluation):
    """Unsupervised semantic segmentation: K-Means over the data set, a cluster for each class.

    Segments of the training images are clustered without their labels, by cosine similarity, each
    weighing as many pixels as it has that are not void. A validation segment goes to the nearest
    cluster; then each cluster gets a class of its own so that the most validation pixels are right
    (Hungarian method), the only use of labels.

    Args:
        scenes, level, segments, limit, sampling: See `SegmentFeatureEvaluation`.
        starts: Clusterings from random starts, of which the tightest is taken.
        seed: Seed of the starts.
    """

    def __init__(
        self,
        scenes: SceneDataModule,
        level: LevelChoice = 0,
        segments: SquareNumber = 36,
        limit: Annotated[int, Field(ge=1)] | None = None,
        sampling: Sampling | None = "interpolated",
        starts: Annotated[int, Field(ge=1)] = 10,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(scenes, level, segments, limit, sampling)
        self.starts = starts
        self.seed = seed

    def check(self, subject: Subject | None = None) -> None:
        """See `SegmentFeatureEvaluation.check`.

        Raises:
            UserError: See there; or SciPy is not installed.
        """
        need_extra("eval", "evaluate=[segment_clusters]", "scipy")
        super().check(subject)

    def predict(self, train: SegmentFeatures, val: SegmentFeatures) -> Tensor:
        """See `SegmentFeatureEvaluation.predict`.

        Raises:
            UserError: There are fewer training segments than classes.
        """
        classes, device = val.counts.size(1), self.trainer.strategy.root_device
        if len(train.features) < classes:
            raise UserError(
                f"segment_clusters: {len(train.features)} training segments cannot make {classes} "
                "clusters; set evaluation.segment_clusters.level=0, or take more images"
            )
        prototypes = cluster_directions(
            train.features.to(device),
            train.counts.sum(1).to(device),
            classes,
            self.starts,
            torch.Generator().manual_seed(self.seed),
        )
        clusters = (val.features @ prototypes.cpu().T).argmax(1)
        table = val.counts.new_zeros(classes, classes).index_add_(0, clusters, val.counts)
        return torch.from_numpy(best_assignment(table.numpy()))[clusters]


@torch.no_grad()
def cluster_directions(
    points: Tensor,
    weights: Tensor,
    count: int,
    starts: int,
    generator: torch.Generator,
) -> Tensor:
    """Spherical K-Means from several starts.

    The first prototypes are points, drawn one after the other with a probability proportional to
    weight times distance (1 - cosine) from those there are (K-Means++).

    Args:
        points: Unit vectors, float32 (N, D).
        weights: How much each counts, int64 (N,).
        count: Number of clusters, at most N.
        starts: How many clusterings are made.
        generator: Draws the first prototypes, on the CPU.

    Returns:
        Prototypes of the clustering with the largest weighted sum of cosines of points with the
        nearest prototype, float32 (count, D); zero for one without a point.
    """
    best = points[:count], -torch.inf
    for _ in range(starts):
        distance = weights.float()
        seeds = []
        for _ in range(count):
            # At least a little: points may all be alike.
            drawn = torch.multinomial((distance + 1e-6).cpu(), 1, generator=generator)
            seeds.append(drawn)
            apart = (1 - points @ points[int(drawn)]).clamp(min=0)
            distance = torch.minimum(distance, weights * apart)
        labels = (points @ points[torch.cat(seeds).to(points.device)].T).argmax(1)
        labels = spherical_kmeans(points, labels, count, iterations=_STEPS, weights=weights)
        sums = points.new_zeros(count, points.size(1))
        prototypes = F.normalize(sums.index_add_(0, labels, points * weights[:, None]), dim=1)
        tightness = float((weights * (points @ prototypes.T).amax(1)).sum())
        if tightness > best[1]:
            best = prototypes, tightness
    return best[0]
