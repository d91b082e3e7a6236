"""Encodings of segments against one masked image at a time, made the plain way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from cast_exp.naming import ImageText, encode_segments, load_image_text, stored_encodings


@pytest.fixture(scope="module")
def model(image_text: Path) -> ImageText:
    return load_image_text(str(image_text))


def picture(height: int, width: int) -> Tensor:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(256, size=(4, 5, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).movedim(-1, 0) / 255


@torch.no_grad()
def test_a_segment_is_seen_alone_at_its_place(model: ImageText) -> None:
    image = picture(32, 32)
    labels = torch.arange(32)[:, None] // 12 * 2 + torch.arange(32) // 16
    masks = labels == torch.arange(6)[:, None, None]
    found = encode_segments(model, image, masks, batch_size=4)
    for mask, encoding in zip(masks, found, strict=True):
        seen = (image - model.mean) / model.std
        seen[:, ~mask] = 0.5  # of normalised values, as in the official release
        expected = F.normalize(model.model.encode_image(seen[None])[0], dim=0)
        assert torch.allclose(encoding, expected, atol=1e-5)


@torch.no_grad()
def test_another_shape_is_not_cut(model: ImageText) -> None:
    image, masks = picture(24, 64), torch.zeros(2, 24, 64, dtype=torch.bool)
    masks[0, :, 60:] = True  # beyond the central square
    masks[1, 5, 7] = True  # vanishes at half the size
    found = encode_segments(model, image, masks)
    small = F.interpolate(image[None], (12, 32), mode="bicubic", antialias=True)[0].clamp(0, 1)
    for encoding, at in zip(found, ((slice(0, 12), slice(30, 32)), (2, 3)), strict=True):
        seen = torch.full((3, 32, 32), 0.5)
        seen[:, 10:22][(slice(None), *at)] = ((small - model.mean) / model.std)[(slice(None), *at)]
        expected = F.normalize(model.model.encode_image(seen[None])[0], dim=0)
        assert torch.allclose(encoding, expected, atol=1e-5)


def test_the_same_segment_is_encoded_once_and_kept(
    model: ImageText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, masks = picture(32, 32), torch.zeros(4, 32, 32, dtype=torch.bool)
    masks[:2, :9] = masks[2:, 9:] = True
    seen: list[int] = []
    encode = ImageText.encode_images
    monkeypatch.setattr(
        ImageText, "encode_images", lambda self, x: (seen.append(len(x)), encode(self, x))[1]
    )
    path = tmp_path / "kept.safetensors"
    first = stored_encodings(path, model, image, masks)
    assert seen == [2]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    assert torch.equal(stored_encodings(path, model, image, masks), first)
    assert seen == [2]
    stored_encodings(path, model, image.flip(-1), masks)
    stored_encodings(path, model, image.flip(-1), masks[:3])
    assert seen == [2, 2, 2]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert torch.equal(stored_encodings(path, model, image, masks), first)
