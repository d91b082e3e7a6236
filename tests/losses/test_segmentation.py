"""The loss against cross-entropy over pixels that are all written out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.losses import pixel_cross_entropy


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


def test_void_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 4, 3, requires_grad=True)
    superpixels = torch.randint(4, (2, 6, 6))
    loss = pixel_cross_entropy(logits, superpixels, torch.full((2, 6, 6), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
