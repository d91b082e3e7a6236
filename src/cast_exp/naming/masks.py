"""Segments by SAM (Kirillov et al., 2023), which may overlap and leave pixels out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cast_exp.checkpoints.files import read_checkpoint
from cast_exp.errors import UserError
from cast_exp.extras import from_extra

_WIDTH = "image_encoder.patch_embed.proj.bias"
_KINDS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""The builder of segment_anything for weights of each width."""


def load_sam(path: str | Path) -> nn.Module:
    """Load a model of the library segment_anything.

    Args:
        path: Its weights, as published: ViT-B, L or H, told from the weights themselves.

    Raises:
        UserError: The library is not installed, or the file is missing or holds something else.
    """
    library = _segment_anything()
    state = read_checkpoint(Path(path))
    width = len(state[_WIDTH]) if isinstance(state.get(_WIDTH), Tensor) else 0
    if width not in _KINDS:
        raise UserError(f"{path} does not hold weights of SAM (ViT-B, L or H)")
    model: nn.Module = library.sam_model_registry[_KINDS[width]]()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not hold all weights of SAM, or others as well") from error
    return model.requires_grad_(False)


@torch.no_grad()
def sam_masks(model: nn.Module, image: NDArray[np.uint8]) -> Tensor:
    """Segment an image by the library's automatic mask generator, as it is set by default.

    Args:
        model: See `load_sam`.
        image: RGB, uint8 (H, W, 3).

    Returns:
        Masks, largest first, bool (N, H, W); there may be none.
    """
    generator = _segment_anything().SamAutomaticMaskGenerator(model)
    found = sorted(generator.generate(image), key=lambda mask: -mask["area"])
    masks = np.zeros((len(found), *image.shape[:2]), np.bool_)
    for number, mask in enumerate(found):
        masks[number] = mask["segmentation"]
    return torch.from_numpy(masks)


def _segment_anything() -> Any:
    return from_extra("open", "a mask of SAM", "segment_anything")
