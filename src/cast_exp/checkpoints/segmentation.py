"""Loads what a fine-tuning for semantic segmentation has made."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cast_exp.checkpoints.files import read_checkpoint, weights_of
from cast_exp.checkpoints.fit import build_to_fit
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
from cast_exp.checkpoints.official import official_segmentation_head
from cast_exp.errors import UserError
from cast_exp.models.heads import Decoder, SegmentationHead
from cast_exp.models.mask_transformer import MaskTransformer
from cast_exp.models.segmentation import SegmentationModel

CLASSES = "semantic_classes"
"""Key under which checkpoints of segmentation carry the names of the classes."""
HEAD = "head."
"""What stands before the names of the head's weights there."""


def load_segmentation_model(
    checkpoint: str | Path, weights: Weights = "trained"
) -> SegmentationModel:
    """Build the model that a run of fine-tuning has made.

    Args:
        checkpoint: File of the run, such as runs/NAME/TIME/checkpoints/best.ckpt, or of the
            official release: fine-tuned on VOC, or by Segmenter.
        weights: "trained"; fine-tuning for segmentation keeps no average.

    Returns:
        The model in evaluation mode, with the names of its classes, which official files lack.

    Raises:
        UserError: The file cannot be read or is no checkpoint of fine-tuning for segmentation; an
            average was asked for.
    """
    path = locate(checkpoint)
    backbone = load_pretrained(path, weights=weights)
    head = load_segmentation_head(path, backbone.dim)
    if head is None:
        raise UserError(
            f"{checkpoint} has no head for segmentation; give a checkpoint of a fine-tuning, such "
            "as of experiment=voc_finetune"
        )
    return SegmentationModel(backbone, *head).eval()


def load_segmentation_head(checkpoint: str | Path, dim: int) -> tuple[Decoder, list[str]] | None:
    """Build the head of such a model alone.

    Args:
        checkpoint: See `load_segmentation_model`.
        dim: Width of the features.

    Returns:
        The head, and the names of its classes, none in official files; None if there is no head.

    Raises:
        UserError: The file cannot be read, or is damaged.
    """
    loaded = read_checkpoint(locate(checkpoint))
    if CLASSES in loaded:
        state, classes = weights_of(loaded, HEAD), loaded[CLASSES]
        if not (isinstance(classes, list) and classes and all(isinstance(c, str) for c in classes)):
            raise UserError(f"{checkpoint} does not list the names of its classes; it is damaged")
    elif state := official_segmentation_head(loaded):
        classes = []
    else:
        return None
    return _decoder(dim, len(classes), state), classes


def _decoder(dim: int, classes: int, state: Mapping[str, Tensor]) -> Decoder:
    """The decoder whose weights these are.

    Args:
        dim: Width of the features.
        classes: Number of classes; 0 if only the weights tell.
        state: Its weights.
    """
    if "class_tokens" in state:
        blocks = {match[1] for match in map(re.compile(r"blocks\.(\d+)\.").match, state) if match}
        outputs = classes or state["score_norm.weight"].numel()
        return build_to_fit(lambda: MaskTransformer(dim, outputs, max(len(blocks), 1)), state)
    outputs = classes or len(state["3.weight"])
    return build_to_fit(lambda: SegmentationHead(dim, outputs), state)
