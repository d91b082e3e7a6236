"""Checkpoints in the layout of our runs."""

from pathlib import Path

import torch

from cast_exp.checkpoints.files import CONFIG, PREFIX
from cast_exp.models import Pooling, Size, create_model

SIZE = Size(24, (1, 1), heads=3)


def own(**options):
    """A checkpoint in the layout of our runs, and its backbone."""
    model = create_model(SIZE, pooling=Pooling((4, 2)), image_size=32, **options)
    weights = {PREFIX + name: value for name, value in model.state_dict().items()}
    weights["head.weight"] = torch.ones(3)
    return {CONFIG: model.config.to_dict(), "state_dict": weights}, model


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def saved(folder, checkpoint):
    """Path of a file in the folder, in which a checkpoint has been saved."""
    path = Path(folder) / "checkpoint.pth"
    torch.save(checkpoint, path)
    return path


def nested(depth):
    """An empty list inside of so many others."""
    inside = []
    for _ in range(depth):
        inside = [inside]
    return inside
