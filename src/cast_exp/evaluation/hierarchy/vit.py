"""The hierarchy that spherical K-Means makes of a plain vision transformer, to compare with."""

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.checkpoints.load import load_pretrained
from cast_exp.data import Scene
from cast_exp.errors import UserError
from cast_exp.evaluation.hierarchy.spherical import spherical_levels
from cast_exp.models import Backbone


def load_vit(checkpoint: str, key: str) -> Backbone:
    """Load a ViT.

    Args:
        checkpoint: See `load_pretrained`.
        key: What names it in the config, for messages.

    Raises:
        UserError: It cannot be loaded, or is no ViT.
    """
    vit = load_pretrained(checkpoint)
    if not vit.patch_size:
        raise UserError(
            f"{key}={checkpoint} is a {type(vit).__name__}; name a ViT's checkpoint, or null"
        )
    return vit


@torch.no_grad()
def vit_levels(vit: Backbone, scene: Scene, counts: list[int], seed: int) -> list[Tensor]:
    """Cluster the pixels of a scene by the tokens of a ViT, which sees it in whole patches.

    Args:
        vit: In evaluation mode.
        scene: The scene.
        counts: Segments at each level, fine to coarse.
        seed: Of the random start, together with the number of the scene.

    Returns:
        See `spherical_levels`, on the CPU, at the size of the truth.
    """
    device = next(vit.parameters()).device
    there = scene.to(device)
    sides = [max(round(s / vit.patch_size), 1) * vit.patch_size for s in scene.image.shape[-2:]]
    encoded = vit(
        F.interpolate(there.image, sides, mode="bilinear", antialias=True), there.superpixels
    )
    assert encoded.grid is not None
    tokens = encoded.levels[0].tokens[0].float().T.unflatten(1, encoded.grid)
    size = (scene.full_superpixels.size(0), scene.full_superpixels.size(1))
    with torch.autocast(device.type, enabled=False):
        levels = spherical_levels(tokens, size, counts, seed=(seed, scene.index))
    return [level.cpu() for level in levels]
