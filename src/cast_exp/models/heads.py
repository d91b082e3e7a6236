"""Heads on top of an image vector."""

from itertools import pairwise

from torch import nn


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
