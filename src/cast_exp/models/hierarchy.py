"""What every task reads: the class token and the segments of an image from fine to coarse."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops.labels import nearest


@dataclass(frozen=True)
class Level:
    """One level of the hierarchy.

    Attributes:
        tokens: Segment features at the end of the level's blocks, float (B, N, C).
        padding: True where a token stands for no segment, bool (B, N).
        assignment: Scores of each segment onto those of the next level, float (B, N, N_next); the
            arg max is the hard grouping. None at the coarsest level.
    """

    tokens: Tensor
    padding: Tensor
    assignment: Tensor | None


@dataclass(frozen=True)
class Attention:
    """What the class token attends to in one block.

    Attributes:
        heads: Softmax attention of the class token to each token, 0 where there is none, float
            (B, heads, N). The rest up to 1 is what it pays to itself (and to registers).
        level: Level whose tokens these are: `Hierarchy.labels(level)` says which one a superpixel
            belongs to.
    """

    heads: Tensor
    level: int


@dataclass(frozen=True)
class Hierarchy:
    """Output of a backbone.

    Attributes:
        cls: Image feature from the class token, float (B, C).
        superpixels: Token of each pixel at level 0, int64 (B, H, W): the superpixels that were
            given, or the square patches of a ViT.
        levels: Levels from fine (superpixels) to coarse.
        fused: Feature per superpixel fused over all stages, float (B, N, C); None without a fusion
            block.
        attention: That of the block that was asked for; None if none was.
        patch_size: Side of the tokens of level 0 in pixels, where these are square patches; 0 where
            they are the superpixels that were given.
        mask_empty: Whether `fused_mean` leaves out empty superpixels.
    """

    cls: Tensor
    superpixels: Tensor
    levels: tuple[Level, ...]
    fused: Tensor | None = None
    attention: Attention | None = None
    patch_size: int = 0
    mask_empty: bool = True

    @property
    def depth(self) -> int:
        """Number of groupings: `labels` and `segmentation` take levels 0 to depth."""
        return len(self.levels) - 1

    def labels(self, level: int) -> Tensor:
        """Segment of each superpixel at `level`, int64 (B, N); level 0 is the superpixels.

        Labels nest: superpixels together at one level are together at every coarser one. Where
        `levels[0].padding` is true the entry belongs to no pixel and means nothing.

        Raises:
            IndexError: The hierarchy has no such level.
        """
        if not 0 <= level <= self.depth:
            raise IndexError(f"level {level} is not in this hierarchy, which has 0..{self.depth}")
        batch, count = self.levels[0].padding.shape
        labels = torch.arange(count, device=self.superpixels.device).expand(batch, count)
        for step in self.levels[:level]:
            assert step.assignment is not None
            labels = step.assignment.argmax(-1).gather(1, labels)
        return labels

    def segmentation(self, level: int) -> Tensor:
        """Segment of each pixel at `level`, int64 (B, H, W)."""
        labels = self.labels(level).gather(1, self.superpixels.flatten(1))
        return labels.view_as(self.superpixels)

    def chunk(self, views: int) -> list["Hierarchy"]:
        """Hierarchies of the views that the batch consists of; see `Backbone.forward`."""
        size = len(self.cls) // views
        return [self._part(slice(size * view, size * (view + 1))) for view in range(views)]

    def _part(self, images: slice) -> "Hierarchy":
        levels = tuple(
            Level(
                level.tokens[images],
                level.padding[images],
                None if level.assignment is None else level.assignment[images],
            )
            for level in self.levels
        )
        return replace(
            self,
            cls=self.cls[images],
            superpixels=self.superpixels[images],
            levels=levels,
            fused=None if self.fused is None else self.fused[images],
            attention=None
            if self.attention is None
            else replace(self.attention, heads=self.attention.heads[images]),
        )

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patches; None for superpixels."""
        if not self.patch_size:
            return None
        height, width = self.superpixels.shape[-2:]
        return -(-height // self.patch_size), -(-width // self.patch_size)

    def on_pixels(self, scores: Tensor) -> Tensor:
        """Scores of the tokens of level 0 on the pixels of `superpixels`.

        All pixels of a superpixel have its scores; between the centres of patches they are
        interpolated bilinearly.

        Args:
            scores: float (B, N, K).

        Returns:
            float (B, K, H, W).
        """
        batch, height, width = self.superpixels.shape
        scores = scores.transpose(1, 2)
        if self.grid is None:
            places = self.superpixels.flatten(1)[:, None].expand(-1, scores.size(1), -1)
            return scores.gather(2, places).view(batch, -1, height, width)
        patches = scores.reshape(batch, -1, *self.grid)
        enlarged = F.interpolate(patches, scale_factor=self.patch_size, mode="bilinear")
        return enlarged[..., :height, :width]

    def tokens_at(self, superpixels: Tensor) -> Tensor:
        """Token of level 0 at each pixel of the images at another size.

        Args:
            superpixels: The superpixels that were given, at that size, int64 (B, H, W).

        Returns:
            int64 (B, H, W): the same superpixels, or else the patches at that size.
        """
        if self.grid is None:
            return superpixels
        return nearest(self.superpixels, *superpixels.shape[-2:]).to(superpixels.device)

    def fused_mean(self) -> Tensor:
        """Mean of the fused features over the superpixels, float (B, C); see `mask_empty`.

        Raises:
            ValueError: The backbone has no fusion block.
        """
        if self.fused is None:
            raise ValueError("this backbone has no fusion block; build it with fusion=True")
        if not self.mask_empty:
            return self.fused.mean(1)
        keep = ~self.levels[0].padding[..., None]
        return (self.fused * keep).sum(1) / keep.sum(1)
