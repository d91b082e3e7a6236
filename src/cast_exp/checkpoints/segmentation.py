"""Loads what a fine-tuning for semantic segmentation has made."""

from pathlib import Path

from cast_exp.checkpoints.files import read_checkpoint, weights_of
from cast_exp.checkpoints.fit import build_to_fit
from cast_exp.checkpoints.load import Weights, load_pretrained, locate
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
        checkpoint: File of the run, such as runs/NAME/TIME/checkpoints/best.ckpt.
        weights: "trained"; fine-tuning for segmentation keeps no average.

    Returns:
        The model in evaluation mode, with the names of its classes.

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
    classes = loaded[CLASSES]
    if not (isinstance(classes, list) and classes and all(isinstance(c, str) for c in classes)):
        raise UserError(f"{checkpoint} does not list the names of its classes; it is damaged")
    backbone = load_pretrained(path, weights=weights)
    head = build_to_fit(
        lambda: SegmentationHead(backbone.dim, len(classes)), weights_of(loaded, HEAD)
    )
    return SegmentationModel(backbone, head, classes).eval()
