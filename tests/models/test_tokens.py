"""Superpixel tokens against averages over pixels."""

import pytest
import torch
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.models.positions import Positions
from cast_exp.models.stem import ConvStem
from cast_exp.models.tokens import SuperpixelTokens
from cast_exp.ops import Superpixels

SIDE = 32


def tokens(sampling: str = "nearest", mask_empty: bool = True) -> SuperpixelTokens:
    torch.manual_seed(0)
    return SuperpixelTokens(ConvStem(16), Positions(16, (4, 4)), sampling, mask_empty).eval()


def read(
    make: SuperpixelTokens, images: torch.Tensor, maps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens, and which of them are empty."""
    reading = make.reading(images, Superpixels.of(maps))
    return make(images, reading), reading.empty


def halves() -> torch.Tensor:
    """Two superpixels with a slanted border between them."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (x + y // 2 > 20).long()[None]


@pytest.mark.parametrize("sampling", ["nearest", "interpolated"])
@torch.no_grad()
def test_a_token_is_the_mean_of_features_and_codes(sampling: str) -> None:
    make, images, maps = tokens(sampling), torch.randn(1, 3, SIDE, SIDE), halves()
    projected = make.stem.project(make.stem(images).movedim(1, -1)).movedim(-1, 1)
    codes = make.positions.at(4, 4)
    if sampling == "nearest":
        pixels, labels = projected + codes, maps[0, ::8, ::8]
    else:
        pixels = F.interpolate(projected, (SIDE, SIDE), mode="bilinear")
        pixels = pixels + F.interpolate(codes, (SIDE, SIDE), mode="bicubic")
        labels = maps[0]
    found, empty = read(make, images, maps)
    assert found.shape == (1, 2, 16)
    assert not empty.any()
    for label in range(2):
        expected = pixels[0][:, labels == label].mean(1)
        torch.testing.assert_close(found[0, label], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampling", ["nearest", "interpolated"])
@torch.no_grad()
def test_a_label_without_pixels_is_a_zero_token(sampling: str) -> None:
    found, empty = read(
        tokens(sampling), torch.randn(2, 3, SIDE, SIDE), torch.cat([halves() * 2] * 2)
    )
    assert empty.tolist() == [[False, True, False]] * 2
    assert not found[:, 1].any()
    assert found[:, [0, 2]].abs().sum(-1).min() > 0


@torch.no_grad()
def test_a_superpixel_between_the_grid_cells_reads_the_cell_under_its_centroid() -> None:
    images, maps = torch.randn(1, 3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    maps[0, 11:16, 17:20] = 1  # no pixel at a multiple of 8; the centroid is (13, 18)
    on_cell = maps.clone()
    on_cell[0, 16:24, 16:24] = 2  # whose only cell, at pixel (16, 16), is the nearest to that
    found, empty = read(tokens(), images, maps)
    expected, _ = read(tokens(), images, on_cell)
    assert not empty.any()
    torch.testing.assert_close(found[0, 1], expected[0, 2])
    official, lost = read(tokens(mask_empty=False), images, maps)
    assert lost.tolist() == [[False, True]]
    assert not official[0, 1].any()


def test_a_map_of_another_size_is_for_interpolation() -> None:
    images, half = torch.randn(1, 3, SIDE, SIDE), halves()[:, ::2, ::2]
    with pytest.raises(UserError, match=r"\(16, 16\) pixels do not fit .*model.sampling=interp"):
        read(tokens(), images, half)
    assert read(tokens("interpolated"), images, half)[0].shape == (1, 2, 16)
