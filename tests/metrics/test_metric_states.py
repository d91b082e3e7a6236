"""What several metrics have counted adds up as if one had counted all of it."""

import warnings

import torch

from cast_exp.metrics import BoundaryF, SegmentationIoU
from cast_exp.metrics.metric_states import add_states, states_of


def test_parts_add_up() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (6, 2, 9, 9), generator=draw)
    whole, first, second = (
        {"iou": SegmentationIoU(3), "edges": BoundaryF(3, 0.1)} for _ in range(3)
    )
    for number, (predicted, truth) in enumerate(maps):
        for metrics in (whole, first if number < 2 else second):
            for metric in metrics.values():
                metric.update(predicted, truth)
    empty = {"iou": SegmentationIoU(3), "edges": BoundaryF(3, 0.1)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (first, second):
            add_states(empty, states_of(part))
        for name, metric in empty.items():
            for figure, value in whole[name].compute().items():
                torch.testing.assert_close(metric.compute()[figure], value, equal_nan=True)
    assert {name.partition("/")[0] for name in states_of(whole)} == {"iou", "edges"}
