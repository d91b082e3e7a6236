"""Loads what a fine-tuning for semantic segmentation has made."""

from pathlib import Path

from cast_exp.checkpoints.files import read_checkpoint, weights_of
from cast_exp.checkpoints.fit import build_to_fit
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
from cast_exp.checkpoints.official import official_segmentation_head
from cast_exp.errors import UserError
from cast_exp.models.heads import SegmentationHead
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
            official fine-tuning on VOC.
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


def load_segmentation_head(
    checkpoint: str | Path, dim: int
) -> tuple[SegmentationHead, list[str]] | None:
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
        outputs = len(classes)
    elif state := official_segmentation_head(loaded):
        outputs, classes = len(state["3.weight"]), []
    else:
        return None
    return build_to_fit(lambda: SegmentationHead(dim, outputs), state), classes
