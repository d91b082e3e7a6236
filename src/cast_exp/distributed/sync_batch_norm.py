"""Batch norm over the batches of all processes on devices that torch's own does not support."""

import torch
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cast_exp.distributed.gather import gather, world_size


class SyncBatchNorm(_BatchNorm):
    """`torch.nn.SyncBatchNorm`, which is for GPUs, in plain operations that run on any device."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...); B and the rest may differ between processes."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        dims = [dim for dim in range(input.ndim) if dim != 1]
        shape = [-1 if dim == 1 else 1 for dim in range(input.ndim)]
        x = input.to(torch.promote_types(input.dtype, torch.float32))

        var, mean = torch.var_mean(x, dims, correction=0)
        count = mean.new_full((1,), x.numel() / x.size(1))
        counts, means, variances = torch.split(
            gather(torch.cat([count, mean, var])[None]),
            [1, self.num_features, self.num_features],
            dim=1,
        )
        # The joined variance is the mean of the variances plus the variance of the means.
        total = counts.sum().detach()
        shares = counts.detach() / total
        mean = (shares * means).sum(0)
        var = (shares * (variances + (means - mean).square())).sum(0)
        self._track(mean.detach(), var.detach() * total / (total - 1))

        scale = torch.rsqrt(var + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(input.dtype)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum or 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(var, momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any input: the layer that this one stands in for has been built for it."""


class SyncBatchNormPlugin(LayerSync):
    """Plugin for a Lightning trainer of several CPU processes: every batch norm is synchronised.

    On GPUs `Trainer(sync_batchnorm=True)` does the same with torch's own layer.
    """

    def __init__(self) -> None:
        self._kinds: dict[nn.Module, type[nn.Module]] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise every batch norm; they stay the same objects with the same parameters."""
        for module in model.modules():
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
