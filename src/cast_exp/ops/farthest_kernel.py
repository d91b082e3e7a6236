"""Farthest tokens in one launch of a Triton kernel, one program per image."""

import torch
import triton
from torch import Tensor
from triton import language as tl


def by_kernel(tokens: Tensor, count: int, padding: Tensor, masked: bool) -> Tensor:
    """`cast_exp.ops.farthest_tokens` on CUDA; the arguments have been checked."""
    batch, number, width = tokens.shape
    mean = tokens.new_empty(batch, width, dtype=torch.float64)
    nearest = tokens.new_empty(batch, number, dtype=torch.float32 if masked else torch.float64)
    chosen = tokens.new_empty(batch, count, dtype=torch.int64)
    with torch.cuda.device_of(tokens):  # type: ignore[no-untyped-call]
        _choose[(batch,)](
            tokens,
            *tokens.stride(),
            padding.contiguous().view(torch.uint8),
            mean,
            nearest,
            chosen,
            number,
            width,
            count,
            TAKEN=-1.0 if masked else 0.0,
            ROWS=32,
            COLUMNS=128,
            num_warps=8,
            enable_fp_fusion=False,  # the same rounding in all versions of Triton
        )
    return chosen


@triton.jit
def _choose(
    tokens,
    image_stride,
    row_stride,
    column_stride,
    padding,
    mean,  # scratch, float64 (B, C)
    nearest,  # scratch (B, N), in the type to compare in
    chosen,
    number,
    width,
    count,
    TAKEN: tl.constexpr,  # distance of a token that is not to be chosen, the least of all
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    tokens += image * image_stride
    padding += image * number
    mean += image * width
    nearest += image * number
    chosen += image * count

    kept = tl.zeros((ROWS,), tl.float64)
    for top in range(0, number, ROWS):
        row = top + tl.arange(0, ROWS)
        keep = tl.load(padding + row, row < number, 1) == 0
        kept += keep.to(tl.float64)
        tl.store(nearest + row, tl.where(keep, float("inf"), TAKEN), row < number)
    size = tl.maximum(tl.sum(kept, 0), 1)
    for left in range(0, width, COLUMNS):
        column = left + tl.arange(0, COLUMNS)
        total = tl.zeros((ROWS, COLUMNS), tl.float64)
        for top in range(0, number, ROWS):
            row = top + tl.arange(0, ROWS)
            keep = tl.load(padding + row, row < number, 1) == 0
            places = tokens + row[:, None] * row_stride + column[None] * column_stride
            total += tl.load(places, keep[:, None] & (column < width)[None], 0).to(tl.float64)
        tl.store(mean + column, tl.sum(total, 0) / size, column < width)

    latest = tl.full((), -1, tl.int32)  # the mean
    for step in range(count):
        tl.debug_barrier()  # the scratch rows are read by other threads than wrote them
        from_mean = tl.where(latest < 0, width, 0)  # columns; the others are the latest token's
        most = tl.full((), TAKEN, nearest.dtype.element_ty)
        farthest = tl.full((), 0, tl.int32)
        for top in range(0, number, ROWS):
            row = top + tl.arange(0, ROWS)
            distance = tl.load(nearest + row, row < number, TAKEN)
            free = (distance > TAKEN) & (row != latest)
            total = tl.zeros((ROWS, COLUMNS), tl.float64)
            for left in range(0, width, COLUMNS):
                column = left + tl.arange(0, COLUMNS)
                place = tokens + latest * row_stride + column * column_stride
                point = tl.load(mean + column, column < from_mean, 0)
                point += tl.load(place, column < width - from_mean, 0).to(tl.float64)
                places = tokens + row[:, None] * row_stride + column[None] * column_stride
                inside = free[:, None] & (column < width)[None]
                token = tl.load(places, inside, 0).to(tl.float64)
                total += (token - point[None]) * (token - point[None])
            squared = tl.sum(total, 1).to(nearest.dtype.element_ty)
            distance = tl.where(free, tl.minimum(distance, squared), TAKEN)
            tl.store(nearest + row, distance, row < number)
            best = tl.max(distance, 0)
            lowest = tl.min(tl.where(distance == best, row, number), 0)
            farthest = tl.where(best > most, lowest, farthest)
            most = tl.maximum(most, best)
        latest = farthest
        tl.store(chosen + step, latest)
