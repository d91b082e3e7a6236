"""Farthest tokens of images, as one operator that never makes the host wait for a GPU."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops.exporting import exporting
from cast_exp.ops.farthest_point import farthest_point_sampling
from cast_exp.ops.triton_there import kernels_there


def farthest_tokens(tokens: Tensor, count: int, padding: Tensor, masked: bool = True) -> Tensor:
    """Choose tokens one by one, each the farthest from the mean token and those chosen before.

    Distances are Euclidean and computed in float64; ties go to the lowest index. It is one operator
    to `torch.compile`, `cast_exp::farthest_tokens`, and a loop of standard ones where a model is
    exported. On CUDA it is one kernel launch and reads nothing back; devices without float64 (MPS)
    have it computed on the CPU.

    Args:
        tokens: Tokens, float (B, N, C).
        count: How many to choose.
        padding: Tokens that are empty, bool (B, N). They are no part of the mean.
        masked: Choose no empty token and none twice while another is left; squared distances that
            agree in float32 tie. Otherwise empty tokens lie at the mean, and distances are compared
            in float64, where rounding errors, which differ between devices, can break a tie.

    Returns:
        Indices in the order of choice, int64 (B, count). Token 0 stands in once no token is left
        or, not masked, once every distance is zero.

    Raises:
        ValueError: `count` is below 1, there are no tokens, or `padding` is not bool (B, N).
    """
    number = tokens.size(1)
    if count < 1 or number < 1:
        raise ValueError(f"cannot choose {count} of {number} tokens")
    if padding.shape != tokens.shape[:2] or padding.dtype != torch.bool:
        raise ValueError(
            f"padding must be bool {tuple(tokens.shape[:2])}, "
            f"not {padding.dtype} {tuple(padding.shape)}"
        )
    choose = by_differences if exporting() else _operator
    chosen: Tensor = choose(tokens.detach(), count, padding, masked)
    return chosen


def by_cpu(tokens: Tensor, count: int, padding: Tensor, masked: bool) -> Tensor:
    """What `farthest_tokens` is, computed on the CPU wherever the tokens are."""
    device = tokens.device
    tokens, padding = tokens.cpu(), padding.cpu()
    batch, number, width = tokens.shape
    points = torch.empty(batch, number + 1, width, dtype=torch.float64, device="cpu")
    mean, rest = points[:, :1], points[:, 1:]
    rest.copy_(tokens)
    rest[padding] = 0
    mean.copy_(rest.sum(1, keepdim=True) / (~padding).sum(1).clamp(min=1)[:, None, None])
    rest[padding] = mean.expand_as(rest)[padding]
    valid = F.pad(~padding, (1, 0), value=True) if masked else None
    chosen = farthest_point_sampling(points, count + 1, valid=valid)
    # The mean only starts the search. The official sampler can fall back to it when an image has
    # too few distinct tokens; the first token stands in for it then.
    return (chosen[:, 1:] - 1).clamp(min=0).to(device)


_operator = torch.library.custom_op("cast_exp::farthest_tokens", by_cpu, mutates_args=())


@_operator.register_fake
def _(tokens: Tensor, count: int, padding: Tensor, masked: bool) -> Tensor:
    return tokens.new_empty(tokens.size(0), count, dtype=torch.int64)


@_operator.register_kernel("cuda")
def _(tokens: Tensor, count: int, padding: Tensor, masked: bool) -> Tensor:
    if not kernels_there():
        return by_differences(tokens, count, padding, masked)
    from cast_exp.ops.farthest_kernel import by_kernel

    return by_kernel(tokens, count, padding, masked)


def by_differences(tokens: Tensor, count: int, padding: Tensor, masked: bool) -> Tensor:
    """What `farthest_tokens` is, as a loop of standard operators without a look at values."""
    empty = padding[..., None]
    points = tokens.double().masked_fill(empty, 0)
    latest = points.sum(1, keepdim=True) / (~empty).sum(1, keepdim=True).clamp(min=1)
    # What a token gets that is not to be chosen, the least of all; another must have more.
    taken = -1.0 if masked else 0.0
    nearest = points.new_full(padding.shape, torch.inf, dtype=torch.float32 if masked else None)
    nearest = nearest.masked_fill(padding, taken)
    chosen = []
    for _ in range(count):
        distances = (points - latest).square().sum(-1)
        nearest = torch.minimum(nearest, distances.to(nearest.dtype))
        distance, index = nearest.max(1, keepdim=True)
        index = torch.where(distance > taken, index, 0)
        nearest = nearest.scatter(1, index, taken)
        latest = points.gather(1, index[..., None].expand(-1, -1, points.size(-1)))
        chosen.append(index)
    return torch.cat(chosen, 1)
