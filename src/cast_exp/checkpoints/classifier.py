"""Loads the linear classifier of images that was trained on top of a backbone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from torch import nn

from cast_exp.checkpoints.files import AVERAGE, CONFIG, PREFIX, read_checkpoint, weights_of
from cast_exp.checkpoints.fit import build_to_fit
from cast_exp.checkpoints.load import Weights, locate
from cast_exp.checkpoints.official import official_average, official_head
from cast_exp.errors import UserError

CLASSIFIER = "classifier"
"""Key under which our checkpoints describe it."""


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of images.

    Attributes:
        layer: Class scores of image vectors, (B, C) -> (B, outputs).
        readout: What stands for an image; None if the checkpoint does not say.
        classes: Names of the classes, of its first outputs; () if the checkpoint has none.
    """

    layer: nn.Linear
    readout: Literal["cls", "fused_mean"] | None = None
    classes: tuple[str, ...] = ()

    def described(self, prefix: str) -> dict[str, Any]:
        """What `CLASSIFIER` holds, where the names of its weights begin with `prefix`."""
        return {"weights": prefix, "readout": self.readout, "classes": list(self.classes)}


@dataclass(frozen=True)
class _Card:
    weights: str
    readout: Literal["cls", "fused_mean"] | None = None
    classes: tuple[str, ...] = ()


def load_classifier(checkpoint: str | Path, weights: Weights = "trained") -> Classifier | None:
    """Build the classifier of supervised training or of a linear probe.

    Of a probe at several learning rates it is the one to report, whose rate is the optimizer's.

    Args:
        checkpoint: See `load_pretrained`.
        weights: Whether to take the moving average.

    Returns:
        The classifier in evaluation mode; None if the file has none, or several (as a distilled
        DeiT) without a word on which is the one.

    Raises:
        UserError: The file cannot be read, or is damaged.
    """
    loaded = read_checkpoint(locate(checkpoint))
    average = weights == "average"
    card = _card(checkpoint, loaded)
    if CONFIG in loaded:
        prefix = AVERAGE.removesuffix(PREFIX) if average else ""
        state = weights_of(loaded, prefix + card.weights)
    else:
        state = official_head((official_average(loaded) if average else loaded) or {})
    if state.keys() != {"weight", "bias"} or state["weight"].ndim != 2:
        return None  # another kind of head
    outputs, dim = state["weight"].shape
    layer = build_to_fit(partial(nn.Linear, dim, outputs), state).eval()
    return Classifier(layer, card.readout, card.classes)


def _card(checkpoint: str | Path, loaded: Mapping[str, Any]) -> _Card:
    if CONFIG not in loaded or CLASSIFIER not in loaded:  # not of ours, or a former one
        lone = CONFIG in loaded and weights_of(loaded, "heads.").keys() == {"0.weight", "0.bias"}
        return _Card("heads.0." if lone else "head.")
    try:
        return TypeAdapter(_Card).validate_python(loaded[CLASSIFIER])
    except ValidationError:
        raise UserError(
            f"{checkpoint} does not describe its classifier as it should; it is damaged"
        ) from None
