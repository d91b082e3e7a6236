"""k-nearest-neighbour accuracy of encoded images, the search shared by all processes."""

from functools import partial

import torch

from cast_exp.data.features import Features
from cast_exp.distributed import gather_objects, rank, together, world_size
from cast_exp.metrics import knn_hits


def knn_accuracy(
    memory: Features,
    queries: Features,
    classes: int,
    neighbours: int,
    temperature: float,
    device: torch.device,
) -> dict[str, float]:
    """Let encoded images vote on others (see `knn_hits`), each process on its share of these.

    Args:
        memory: All that vote, the same on all processes.
        queries: All that are voted on, likewise.
        classes: Number of classes.
        neighbours: How many vote on each.
        temperature: Of their votes.
        device: Where to search.

    Returns:
        "top1" and "top5" in 0..1, the same on all processes.

    Raises:
        ValueError: See `knn_hits`.
        UserError: The search failed on another process.
    """
    share = slice(rank(), None, world_size())
    columns = memory.features, memory.label, queries.features[share], queries.label[share]
    vote = partial(knn_hits, classes=classes, neighbours=neighbours, temperature=temperature)
    hits = together(lambda: vote(*(column.to(device) for column in columns)).cpu())
    top1, top5 = (torch.stack(gather_objects(hits)).sum(0) / len(queries)).tolist()
    return {"top1": top1, "top5": top5}
