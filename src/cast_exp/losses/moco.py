"""Contrast between queries and keys (MoCo-v3: Chen et al., 2021)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.distributed import gather, rank


def moco_loss(queries: Tensor, keys: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Find each query's own key among the keys of all processes.

    2 T * cross-entropy of cosine similarities over T, at least in float32; one of the two halves of
    the symmetric loss. All processes must have batches of one size. No gradient flows to the keys.

    Args:
        queries: Of this process, float (B, C), of any length.
        keys: Likewise; row i belongs to query i.
        temperature: T, above 0.

    Returns:
        The loss, and the share (0..1) of queries whose own key is the most similar.
    """
    with torch.autocast(queries.device.type, enabled=False):
        precision = torch.promote_types(queries.dtype, torch.float32)
        queries = F.normalize(queries.to(precision), dim=1)
        keys = gather(F.normalize(keys.detach().to(precision), dim=1))
        logits = queries @ keys.mT / temperature
        own = torch.arange(len(queries), device=queries.device) + len(queries) * rank()
        loss = 2 * temperature * F.cross_entropy(logits, own)
    return loss, (logits.argmax(1) == own).float().mean()
