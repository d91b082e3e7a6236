"""SGD whose momentum holds the learning rate."""

import torch
from torch.optim import Optimizer


@torch.no_grad()
def keep_rate_in_momentum(optimizer: Optimizer) -> None:
    """Have the next step of torch's SGD be v <- m v + r (g + d p), p <- p - v.

    So does the official fine-tuning for segmentation, in which a changed rate `r` acts on new
    gradients `g` only. torch multiplies its buffer, v / r, by the present rate: it is scaled by the
    former rate over the present one.

    Args:
        optimizer: SGD with momentum `m` and weight decay `d`; called before each of its steps.
    """
    for group in optimizer.param_groups:
        former, group["former_lr"] = group.get("former_lr", group["lr"]), group["lr"]
        states = [optimizer.state[p] for p in group["params"] if p in optimizer.state]
        buffers = [s["momentum_buffer"] for s in states if s.get("momentum_buffer") is not None]
        if buffers and former != group["lr"] > 0:
            torch._foreach_mul_(buffers, former / group["lr"])
