"""Segments as an image-text model sees them, one at a time, and what it makes of them."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.data.stored import load_tensors, save_tensors
from cast_exp.naming.image_text import ImageText
from cast_exp.ops.labels import nearest

FILL = 0.5
"""What is outside a segment, of normalised values: no grey, but what the official release takes."""

_ENCODINGS = "encodings"


@torch.no_grad()
def encode_segments(model: ImageText, image: Tensor, masks: Tensor, batch_size: int = 64) -> Tensor:
    """Encode each segment alone, at its place in the image; everything else is `FILL`.

    The image keeps its shape: its longer side fills that of the model's input, the rest of which is
    `FILL` as well. Segments that are the same are encoded once.

    Args:
        model: The model.
        image: RGB, float (3, H, W) in 0..1.
        masks: The segments, which may overlap; each has a pixel, bool (N, H, W).
        batch_size: Segments encoded at once, at most.

    Returns:
        Of length one, float32 (N, D), on the CPU.
    """
    height, width = _inside(image.shape[-2:], model.size)
    device = model.mean.device
    seen = F.interpolate(
        image[None].float().to(device),
        (height, width),
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )[0]
    seen = (seen.clamp(0, 1) - model.mean) / model.std
    packed = np.packbits(masks.flatten(1).cpu().numpy(), 1)
    _, first, again = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    shown = _resized(masks[torch.from_numpy(first).to(masks.device)], height, width)
    above, left = (model.size[0] - height) // 2, (model.size[1] - width) // 2
    below, right = model.size[0] - height - above, model.size[1] - width - left
    encodings = []
    for part in torch.split(shown, batch_size):
        views = torch.where(part[:, None].to(device), seen, FILL)
        views = F.pad(views, (left, right, above, below), value=FILL)
        encodings.append(model.encode_images(views).cpu())
    return torch.cat(encodings)[torch.from_numpy(again.reshape(-1))]


def stored_encodings(
    path: Path, model: ImageText, image: Tensor, masks: Tensor, batch_size: int = 64
) -> Tensor:
    """As `encode_segments`, from a file if it has the encodings of these segments.

    Args:
        path: The file, written if it is not there or is of something else.
        model, image, masks, batch_size: See there.

    Raises:
        UserError: The disk is full.
    """
    key = sha256(f"{model.identity} {[*masks.shape]}".encode())
    for tensor in (image.float(), masks):
        key.update(tensor.cpu().contiguous().numpy().tobytes())
    known = load_tensors(path, key.hexdigest(), [_ENCODINGS])
    if known is not None:
        return known[_ENCODINGS]
    encodings = encode_segments(model, image, masks, batch_size)
    save_tensors(path, {_ENCODINGS: encodings}, key.hexdigest())
    return encodings


def _inside(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """The largest height and width of the proportions of an image that fit into a size."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    height, width = (
        min(max(round(side * scale), 1), most) for side, most in zip(shape, size, strict=True)
    )
    return height, width


def _resized(masks: Tensor, height: int, width: int) -> Tensor:
    """Masks of another size; those that would vanish have the pixels that they touch."""
    small = nearest(masks, height, width)
    lost = ~small.flatten(1).any(1)
    if lost.any():
        small[lost] = F.adaptive_max_pool2d(masks[lost].float(), (height, width)) > 0
    return small
