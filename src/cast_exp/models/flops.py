"""Counts the arithmetic of a backbone."""

from typing import Any

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class FlopCount:
    """Floating point operations of one forward pass of a backbone.

    Counted are convolutions, matrix products and attention, where one multiply-add is two
    operations; not norms, activations, averages, and the choice of segment seeds.

    Args:
        model: Backbone, in evaluation mode.
        images: Images, float (B, 3, H, W).
        superpixels: Labels 0..N-1, int64 (B, H, W).
        options: Other arguments of `Backbone.forward`.

    Attributes:
        total: Operations of all of it, for the whole batch.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, superpixels: Tensor, **options: Any
    ) -> None:
        # The plain implementation of attention is the one that every release of torch counts.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(images, superpixels, **options)
        counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
        self.total: int = counts["Global"]
        root = type(model).__name__
        self._counts: dict[nn.Module, int] = {
            module: counts[f"{root}.{name}"]
            for name, module in model.named_modules()
            if f"{root}.{name}" in counts
        }

    def of(self, module: nn.Module) -> int:
        """Operations inside the `forward` of a part; if it has none, those of its children."""
        if module in self._counts:
            return self._counts[module]
        return sum(self.of(child) for child in module.children())
