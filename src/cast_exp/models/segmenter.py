"""A backbone with a head that names the class of every superpixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.files import read_checkpoint
from cast_exp.models.heads import SegmentationHead
from cast_exp.models.hierarchy import Hierarchy
from cast_exp.models.pretrained import Weights, load_pretrained, load_strictly, locate

if TYPE_CHECKING:
    from cast_exp.data.scene import Scene

CLASSES = "semantic_classes"
"""Key under which checkpoints of segmentation carry the names of the classes."""
HEAD = "head."
"""What stands before the names of the head's weights there."""


@dataclass(frozen=True)
class Segmented:
    """What a segmenter says of a batch.

    Attributes:
        logits: Class scores of superpixels, float (B, N, classes); 0 where there is none.
        hierarchy: That of the backbone; `hierarchy.superpixels` says where the superpixels are
            (with a ViT: its patches).
    """

    logits: Tensor
    hierarchy: Hierarchy


@dataclass(frozen=True)
class Prediction:
    """What a segmenter says of one scene.

    Attributes:
        classes: Best class of each superpixel, int64 (N,), on the CPU.
        superpixels: Where these are at the size of the truth, int64 (H, W): those of the scene,
            or a ViT's patches.
        hierarchy: That of the backbone, of a batch of one.
    """

    classes: Tensor
    superpixels: Tensor
    hierarchy: Hierarchy

    @property
    def pixels(self) -> Tensor:
        """Best class of each pixel at the size of the truth, int64 (H, W)."""
        return self.classes[self.superpixels]


class Segmenter(nn.Module):
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

    def forward(
        self, images: Tensor, superpixels: Tensor, last_grouping: bool = False
    ) -> Segmented:
        """Score the superpixels of a batch.

        Args:
            images: Normalised images, float (B, 3, H, W).
            superpixels: Labels 0..N-1, int64 (B, h, w); of the images' size or a smaller one.
            last_grouping: See `Backbone.forward`; the scores do not depend on it.
        """
        hierarchy = self.backbone(images, superpixels, last_grouping=last_grouping)
        there = ~hierarchy.levels[0].padding
        scores = self.head(hierarchy.fused[there])
        logits = scores.new_zeros(*there.shape, scores.size(-1))
        logits[there] = scores
        return Segmented(logits, hierarchy)

    @torch.no_grad()
    def predict(self, scene: Scene, last_grouping: bool = False) -> Prediction:
        """Name the classes of a scene, which is on the segmenter's device.

        Args:
            scene: Image of any size.
            last_grouping: As in `forward`; true if the hierarchy is to have all its levels.
        """
        segmented = self(scene.image, scene.superpixels, last_grouping)
        superpixels = scene.full_superpixels
        if segmented.hierarchy.superpixels is not scene.superpixels:
            patches = segmented.hierarchy.superpixels.cpu()
            superpixels = enlarged(patches, superpixels.shape[-2:])[0]
        best = segmented.logits[0].argmax(-1).cpu()
        return Prediction(best, superpixels, segmented.hierarchy)


def enlarged(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Bring label maps to another size: each pixel takes the label at its centre.

    Args:
        labels: int64 (B, h, w), below 2**24.
        size: Height and width (H, W).

    Returns:
        int64 (B, H, W).
    """
    if labels.shape[-2:] == tuple(size):
        return labels
    return F.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].long()


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


def load_segmenter(checkpoint: str | Path, weights: Weights = "trained") -> Segmenter:
    """Build the segmenter that a run of fine-tuning has made.

    Args:
        checkpoint: File of the run, such as runs/NAME/TIME/checkpoints/best.ckpt.
        weights: "trained"; fine-tuning for segmentation keeps no average.

    Returns:
        The segmenter in evaluation mode, with the names of its classes.

    Raises:
        UserError: The file cannot be read or is no checkpoint of fine-tuning for segmentation; an
            average was asked for.
    """
    path = locate(checkpoint)
    loaded = read_checkpoint(path)
    if CLASSES not in loaded:
        raise UserError(
            f"{checkpoint} has no head for segmentation; give a checkpoint of a fine-tuning, such "
            "as of experiment=voc_finetune"
        )
    backbone = load_pretrained(path, weights=weights)
    head = SegmentationHead(backbone.dim, len(loaded[CLASSES]))
    state = loaded["state_dict"].items()
    load_strictly(head, {k.removeprefix(HEAD): v for k, v in state if k.startswith(HEAD)})
    return Segmenter(backbone, head, loaded[CLASSES]).eval()
