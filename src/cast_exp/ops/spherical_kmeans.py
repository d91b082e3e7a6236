"""K-Means on the unit sphere, from given labels."""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def spherical_kmeans(
    points: Tensor, labels: Tensor, count: int, *, iterations: int, weights: Tensor | None = None
) -> Tensor:
    """Move prototypes to the direction of their points, points to the nearest prototype; repeat.

    A prototype is the normalised (weighted) sum of the unit vectors of its points, and a point goes
    to the prototype of largest dot product; ties go to the lowest label. The prototype of an empty
    cluster is the zero vector, which still takes points that all others are opposed to (Hwang et
    al., "SegSort", 2019).

    Args:
        points: Directions, float (P, C); their lengths do not matter.
        labels: Clusters to start from, 0..count-1, int64 (P,).
        count: Number of clusters K.
        iterations: How often prototypes and labels are found anew.
        weights: How much each point counts in its prototype, as pixels of a superpixel; float or
            integer (P,). A point of weight 0 moves nothing, but is assigned. None for all alike.

    Returns:
        Cluster of each point, int64 (P,).
    """
    points = F.normalize(points.float(), dim=1)
    for _ in range(iterations):
        members = F.one_hot(labels, count).to(points.dtype)
        if weights is not None:
            members *= weights[:, None]
        prototypes = F.normalize(members.T @ points, dim=1)
        labels = (points @ prototypes.T).argmax(1)
    return labels
