"""What metrics have counted, as tensors to be kept, sent and added up."""

from collections.abc import Mapping

from torch import Tensor
from torchmetrics import Metric


def states_of(metrics: Mapping[str, Metric]) -> dict[str, Tensor]:
    """The tensors of several metrics, by "<metric>/<state>"."""
    return {
        f"{place}/{name}": value
        for place, metric in metrics.items()
        for name, value in metric.metric_state.items()
        if isinstance(value, Tensor)
    }


def add_states(metrics: Mapping[str, Metric], states: Mapping[str, Tensor]) -> None:
    """Add what others of the same metrics have counted, given as `states_of` them."""
    for place, metric in metrics.items():
        metric.merge_state({name: states[f"{place}/{name}"] for name in metric.metric_state})
        metric._update_count += 1  # or it would warn of having seen nothing
