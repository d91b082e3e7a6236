"""The largest weights that hold a share of all weight."""

import torch
from torch import Tensor


def kept_mass(weights: Tensor, share: float, sizes: Tensor | None = None) -> Tensor:
    """Choose the largest weights that together hold a share of their sum (as DINO does).

    In ascending order, a weight stays if it and all before it hold more than `1 - share`: the
    share is reached, and the weight that crosses it stays too.

    Args:
        weights: Not negative, float (..., N).
        share: 0..1.
        sizes: Order by weight per size instead, as if each weight were spread evenly over that
            many pixels; what has no pixel is left out. Broadcast to (..., N); None for no sizes.

    Returns:
        The chosen ones, bool (..., N); none where all weights are zero.
    """
    weights = weights.double()
    density = weights
    if sizes is not None:
        weights = weights * (sizes > 0)
        density = weights / sizes.clamp(min=1)
    order = density.argsort(dim=-1, stable=True)
    mass = weights.gather(-1, order).cumsum(-1)
    kept = mass / mass[..., -1:] > 1 - share
    return torch.zeros_like(kept).scatter(-1, order, kept)
