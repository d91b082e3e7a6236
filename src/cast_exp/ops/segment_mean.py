"""Mean of features over the segments of a label map."""

import torch
from torch import Tensor


def segment_mean(features: Tensor, segments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Average features inside each segment.

    Sums are accumulated in float32 (float64 for float64 features), whatever autocast is on.

    Args:
        features: Features, float (B, P, C).
        segments: Segment of each, 0..count-1, int64 (B, P).
        count: Number of segments.

    Returns:
        Means (B, count, C), zero for empty segments, and sizes (B, count), both in the type of the
        sums.
    """
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    batch, _, width = features.shape
    offsets = torch.arange(batch, device=segments.device)[:, None] * count
    index = (segments + offsets).flatten()
    sums = features.new_zeros(batch * count, width).index_add(0, index, features.flatten(0, 1))
    sizes = torch.bincount(index, minlength=batch * count).to(features.dtype)
    means = sums / sizes.clamp(min=1)[:, None]
    return means.view(batch, count, width), sizes.view(batch, count)
