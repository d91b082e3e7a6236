"""The loss against cross-entropy over pixels that are all written out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.losses import enlarged_cross_entropy, pixel_cross_entropy


def by_pixels(logits: Tensor, superpixels: Tensor, labels: Tensor) -> Tensor:
    """Each pixel gets the scores of its superpixel."""
    classes = logits.size(-1)
    scores = torch.stack(
        [image[places] for image, places in zip(logits, superpixels, strict=True)]
    ).permute(0, 3, 1, 2)
    void = (labels < 0) | (labels >= classes)
    return F.cross_entropy(scores, labels.masked_fill(void, 255), ignore_index=255)


@pytest.mark.parametrize(
    ("batch", "count", "classes", "size"),
    [(1, 1, 2, (3, 5)), (3, 17, 4, (16, 12)), (2, 40, 21, (31, 24))],
)
def test_it_is_the_cross_entropy_over_pixels(
    batch: int, count: int, classes: int, size: tuple[int, int]
) -> None:
    draw = torch.Generator().manual_seed(count)
    logits = torch.randn(batch, count, classes, generator=draw, dtype=torch.float64)
    superpixels = torch.randint(count, (batch, *size), generator=draw)
    labels = torch.randint(classes + 2, (batch, *size), generator=draw)
    labels[labels == classes] = 255  # classes + 1 stays: a label outside the list
    labels[-1, 0] = -1
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, wanted = (
        pixel_cross_entropy(mine, superpixels, labels),
        by_pixels(theirs, superpixels, labels),
    )
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    loss.backward()
    wanted.backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-7)


def test_enlarged_scores_are_those_of_the_official_release() -> None:
    """Of a half-size map; labels beyond the classes do not count."""
    scores = torch.randn(2, 4, 8, 6)
    labels = torch.randint(6, (2, 16, 12)).to(torch.uint8)
    labels[0, 3] = 255
    whole = F.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)
    kept = labels < 4
    expected = -whole.log_softmax(1).gather(1, labels.long().clamp(max=3)[:, None])[:, 0][kept]
    assert enlarged_cross_entropy(scores, labels).item() == pytest.approx(expected.mean().item())
    assert enlarged_cross_entropy(scores, torch.full((2, 16, 12), 255)).item() == 0


def test_void_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 4, 3, requires_grad=True)
    superpixels = torch.randint(4, (2, 6, 6))
    loss = pixel_cross_entropy(logits, superpixels, torch.full((2, 6, 6), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
