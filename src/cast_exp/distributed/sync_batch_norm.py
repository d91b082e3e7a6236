"""Batch norm over the batches of all processes, with entries that count more or not at all."""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from cast_exp.distributed.gather import gather, world_size


class SyncBatchNorm(_BatchNorm):
    """Batch norm by the statistics of all processes, if wanted of some entries only.

    Unlike `torch.nn.SyncBatchNorm` it runs on any device and never makes the host wait for it:
    all shapes are fixed.

    Attributes:
        clamp: Where processes are synchronised, raise variances below `eps` to it in the place of
            adding it to all, as the official fine-tuning for segmentation does.
    """

    clamp: bool = False

    def forward(self, input: Tensor, counts: Tensor | None = None) -> Tensor:
        """Normalise; in evaluation by the running statistics, whatever the counts.

        Args:
            input: float (B, C, ...); B and the rest may differ between processes.
            counts: How often each entry counts, bool or integer (B, ...); None for once.

        Returns:
            As ``input``. Entries that do not count are normalised like the others (finite if they
            are), but in training they get no gradient and pass none on.
        """
        if not self.training or (counts is None and world_size() == 1):
            return super().forward(input)
        keep = None if counts is None else counts.unsqueeze(1)
        with torch.no_grad():
            count, mean, var = _joined(*_moments(input, keep))
            self._track(count, mean, var)
        weight = torch.ones_like(mean) if self.weight is None else self.weight.to(mean.dtype)
        bias = torch.zeros_like(mean) if self.bias is None else self.bias.to(mean.dtype)
        clamp = self.clamp and world_size() > 1
        output: Tensor = _Normalise.apply(
            input, keep, weight, bias, count, mean, var, self.eps, clamp
        )
        return output

    def _track(self, count: Tensor, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        kind = self.running_mean.dtype
        momentum: Any = self.momentum
        if momentum is None:
            momentum = self.num_batches_tracked.reciprocal().to(kind)
        momentum = momentum * (count > 0).to(kind)  # of nothing there is nothing to learn
        self.running_mean.lerp_(mean.to(kind), momentum)
        self.running_var.lerp_((var * count / (count - 1).clamp(min=1)).to(kind), momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any input: the layer that this one stands in for has been built for it."""


def _moments(x: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Number (1,), mean (C,) and biased variance (C,) in this process, in float32 at least."""
    kind = torch.promote_types(x.dtype, torch.float32)
    if keep is None:
        unused = torch.zeros(2, x.size(1), dtype=kind, device=x.device)
        mean, var = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)  # one pass
        return mean.new_full((1,), x.numel() / x.size(1)), mean, var
    dims = _all_but_channels(x)
    x = x.to(kind)
    count = keep.sum().to(kind).view(1)
    mean = torch.where(keep > 0, x * keep, 0).sum(dims, keepdim=True) / count.clamp(min=1)
    var = torch.where(keep > 0, (x - mean).square() * keep, 0).sum(dims) / count.clamp(min=1)
    return count, mean.flatten(), var


def _joined(count: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same over all processes: the mean of the variances plus the variance of the means."""
    rows = gather(torch.cat([count, mean, var])[None])
    counts, (means, variances) = rows[:, :1], rows[:, 1:].chunk(2, 1)
    total = counts.sum(0)
    shares = counts / total.clamp(min=1)
    mean = (shares * means).sum(0)
    return total, mean, (shares * (variances + (means - mean).square())).sum(0)


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.ndim) if dim != 1]


class _Normalise(torch.autograd.Function):
    """Batch norm by given statistics; its gradient is that of statistics that depend on the input.

    The kernels are those of torch's batch norm: few passes over the input, in any memory layout,
    with sums in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        keep: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        count: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        clamp: bool,
    ) -> Tensor:
        clamped = var < eps if clamp else torch.zeros_like(var, dtype=torch.bool)
        if clamp:
            var, eps = var.clamp(min=eps), 0.0
        ctx.save_for_backward(x, keep, weight, count, mean, var, clamped)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, keep, weight, count, mean, var, clamped = ctx.saved_tensors
        gradient = gradients[0] if keep is None else torch.where(keep > 0, gradients[0], 0)
        inverse = torch.rsqrt(var + ctx.eps)
        _, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, var, mean, inverse, False, ctx.eps, [False, True, True]
        )
        sums = torch.cat([to_weight, to_bias])
        if world_size() > 1:
            dist.all_reduce(sums)
        scale = weight * inverse
        # scale * (gradient - mean of gradients - normalised x * mean of their products with it)
        product, constant = (-sums / count.clamp(min=1)).chunk(2)
        product = product.masked_fill(clamped, 0)  # such a variance does not depend on the input
        to_x = F.batch_norm(x, mean, var, scale * product, scale * constant, eps=ctx.eps)
        if keep is not None:
            to_x = torch.where(keep > 0, to_x * keep, 0)
        to_x.addcmul_(gradient, scale.view(-1, *[1] * (x.ndim - 2)))
        return to_x, None, to_weight, to_bias, None, None, None, None, None


class SyncBatchNormPlugin(LayerSync):
    """Plugin for a Lightning trainer of several processes: every batch norm is synchronised.

    A module whose `sync_batch_norm` is false is left as it is.
    """

    def __init__(self) -> None:
        self._kinds: dict[nn.Module, type[nn.Module]] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise every batch norm; they stay the same objects with the same parameters."""
        for module in model.modules() if getattr(model, "sync_batch_norm", True) else ():
            if isinstance(module, _BatchNorm):
                self._kinds[module] = type(module)
                module.__class__ = SyncBatchNorm
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Make them what they were."""
        for module, kind in self._kinds.items():
            module.__class__ = kind
        self._kinds.clear()
        return model
