"""Heads on top of image vectors and superpixel features."""

from abc import ABC, abstractmethod
from itertools import pairwise

from torch import Tensor, nn

from cast_exp.distributed import SyncBatchNorm


class ContrastiveMLP(nn.Sequential):
    """Projector and predictor of MoCo-v3 (Chen et al., 2021): linear, batch norm, ReLU, repeated.

    No layer has a bias, and the last is followed by a batch norm without scale and shift. Linear
    layers keep PyTorch's initialisation.

    Args:
        widths: Width of the input and of the output of each layer; four numbers for the projector,
            three for the predictor.
    """

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        last = len(widths) - 2
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += [nn.Linear(inputs, outputs, bias=False)]
            layers += [nn.BatchNorm1d(outputs, affine=i < last)]
            layers += [nn.ReLU(inplace=True)] if i < last else []
        super().__init__(*layers)


class Decoder(nn.Module, ABC):
    """Scores the classes of superpixels, from their fused features.

    Made of the width of the features and the number of classes, and of what its config says.

    Attributes:
        classes: Number of classes.
    """

    classes: int

    @abstractmethod
    def forward(self, features: Tensor, padding: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Score the superpixels of a batch.

        Args:
            features: float (B, N, C).
            padding: True where there is no superpixel, bool (B, N).
            sizes: How often each superpixel counts in batch statistics, int64 (B, N): with its
                pixels, as in the official release, whose head runs on pixels. None for once.

        Returns:
            Logits (B, N, classes), 0 where there is no superpixel.
        """

    @abstractmethod
    def reset_parameters(self) -> None:
        """Forget what was learned: weights are drawn anew."""


class SegmentationHead(nn.Sequential, Decoder):
    """Two layers: linear, batch norm, ReLU, linear (paper, fine-tuning on VOC).

    Layers keep PyTorch's initialisation.

    Args:
        dim: Width of the features.
        classes: Number of classes.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(
            nn.Linear(dim, dim, bias=False),
            SyncBatchNorm(dim),
            nn.ReLU(inplace=True),
            nn.Linear(dim, classes),
        )
        self.classes = classes

    def forward(  # type: ignore[override]
        self, features: Tensor, padding: Tensor, sizes: Tensor | None = None
    ) -> Tensor:
        """See `Decoder.forward`."""
        first, norm, activation, last = self
        counts = ~padding if sizes is None else sizes
        hidden = activation(norm(first(features).flatten(0, 1), counts.flatten()))
        logits: Tensor = last(hidden).view(*padding.shape, -1)
        return logits.masked_fill(padding[..., None], 0)

    def reset_parameters(self) -> None:
        """See `Decoder.reset_parameters`."""
        for layer in self:
            if isinstance(layer, nn.Linear | SyncBatchNorm):
                layer.reset_parameters()
