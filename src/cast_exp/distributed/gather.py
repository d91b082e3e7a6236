"""Tensors of all processes joined; in a single process nothing happens."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cast_exp.errors import UserError


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(tensor: Tensor) -> Tensor:
    """Join the tensors of all processes along the first dimension, in the order of the ranks.

    The gradient of a row reaches the process it came from, summed over all that use it.

    Args:
        tensor: Of the same shape (N, ...) and type in all processes.

    Returns:
        (processes * N, ...).
    """
    if world_size() == 1:
        return tensor
    joined: Tensor = _Gather.apply(tensor)
    return joined


def require_equal(batch_size: int, device: torch.device) -> None:
    """Check that all processes have batches of one size; the host waits for the device.

    Raises:
        UserError: They have not.
    """
    if world_size() == 1:
        return
    sizes = _sizes(batch_size, device)
    if len(set(sizes)) > 1:
        raise UserError(
            f"the processes have batches of {', '.join(map(str, sizes))} images, but keys can only "
            "be gathered from batches of one size; leave the last, incomplete batch out "
            "(data.drop_last=true)"
        )


def _sizes(size: int, device: torch.device) -> list[int]:
    sizes: list[int] = gather(torch.tensor([size], device=device)).tolist()
    return sizes


class _Gather(torch.autograd.Function):
    """torch's own differentiable collectives are deprecated without a public replacement."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        joined = tensor.new_empty(world_size() * tensor.size(0), *tensor.shape[1:])
        dist.all_gather_into_tensor(joined, tensor.contiguous())
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed.chunk(world_size())[rank()]
