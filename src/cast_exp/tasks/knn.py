"""k-nearest-neighbour accuracy of encoded images, the search shared by all processes."""

import torch

from cast_exp.data.features import Features
from cast_exp.distributed import rank, together, world_size
from cast_exp.metrics import KNNAccuracy


def knn_accuracy(
    memory: Features,
    queries: Features,
    classes: int,
    neighbours: int,
    temperature: float,
    device: torch.device,
) -> dict[str, float]:
    """Let encoded images vote on others; each process searches for its share of the queries.

    Args:
        memory: All that vote, the same on all processes.
        queries: All that are voted on, likewise.
        classes: See `KNNAccuracy`.
        neighbours: See there.
        temperature: See there.
        device: Where to search.

    Returns:
        "top1" and "top5" in 0..1, the same on all processes.

    Raises:
        UserError: The search failed on another process.
        ValueError: Features that are not finite, or labels outside 0..classes-1.
    """
    share = slice(rank(), None, world_size())

    def search() -> KNNAccuracy:
        voters = memory.features.to(device), memory.label.to(device)
        metric = KNNAccuracy(*voters, classes, neighbours, temperature).to(device)
        metric.update(queries.features[share].to(device), queries.label[share].to(device))
        return metric

    return {name: float(value) for name, value in together(search).compute().items()}
