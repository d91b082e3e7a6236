"""The segments of a scene and what stands for each, from any backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data import Scene
from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval.patches import cluster_patches
from cast_exp.evaluation.subject import Subject
from cast_exp.models.tokens import Sampling
from cast_exp.ops import contingency
from cast_exp.ops.labels import VOID, nearest

Embedding = Literal["auto", "projector", "fused"]
LevelChoice = int | Literal["finest", "all"] | None


@dataclass(frozen=True)
class Segments:
    """Segments of a scene at one level or several, as unions of the same parts.

    All that is asked of pixels is answered by sums over the parts, and never is there a feature for
    a pixel.

    Attributes:
        parts: Part of each pixel of the ground truth, 0..N-1, int64 (H, W); each part has one.
        sums: Sum of the unit features of the pixels of each part, float (N, D).
        labels: For each level, segment of each part, 0..S-1, int64 (N,).
        chosen: Levels that are evaluated, fine to coarse.
    """

    parts: Tensor
    sums: Tensor
    labels: Mapping[int, Tensor]
    chosen: Sequence[int]

    def prototypes(self, level: int) -> Tensor:
        """Direction of the sum over all pixels of each segment, float (S, D)."""
        return F.normalize(self.total(self.sums, level), dim=1)

    def counts(self, semantic: Tensor, classes: int) -> Tensor:
        """Pixels of each class in each part, and in the last column void, int64 (N, classes + 1).

        Args:
            semantic: Classes, and 255 for void, int64 (H, W).
            classes: Number of classes.
        """
        drawn = semantic.masked_fill(semantic == VOID, classes)
        return contingency(self.parts, drawn, (len(self.sums), classes + 1))

    def total(self, values: Tensor, level: int) -> Tensor:
        """Sum of the values (N, C) of its parts for each segment, (S, C)."""
        labels = self.labels[level]
        sums = values.new_zeros(int(labels.max()) + 1, values.size(1))
        return sums.index_add_(0, labels, values)

    def paint(self, values: Tensor, level: int) -> Tensor:
        """Give each pixel the value of its segment, (S,) -> (H, W)."""
        return values[self.labels[level]][self.parts]


class SegmentEncoder:
    """Makes segments of scenes.

    A hierarchy's segments are those of its levels, and the feature of a pixel is that of its
    superpixel. Square patches are no segments: spherical K-Means makes them of the upsampled
    features, as level 0; see `cluster_patches`.

    Args:
        subject: Backbone and projector.
        level: A level of the hierarchy, 0 being the superpixels; "finest" for the first grouping
            (without any the superpixels), "all", or None for the coarsest.
        embedding: Whether features are those of the projector or fused ones; "auto" takes the
            projector's if there is one.
        clusters: Segments of a ViT.
        sampling: How superpixels read the feature grid; None for the way of the backbone.
        levels: Segments at each level, as counts or fractions, in the place of the backbone's; None
            for its own. One that groups nothing has none.

    Raises:
        UserError: A backbone without fusion block, no projector where one is asked for; when
            called, a level that is not there, or more levels than groupings.
    """

    def __init__(
        self,
        subject: Subject,
        level: LevelChoice,
        embedding: Embedding,
        clusters: int,
        sampling: Sampling | None = None,
        levels: Sequence[int | float] | None = None,
    ) -> None:
        if subject.backbone.fusion is None:
            raise UserError(
                "the backbone has no fusion block, so there are no features of superpixels; take a "
                "checkpoint of dense pretraining (coco_moco), or set model.fusion=true (enough "
                "for a ViT; a new block is untrained otherwise)"
            )
        if embedding == "projector" and subject.projector is None:
            raise UserError(
                "the checkpoint has no projector; take one of contrastive pretraining, or set "
                "evaluation.retrieval.embedding=fused"
            )
        self.backbone = subject.backbone
        self.projector = None if embedding == "fused" else subject.projector
        self.patch = subject.backbone.patch_size
        self.level = level
        self.clusters = clusters
        self.sampling = sampling
        config = subject.backbone.config
        ungrouped = subject.backbone.no_levels or (config is not None and not config.levels)
        self.levels = None if ungrouped else levels

    @torch.no_grad()
    def __call__(self, scene: Scene) -> Segments:
        """Segments of a scene on the device of the backbone; they are on the CPU."""
        if self.patch:
            self.chosen_levels(0)
            return self._of_patches(scene)
        hierarchy = self.backbone(
            scene.image, scene.superpixels, levels=self.levels, sampling=self.sampling
        )
        assert hierarchy.fused is not None
        embedded = self._embed(hierarchy.fused[0]).cpu()
        area = torch.bincount(scene.full_superpixels.flatten(), minlength=len(embedded))
        labels = {
            level: torch.unique(hierarchy.labels(level)[0].cpu(), return_inverse=True)[1]
            for level in range(hierarchy.depth + 1)
        }
        chosen = self.chosen_levels(hierarchy.depth)
        return Segments(scene.full_superpixels, embedded * area[:, None], labels, chosen)

    def _of_patches(self, scene: Scene) -> Segments:
        height, width = scene.image.shape[-2:]
        side = -(-max(height, width) // self.patch)  # of the grid
        padding = (0, side * self.patch - width, 0, side * self.patch - height)
        hierarchy = self.backbone(F.pad(scene.image, padding), scene.superpixels)
        assert hierarchy.fused is not None
        grid = self._embed(hierarchy.fused[0]).view(side, side, -1)
        with torch.autocast(grid.device.type, enabled=False):
            labels, sums = cluster_patches(grid, self.patch, (height, width), self.clusters)
        full = nearest(labels.cpu(), *scene.full_superpixels.shape)
        kept, parts = torch.unique(full, return_inverse=True)
        return Segments(parts, sums.cpu()[kept], {0: torch.arange(len(kept))}, [0])

    def _embed(self, fused: Tensor) -> Tensor:
        """Unit features (N, D) of fused ones (N, C)."""
        features = fused if self.projector is None else self.projector(fused)
        return F.normalize(features.float(), dim=1)

    def chosen_levels(self, depth: int) -> list[int]:
        """The levels to take of a hierarchy of that depth.

        Raises:
            UserError: The one asked for is not there.
        """
        if self.level == "all":
            return list(range(depth + 1))
        level = min(1, depth) if self.level == "finest" else self.level
        level = depth if level is None else level
        if level > depth:
            raise UserError(f"level={level}: the backbone has levels 0 to {depth}")
        return [level]
