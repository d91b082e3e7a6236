"""A backbone with a head that names the class of every superpixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.heads import SegmentationHead
from cast_exp.models.hierarchy import Hierarchy
from cast_exp.ops import Superpixels


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
        classes: Best class of each superpixel, int64 (N,), on the CPU.
        superpixels: Where these are at the size of the truth, int64 (H, W): those given, or
            a ViT's patches.
        hierarchy: That of the backbone, of a batch of one.
    """

    classes: Tensor
    superpixels: Tensor
    hierarchy: Hierarchy

    @property
    def pixels(self) -> Tensor:
        """Best class of each pixel at the size of the truth, int64 (H, W)."""
        return self.classes[self.superpixels]

    @property
    def levels(self) -> list[Tensor]:
        """Segment of each superpixel at each level, superpixels themselves first, int64 (N,)."""
        depth = self.hierarchy.depth
        return [self.hierarchy.labels(level)[0].cpu() for level in range(depth + 1)]


class SegmentationModel(nn.Module):
    """Names the class of each superpixel from its fused feature.

    Args:
        backbone: One with a fusion block.
        head: Scores the features.
        classes: Names of the classes.

    Raises:
        UserError: The backbone has no fusion block.
    """

    def __init__(
        self, backbone: Backbone, head: SegmentationHead, classes: Sequence[str] = ()
    ) -> None:
        super().__init__()
        require_fusion(backbone)
        self.backbone = backbone
        self.head = head
        self.classes = list(classes)

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
        hierarchy = self.backbone(images, superpixels, last_grouping=last_grouping)
        logits = self.head(hierarchy.fused, hierarchy.levels[0].padding)
        return Segmented(logits, hierarchy)

    @torch.no_grad()
    def predict(
        self,
        image: Tensor,
        superpixels: Superpixels | Tensor,
        full_superpixels: Tensor,
        last_grouping: bool = False,
    ) -> Prediction:
        """Name the classes of an image of any size.

        Args:
            image: Normalised image, float (1, 3, h, w).
            superpixels: Its superpixels; see `forward`.
            full_superpixels: The same at the size of the truth, int64 (H, W), on the CPU.
            last_grouping: As in `forward`; true if the hierarchy is to have all its levels.
        """
        segmented = self(image, superpixels, last_grouping)
        tokens = segmented.hierarchy.tokens_at(full_superpixels[None])[0]
        best = segmented.logits[0].argmax(-1).cpu()
        return Prediction(best, tokens, segmented.hierarchy)


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
