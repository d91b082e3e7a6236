"""Position codes on a grid: fixed sin-cos or learned, brought to any input size."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PositionKind = Literal["sincos", "learned"]


def sincos_grid(dim: int, rows: int, columns: int) -> Tensor:
    """Two-dimensional sin-cos code, float32 (1, dim, rows, columns) on the CPU.

    The channels are [sin(r w), cos(r w), sin(c w), cos(c w)] for row r, column c and dim/4
    frequencies w_j = 10000^(-j / (dim / 4)).

    Raises:
        ValueError: `dim` is not divisible by four.
    """
    if dim % 4:
        raise ValueError(f"a sin-cos position code needs a width divisible by 4, not {dim}")

    def steps(count: int) -> Tensor:
        # On the CPU whatever the default device is: not all have float64.
        return torch.arange(count, dtype=torch.float64, device="cpu")

    frequencies = 10000.0 ** (-steps(dim // 4) / (dim // 4))
    row = steps(rows)[None, :, None] * frequencies[:, None, None]
    column = steps(columns)[None, None, :] * frequencies[:, None, None]
    row = row.expand(-1, rows, columns)
    column = column.expand(-1, rows, columns)
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()])[None].float()


class Positions(nn.Module):
    """Position codes of the feature grid and of the class token.

    `sincos` is fixed (self-supervised models; the class token's code is zero), `learned` is trained
    (supervised models).

    Args:
        dim: Width of the codes.
        grid: Rows and columns the codes are stored at; 28 is a 224-pixel image at stride 8.
        kind: "sincos" or "learned".
    """

    def __init__(self, dim: int, grid: tuple[int, int], kind: PositionKind = "sincos") -> None:
        super().__init__()
        self.kind = kind
        self.grid: Tensor
        self.cls: Tensor
        if kind == "sincos":
            cls, codes = torch.zeros(1, 1, dim), torch.empty(1, dim, *grid)
            if not codes.is_meta:
                codes = sincos_grid(dim, *grid).to(codes.device)
            self.register_buffer("grid", codes)
            self.register_buffer("cls", cls)
        else:
            self.grid = nn.Parameter(torch.empty(1, dim, *grid))
            self.cls = nn.Parameter(torch.empty(1, 1, dim))
            nn.init.trunc_normal_(self.grid, std=0.02)
            nn.init.trunc_normal_(self.cls, std=0.02)

    def at(self, rows: int, columns: int) -> Tensor:
        """Codes (1, dim, rows, columns), resized bicubically where the stored grid differs."""
        return resize_grid(self.grid, rows, columns)


def resize_grid(grid: Tensor, rows: int, columns: int) -> Tensor:
    """Bicubic resize (corners not aligned) of a grid (1, dim, h, w) to (1, dim, rows, columns)."""
    if tuple(grid.shape[-2:]) == (rows, columns):
        return grid
    return F.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
