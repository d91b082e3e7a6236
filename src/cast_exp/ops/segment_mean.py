"""Mean of features over the segments of a label map."""

import torch
from torch import Tensor

from cast_exp.ops.sparse_product import sparse_product


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

    Raises:
        ValueError: A label lies outside 0..count-1.
    """
    batch, _, width = features.shape
    table = features.to(sum_type(features)).flatten(0, 1)
    check_labels(segments, count)
    rows = (segments + count * torch.arange(batch, device=segments.device)[:, None]).flatten()
    sizes = torch.bincount(rows, minlength=batch * count).view(batch, count)
    places = torch.arange(len(rows), device=rows.device)
    sums = sparse_product(table, rows, places, None, batch * count)
    means = sums.view(batch, count, width) / sizes.clamp(min=1)[..., None]
    return means, sizes.to(means.dtype)


def sum_type(features: Tensor) -> torch.dtype:
    """Type in which features are summed: float64 if that is theirs, float32 otherwise."""
    return torch.promote_types(features.dtype, torch.float32)


def check_labels(labels: Tensor, count: int) -> None:
    """Raise ValueError if a label lies outside 0..count-1; it would count for another image."""
    low, high = torch.stack(labels.aminmax()).tolist()
    if low < 0 or high >= count:
        raise ValueError(f"labels of {count} segments are 0..{count - 1}, not {low}..{high}")
