"""The linear probe against the loss of pixels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.retrieval import scenes, subject
from support.trainers import evaluate

from cast_exp.evaluation import SegmentProbe, segment_probe
from cast_exp.evaluation.retrieval.segments import SegmentEncoder
from cast_exp.evaluation.segment_probe import fit_classifier


def segments(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of thirty segments, a few of them void, and pixels of three classes."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(30, 4, generator=generator) * torch.tensor([0.1, 1, 1, 5])
    counts = torch.randint(0, 9, (30, 3), generator=generator)
    counts[::7] = 0
    return features, counts


@pytest.mark.parametrize("weight_decay", [1e-4, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_classifier_has_a_smaller_loss_on_pixels(seed: int, weight_decay: float) -> None:
    features, counts = segments(seed)
    found = fit_classifier(features, counts, weight_decay)
    owner = torch.arange(30).repeat_interleave(counts.sum(1))
    labels = torch.cat([torch.arange(3).repeat_interleave(row) for row in counts])
    used = features[counts.sum(1) > 0].double()
    weight, bias = (value.double().requires_grad_() for value in found)
    entropies = torch.stack(
        [
            -(weight @ features[place].double() + bias).log_softmax(0)[label]
            for place, label in zip(owner, labels, strict=True)
        ]
    )
    loss = entropies.mean() + weight_decay / 2 * ((weight * used.std(0)) ** 2).sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert gradient.abs().max() < 1e-4  # the loss is convex


def test_validation_segments_get_the_class_that_the_classifier_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    def keep(*given: Any) -> Any:
        fitted.append(fit_classifier(*given))
        return fitted[0]

    monkeypatch.setattr(segment_probe, "fit_classifier", keep)
    data, judged = scenes(), subject()
    found = evaluate(SegmentProbe(data, weight_decay=0.03), judged, tmp_path)
    ((weight, bias),) = fitted
    encode = SegmentEncoder(judged, 0, "fused", 36, "interpolated")
    right = pixels = 0
    for scene in data.scenes("val"):
        segments = encode(scene)
        predicted = (segments.prototypes(0) @ weight.T + bias).argmax(1)[segments.parts]
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        right += int((predicted == truth).sum())
        pixels += int((truth != 255).sum())
    assert found["accuracy"] == pytest.approx(right / pixels)
    assert 0.5 < found["accuracy"] < 1
