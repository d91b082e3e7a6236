"""Whether there is a moving average where a command asks for one."""

from collections.abc import Mapping
from typing import Any

from cast_exp.checkpoints.load import Weights
from cast_exp.errors import UserError

_LEFT_OUT = "leave weights=average out"


def check_loaded(weights: Weights, model: Mapping[str, Any] | None) -> None:
    """Make sure that a model that is only to be evaluated takes the weights asked for.

    Args:
        weights: As configured.
        model: Config of the backbone.

    Raises:
        UserError: It is not loaded from a checkpoint, so there is no average of it.
    """
    if weights == "average" and not _loaded(model):
        raise UserError(
            "weights=average is that of a checkpoint, but the model is not loaded from one; set "
            f"checkpoint=... or run=... (and no other model), or {_LEFT_OUT}"
        )


def weights_at_end(
    weights: Weights, model: Mapping[str, Any] | None, averages: bool, evaluates: bool
) -> Weights:
    """Which weights of a training the evaluations at its end take.

    An average is taken wherever there is one: of the checkpoint that the training starts from, and
    of the training itself if it keeps one.

    Args:
        weights, model: See `check_loaded`.
        averages: Whether the training keeps an average.
        evaluates: Whether there are evaluations.

    Raises:
        UserError: There is an average in neither place.
    """
    if weights == "average" and averages and evaluates:
        return "average"
    if weights == "average" and not _loaded(model):
        missing = "and this training keeps none; set checkpoint=..."
        if averages:
            missing = "and nothing is evaluated at the end; set evaluate=[...]"
        raise UserError(
            "weights=average would change nothing: the model is not loaded from a checkpoint, "
            f"{missing}, or {_LEFT_OUT}"
        )
    return "trained"


def _loaded(model: Mapping[str, Any] | None) -> bool:
    # Only load_pretrained has this option; conf/model/pretrained.yaml hands it on.
    return "weights" in (model or {})
