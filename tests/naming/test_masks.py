"""Masks of SAM: weights by their width, and the order of masks."""

import sys
from pathlib import Path

import numpy as np
import pytest
import segment_anything
import torch
from torch import nn

from cast_exp.errors import UserError
from cast_exp.naming.masks import load_sam, sam_masks

WIDTH = "image_encoder.patch_embed.proj.bias"


class Tiny(nn.Module):
    """What has the one weight that tells the kind."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image_encoder = nn.Module()
        self.image_encoder.patch_embed = nn.Module()
        self.image_encoder.patch_embed.proj = nn.Module()
        self.image_encoder.patch_embed.proj.bias = nn.Parameter(torch.zeros(width))


@pytest.mark.parametrize(("width", "kind"), [(768, "vit_b"), (1024, "vit_l"), (1280, "vit_h")])
def test_weights_tell_the_kind(
    width: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):  # which takes no memory
        built = segment_anything.sam_model_registry[kind]()
    assert built.state_dict()[WIDTH].shape == (width,)
    monkeypatch.setitem(segment_anything.sam_model_registry, kind, lambda: Tiny(width))
    state = {WIDTH: torch.arange(float(width))}
    torch.save(state, tmp_path / "sam.pth")
    loaded = load_sam(tmp_path / "sam.pth")
    assert torch.equal(loaded.state_dict()[WIDTH], state[WIDTH])
    torch.save(state | {"more": torch.zeros(1)}, tmp_path / "sam.pth")
    with pytest.raises(UserError, match="does not hold all weights of SAM, or others as well"):
        load_sam(tmp_path / "sam.pth")


def test_what_is_not_sam_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth does not hold weights of SAM"):
        load_sam(tmp_path / "other.pth")
    with pytest.raises(UserError, match="no checkpoint at"):
        load_sam(tmp_path / "missing.pth")
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(UserError, match=r"install it: pip install 'cast-exp\[open\]'"):
        load_sam(tmp_path / "other.pth")


def test_the_largest_mask_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((3, 4, 5), bool)
    masks[0, 0, 0] = masks[1, :, :4] = masks[2, 1:3] = True

    class Generator:
        def __init__(self, model: nn.Module) -> None:
            self.model = model

        def generate(self, image: np.ndarray) -> list[dict]:
            assert image.shape == (4, 5, 3)
            return [{"segmentation": m, "area": int(m.sum())} for m in masks[: self.model]]

    monkeypatch.setattr(segment_anything, "SamAutomaticMaskGenerator", Generator)
    image = np.zeros((4, 5, 3), np.uint8)
    assert torch.equal(sam_masks(3, image), torch.from_numpy(masks[[1, 2, 0]]))
    assert sam_masks(0, image).shape == (0, 4, 5)


@pytest.mark.slow
def test_the_library_segments_a_picture() -> None:
    torch.manual_seed(0)
    model = segment_anything.sam_model_registry["vit_b"]().eval()
    masks = sam_masks(model, np.zeros((64, 64, 3), np.uint8))
    assert masks.shape[1:] == (64, 64)
    areas = masks.flatten(1).sum(1)
    assert (areas[1:] <= areas[:-1]).all()
