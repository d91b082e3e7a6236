"""Cross-entropy over pixels, computed on superpixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops import contingency


def pixel_cross_entropy(logits: Tensor, superpixels: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels of a batch, each of which has its superpixel's scores.

    All pixels of a superpixel with the same label have the same loss, so that it is enough to know
    how many there are: no scores of pixels are made.

    Args:
        logits: Scores of superpixels, float (B, N, K).
        superpixels: Labels 0..N-1, int64 (B, H, W).
        labels: Class of each pixel, int64 (B, H, W); pixels of another value than 0..K-1, such as
            255, do not count.

    Returns:
        The mean over all pixels that count, float scalar; 0 if there is none.
    """
    batch, count, classes = logits.shape
    offsets = count * torch.arange(batch, device=logits.device)
    rows = superpixels + offsets[:, None, None]
    pixels = contingency(rows, labels, (batch * count, classes)).float()
    losses = -F.log_softmax(logits.float(), -1).flatten(0, 1)
    return (pixels * losses).sum() / pixels.sum().clamp(min=1)


def enlarged_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels of a batch, to whose size scores are enlarged bilinearly.

    Args:
        scores: On a map of any size, float (B, K, h, w).
        labels: See `pixel_cross_entropy`.

    Returns:
        The mean over all pixels that count, float scalar; 0 if there is none.
    """
    enlarged = F.interpolate(scores.float(), labels.shape[-2:], mode="bilinear")
    void = (labels < 0) | (labels >= scores.size(1))
    labels = labels.long().masked_fill(void, -1)
    total = F.cross_entropy(enlarged, labels, ignore_index=-1, reduction="sum")
    return total / (~void).sum().clamp(min=1)
