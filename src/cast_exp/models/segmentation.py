"""A backbone with a head that names the class of every superpixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.heads import Decoder
from cast_exp.models.hierarchy import Hierarchy
from cast_exp.models.windows import Windows, blended_classes
from cast_exp.ops import Superpixels
from cast_exp.ops.labels import nearest


@dataclass(frozen=True)
class Segmented:
    """What a segmentation model says of a batch.

    Attributes:
        logits: Class scores of superpixels, float (B, N, classes); 0 where there is none.
        hierarchy: That of the backbone; `hierarchy.superpixels` says where the superpixels are
            (with a ViT: its patches).
    """

    logits: Tensor
    hierarchy: Hierarchy


@dataclass(frozen=True)
class Prediction:
    """What a segmentation model says of one image.

    Attributes:
        scores: Class scores of the superpixels, float (N, K).
        superpixels: Where these are at the size of the truth, int64 (H, W), on the CPU: those
            given, or a ViT's patches.
        hierarchy: That of the backbone, of a batch of one, or of all windows; superpixels of window
            w count on from w * N then.
        blended: Class of each pixel where windows overlap, int64 (H, W); None without windows.
    """

    scores: Tensor
    superpixels: Tensor
    hierarchy: Hierarchy
    blended: Tensor | None = None

    @cached_property
    def pixels(self) -> Tensor:
        """Best class of each pixel at the size of the truth, int64 (H, W), on the CPU."""
        return self.paint(self.scores) if self.blended is None else self.blended.cpu()

    def paint(self, scores: Tensor) -> Tensor:
        """The same by other scores of the superpixels, (N, K).

        A superpixel has one class. Scores of a ViT's patches are enlarged bilinearly to the image
        that it has seen, whose classes are then brought to the size of the truth.
        """
        if self.hierarchy.grid is None or self.blended is not None:
            return scores.argmax(-1).cpu()[self.superpixels]
        scores = scores[None].to(self.hierarchy.superpixels.device, torch.float32)
        best = self.hierarchy.on_pixels(scores)[0].argmax(0)
        return nearest(best, *self.superpixels.shape).cpu()

    @property
    def levels(self) -> list[Tensor]:
        """Segment of each superpixel at each level, superpixels themselves first, int64 (N,)."""
        depth = self.hierarchy.depth
        levels = [self.hierarchy.labels(level).cpu() for level in range(depth + 1)]
        counts = [level.tokens.size(1) for level in self.hierarchy.levels]
        return [
            (labels + count * torch.arange(len(labels))[:, None]).flatten()
            for labels, count in zip(levels, counts, strict=True)
        ]


class SegmentationModel(nn.Module):
    """Names the class of each superpixel from its fused feature.

    Args:
        backbone: One with a fusion block.
        head: Scores the features.
        classes: Names of the classes.
        pixel_norm: Batch statistics of the head are over pixels, not superpixels; as the release's.

    Raises:
        UserError: The backbone has no fusion block.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Decoder,
        classes: Sequence[str] = (),
        pixel_norm: bool = False,
    ) -> None:
        super().__init__()
        require_fusion(backbone)
        self.backbone = backbone
        self.head = head
        self.classes = list(classes)
        self.pixel_norm = pixel_norm

    @property
    def num_classes(self) -> int:
        """Number of classes, whose names may be unknown."""
        return self.head.classes

    def forward(
        self, images: Tensor, superpixels: Superpixels | Tensor, last_grouping: bool = False
    ) -> Segmented:
        """Score the superpixels of a batch.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: See `Backbone.forward`; of the images' size or a smaller one.
            last_grouping: See `Backbone.forward`; the scores do not depend on it.
        """
        superpixels = Superpixels.of(superpixels)
        hierarchy = self.backbone(images, superpixels, last_grouping=last_grouping)
        by_pixels = self.pixel_norm and hierarchy.grid is None  # patches have as many each
        sizes = superpixels.sizes if by_pixels else None
        padding = hierarchy.levels[0].padding
        if not hierarchy.mask_empty:
            padding = torch.zeros_like(padding)  # as in the official release
        logits = self.head(hierarchy.fused, padding, sizes)
        return Segmented(logits, hierarchy)

    @torch.no_grad()
    def predict(
        self,
        image: Tensor,
        superpixels: Superpixels | Tensor,
        full_superpixels: Tensor,
        last_grouping: bool = False,
        windows: Sequence[Windows] = (),
    ) -> Prediction:
        """Name the classes of an image of any size.

        Args:
            image: Normalised image, float (1, 3, h, w).
            superpixels: Its superpixels; see `forward`.
            full_superpixels: The same at the size of the truth, int64 (H, W), on the CPU.
            last_grouping: As in `forward`; true if the hierarchy is to have all its levels.
            windows: Versions of the image that are looked at in the place of `image`, of which the
                first is not mirrored; see `blended_classes`.
        """
        if windows:
            return self._slide(windows, full_superpixels.shape, last_grouping)
        segmented = self(image, superpixels, last_grouping)
        tokens = segmented.hierarchy.tokens_at(full_superpixels[None])[0]
        return Prediction(segmented.logits[0], tokens, segmented.hierarchy)

    def _slide(
        self, windows: Sequence[Windows], size: Sequence[int], last_grouping: bool
    ) -> Prediction:
        """Name the classes of an image that is given in windows."""
        height, width = size
        segmented = [self(each.images, each.superpixels, last_grouping) for each in windows]
        parts = [
            (each.logits, each.hierarchy, version)
            for each, version in zip(segmented, windows, strict=True)
        ]
        first, hierarchy = segmented[0].logits, segmented[0].hierarchy
        tokens = windows[0].on_image(hierarchy.superpixels, first.size(1), height, width)
        blended = blended_classes(parts, height, width)
        return Prediction(first.flatten(0, 1), tokens, hierarchy, blended)


def require_fusion(backbone: Backbone) -> None:
    """Make sure that a backbone has features for superpixels.

    Raises:
        UserError: It has no fusion block.
    """
    if backbone.fusion is None:
        raise UserError(
            "segmentation needs a feature for each superpixel, but the backbone has no fusion "
            "block (it was trained for recognition); set model.fusion=true to add a new one"
        )
