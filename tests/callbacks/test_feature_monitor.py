"""What monitors of features have in common."""

import torch
from support.probe_run import images
from support.retrieval import scenes

from cast_exp.callbacks.feature_monitor import FeatureMonitor
from cast_exp.data.features import Features


class Counting(FeatureMonitor):
    """Scores nothing but how many there are."""

    title = "count"
    figures = ("val/count",)

    def score(
        self, train: Features, val: Features, classes: int, device: torch.device
    ) -> dict[str, float]:
        return {"val/count": float(len(val.features))}


def test_they_want_classes_of_images() -> None:
    monitor = Counting(1, None, None, 8)
    assert monitor.obstacle(images()) is None
    assert "those of pixels" in monitor.obstacle(scenes())
