"""The score of scenes against the metrics it is made of, fed with pixels."""

from functools import partial

import pytest
import torch

from cast_exp.metrics import BoundaryF, SegmentationIoU, SegmentationScore

CLASSES = 4


def scene(seed: int) -> tuple[torch.Tensor, ...]:
    """Predicted classes, superpixels, their segments, and truth with void."""
    draw = torch.Generator().manual_seed(seed)
    superpixels = torch.arange(12).view(3, 4).repeat_interleave(5, 0).repeat_interleave(4, 1)
    truth = torch.randint(0, CLASSES + 1, (15, 16), generator=draw)
    truth[truth == CLASSES] = 255
    return torch.randint(0, CLASSES, (12,), generator=draw), superpixels, truth


def painted(superpixels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return scores.argmax(1)[superpixels]


def figures(score: SegmentationScore) -> dict[str, float]:
    return {name: value.item() for name, value in score.compute().items()}


def test_it_counts_as_its_metrics_do_on_pixels_and_adds_up() -> None:
    segments = torch.arange(12) // 5
    whole = SegmentationScore(CLASSES, 1, 0.05)
    parts = [SegmentationScore(CLASSES, 1, 0.05) for _ in range(2)]
    iou, boundary = SegmentationIoU(CLASSES), BoundaryF(CLASSES, 0.05)
    ceilings = SegmentationIoU(CLASSES), SegmentationIoU(CLASSES)
    for seed in range(4):
        predicted, superpixels, truth = scene(seed)
        levels = [torch.arange(12), segments]
        paint = partial(painted, superpixels)
        for score in (whole, parts[seed % 2]):
            score.update(predicted[superpixels], superpixels, levels, truth, paint)
        iou.update(predicted[superpixels], truth)
        boundary.update(predicted[superpixels], truth)
        for labels, ceiling in zip(levels, ceilings, strict=True):
            segments_there = labels[superpixels]
            best = torch.zeros_like(truth)
            for label in segments_there.unique():
                inside = truth[segments_there == label]
                best[segments_there == label] = inside[inside < CLASSES].bincount().argmax()
            ceiling.update(best, truth)
    expected = {
        "miou": iou.compute()["miou"].item(),
        "pixel_accuracy": iou.compute()["accuracy"].item(),
        "mean_accuracy": iou.compute()["mean_accuracy"].item(),
        "boundary_f": boundary.compute()["boundary_f"].item(),
        "ceiling": ceilings[0].compute()["miou"].item(),
        "ceiling_level1": ceilings[1].compute()["miou"].item(),
    }
    assert figures(whole) == pytest.approx(expected)
    assert len({round(value, 3) for value in expected.values()}) == 6
    parts[0].add(parts[1].tensors())
    assert figures(parts[0]) == pytest.approx(expected)
    parts[0].reset()
    assert not any(value.any() for value in parts[0].tensors().values())
