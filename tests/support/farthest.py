"""Farthest tokens by their definition, and images to try them on."""

import numpy as np
import torch


def one_by_one(tokens, count, padding, masked):
    """The definition, for one image."""
    points, padding = tokens.double().numpy(), padding.numpy()
    compared = np.float32 if masked else np.float64
    free = {i for i in range(len(points)) if not padding[i]}
    chosen, latest = [], points[~padding].mean(0)
    nearest = np.full(len(points), np.inf, compared)
    while len(chosen) < count:
        distances = np.square(points - latest).sum(1).astype(compared)
        nearest = np.minimum(nearest, distances)
        best = max(free, key=lambda i: (nearest[i], -i), default=0)
        if not masked and free and nearest[best] == 0:
            best, free = 0, set()
        if masked:
            free -= {best}
        chosen.append(best)
        latest = points[best] if free else latest
    return chosen


def images_of(kind, batch, number, width, dtype):
    padding = torch.rand(batch, number) < 0.3
    padding[torch.arange(batch), torch.randint(number, (batch,))] = False
    tokens = torch.randn(batch, number, width)
    if kind == "repeated":
        tokens = tokens[:, torch.randint(max(1, number // 3), (number,))]
    elif kind == "mirrored":
        tokens = 3.3 + torch.cat([tokens, -tokens], 1)[:, number // 2 :][:, :number]
    elif kind == "few values":  # whose mean is one too, so nothing is rounded
        tokens = tokens.round() * (~padding).sum(1)[:, None, None]
    return tokens.to(dtype).masked_fill(padding[..., None], torch.nan), padding


def require_definition(compute, kind, batch, number, width, count, dtype, masked):
    torch.manual_seed(number)
    tokens, padding = images_of(kind, batch, number, width, dtype)
    found = compute(tokens, count, padding, masked)
    assert (found.shape, found.dtype) == ((batch, count), torch.int64)
    for image in range(batch):
        expected = one_by_one(tokens[image], count, padding[image], masked)
        assert found[image].tolist() == expected, f"image {image}"


# Mirrored tokens are as far from the mean as each other but for rounding, which not masked decides.
KINDS = [(kind, True) for kind in ("plain", "repeated", "few values", "mirrored")]
KINDS += [(kind, False) for kind in ("plain", "repeated", "few values")]
