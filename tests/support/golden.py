"""Weights and outputs of the official model, filled and stored by one rule."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cast_exp.models.positions import sincos_grid

GOLDEN = Path(__file__).parents[1] / "golden"


def read(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and arrays of a golden pair."""
    config = json.loads((GOLDEN / f"{name}.json").read_text())
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return config, dict(arrays)


def fill(name: str, shape: list[int]) -> Tensor:
    """One tensor: noise seeded by its name, scaled by what it is."""
    size = int(np.prod(shape))
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(size).reshape(shape)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        noise = 1 + 0.1 * np.abs(noise)
    elif last == "running_mean":
        noise = 0.1 * noise
    elif last == "num_batches_tracked":
        return torch.tensor(0)
    elif last == "weight":
        noise = 1 + 0.1 * noise if len(shape) == 1 else noise / np.sqrt(np.prod(shape[1:]))
    elif last == "bias":
        noise = 0.05 * noise
    else:
        noise = 0.2 * noise
    return torch.from_numpy(np.asarray(noise)).float()


def official_state(config: dict[str, Any], sincos: bool) -> dict[str, Tensor]:
    """State dict of an official model; the blocks stored twice are filled alike."""
    shapes = config["state_dict_shapes"]
    state = {}
    for name, shape in shapes.items():
        twin = re.sub(r"^blocks\d\.", "blocks.", name)
        state[name] = fill(twin if twin in shapes else name, shape)
    if sincos:
        _, count, dim = shapes["pos_embed"]
        side = round(count**0.5)
        state["pos_embed"] = sincos_grid(dim, side, side).flatten(2).transpose(1, 2)
        state["pe_token"] = torch.zeros(1, 1, dim)
    return state
