"""The clustering of SLIC in Triton kernels: one launch for each pass over the pixels."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from cast_exp.superpixels.connectivity_kernel import merge_by_kernel

_SLOTS = 16  # the nine clusters around a square, row by row, and room to a power of two
_FEATURES = 8  # L, a, b, y, x, the number of pixels, and room to a power of two


def slic_by_kernel(images: Tensor, side: int, compactness: float, iterations: int) -> Tensor:
    """`cast_exp.superpixels.slic.slic` on CUDA; nothing waits for the host."""
    labels, colours = cluster_by_kernel(images, side, compactness, iterations)
    rows, columns = (-(-length // side) for length in images.shape[2:])
    return merge_by_kernel(labels, colours, rows * columns)


def cluster_by_kernel(
    images: Tensor, side: int, compactness: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """`rgb_to_lab` and `cluster` of `cast_exp.superpixels.slic` on CUDA.

    One program serves one square. Sums are taken in a fixed order.

    Args:
        images: float (B, 3, H, W) in 0..1.
        side: See `cluster`.
        compactness: See `cluster`.
        iterations: See `cluster`.

    Returns:
        Labels, int64 (B, H, W), and colours in CIELAB, shaped and typed as `images`.
    """
    images = images.contiguous()
    batch, _, height, width = images.shape
    rows, columns = -(-height // side), -(-width // side)
    squares = batch * rows * columns
    colours = torch.empty_like(images)
    labels = torch.empty(batch, height, width, dtype=torch.int64, device=images.device)
    means = images.new_empty(squares, _FEATURES)
    sums = images.new_empty(squares, _FEATURES, _SLOTS)
    options = {"num_warps": 1, "enable_fp_fusion": False}
    sizes = height, width, rows, columns, side, compactness / side
    with torch.cuda.device_of(images):  # type: ignore[no-untyped-call]
        _start[(squares,)](images, colours, means, *sizes, BLOCK=256, enable_fp_fusion=False)
        for _ in range(iterations):
            _add[(squares,)](colours, means, sums, *sizes, BLOCK=64, **options)
            update = means, sums, squares, rows, columns
            _update[(-(-squares // 32),)](*update, BLOCK=32, **options)
        _label[(squares,)](colours, means, labels, *sizes, BLOCK=64, **options)
    return labels, colours


@triton.jit
def _power(base, exponent):
    return tl.exp2(exponent * tl.log2(base))


@triton.jit
def _linear(value):
    """Linear light of sRGB."""
    return tl.where(value > 0.04045, _power((value + 0.055) / 1.055, 2.4), value / 12.92)


@triton.jit
def _root(value):
    """The cube root, or the line that CIELAB has in its place near black."""
    return tl.where(
        value > 0.008856, _power(tl.maximum(value, 1e-6), 1 / 3), 7.787 * value + 16 / 116
    )


@triton.jit
def _start(
    images,
    colours,
    means,
    height,
    width,
    rows,
    columns,
    side,
    scale,
    BLOCK: tl.constexpr,
):
    """Convert the pixels of a square to CIELAB, and take its mean."""
    program = tl.program_id(0)
    area = height * width
    image = (program // (rows * columns)).to(tl.int64) * 3 * area
    row = program % (rows * columns) // columns
    column = program % columns
    dtype = means.dtype.element_ty
    total_light = tl.zeros((BLOCK,), dtype)
    total_green_red = tl.zeros((BLOCK,), dtype)
    total_blue_yellow = tl.zeros((BLOCK,), dtype)
    for first in range(0, side * side, BLOCK):
        index = first + tl.arange(0, BLOCK)
        y, x = row * side + index // side, column * side + index % side
        inside = (index < side * side) & (y < height) & (x < width)
        place = image + y * width + x
        red = _linear(tl.load(images + place, inside, 0))
        green = _linear(tl.load(images + place + area, inside, 0))
        blue = _linear(tl.load(images + place + 2 * area, inside, 0))
        root_x = _root(0.433953 * red + 0.376219 * green + 0.189828 * blue)
        root_y = _root(0.212671 * red + 0.715160 * green + 0.072169 * blue)
        root_z = _root(0.017758 * red + 0.109477 * green + 0.872766 * blue)
        light = 116 * root_y - 16
        green_red, blue_yellow = 500 * (root_x - root_y), 200 * (root_y - root_z)
        tl.store(colours + place, light, inside)
        tl.store(colours + place + area, green_red, inside)
        tl.store(colours + place + 2 * area, blue_yellow, inside)
        total_light += tl.where(inside, light, 0)
        total_green_red += tl.where(inside, green_red, 0)
        total_blue_yellow += tl.where(inside, blue_yellow, 0)
    high = tl.minimum(height - row * side, side)
    wide = tl.minimum(width - column * side, side)
    owned = high * wide
    mean = means + program.to(tl.int64) * 8
    tl.store(mean, tl.sum(total_light, 0) / owned)
    tl.store(mean + 1, tl.sum(total_green_red, 0) / owned)
    tl.store(mean + 2, tl.sum(total_blue_yellow, 0) / owned)
    tl.store(mean + 3, (row * side + (high - 1) / 2) * scale)
    tl.store(mean + 4, (column * side + (wide - 1) / 2) * scale)


@triton.jit
def _distances(
    colours,
    means,
    first,  # the number of the image's first square
    height,
    width,
    rows,
    columns,
    row,
    column,
    scale,
    y,
    x,
    inside,
):
    """Squared distances (16, n) of pixels to the clusters around a square, and their colours."""
    slot = tl.arange(0, 16)
    down, across = row + slot // 3 - 1, column + slot % 3 - 1
    there = (slot < 9) & (down >= 0) & (down < rows) & (across >= 0) & (across < columns)
    mean = means + (first + down * columns + across) * 8
    place = colours + y * width + x
    light = tl.load(place, inside, 0)[None]
    green_red = tl.load(place + height * width, inside, 0)[None]
    blue_yellow = tl.load(place + 2 * height * width, inside, 0)[None]
    apart = light - tl.load(mean, there, 0)[:, None]
    distance = apart * apart
    apart = green_red - tl.load(mean + 1, there, 0)[:, None]
    distance += apart * apart
    apart = blue_yellow - tl.load(mean + 2, there, 0)[:, None]
    distance += apart * apart
    apart = (y * scale)[None] - tl.load(mean + 3, there, 0)[:, None]
    distance += apart * apart
    apart = (x * scale)[None] - tl.load(mean + 4, there, 0)[:, None]
    distance += apart * apart
    distance = tl.where(there[:, None], distance, float("inf"))
    return distance, light, green_red, blue_yellow


@triton.jit
def _add(
    colours,
    means,  # (squares, 8)
    sums,  # (squares, 8, 16): what the pixels of a square add to the clusters around
    height,
    width,
    rows,
    columns,
    side,
    scale,
    BLOCK: tl.constexpr,
):
    """Add every second pixel of every second row of a square to the nearest clusters."""
    program = tl.program_id(0)
    image = (program // (rows * columns)).to(tl.int64)
    row, column = program % (rows * columns) // columns, program % columns
    colours += image * 3 * height * width
    dtype = means.dtype.element_ty
    total_light = tl.zeros((16,), dtype)
    total_green_red = tl.zeros((16,), dtype)
    total_blue_yellow = tl.zeros((16,), dtype)
    total_y = tl.zeros((16,), tl.int32)
    total_x = tl.zeros((16,), tl.int32)
    owned = tl.zeros((16,), tl.int32)
    half = (side + 1) // 2
    for start in range(0, half * half, BLOCK):
        index = start + tl.arange(0, BLOCK)
        y, x = row * side + index // half * 2, column * side + index % half * 2
        inside = (index < half * half) & (y < height) & (x < width)
        distance, light, green_red, blue_yellow = _distances(
            colours,
            means,
            image * rows * columns,
            height,
            width,
            rows,
            columns,
            row,
            column,
            scale,
            y,
            x,
            inside,
        )
        # A tie counts for all of its clusters: the exact choice matters only in the end.
        member = (distance == tl.min(distance, 0)[None]) & inside[None]
        total_light += tl.sum(tl.where(member, light, 0), 1)
        total_green_red += tl.sum(tl.where(member, green_red, 0), 1)
        total_blue_yellow += tl.sum(tl.where(member, blue_yellow, 0), 1)
        total_y += tl.sum(tl.where(member, y[None], 0), 1)
        total_x += tl.sum(tl.where(member, x[None], 0), 1)
        owned += tl.sum(member.to(tl.int32), 1)
    place = sums + program.to(tl.int64) * 8 * 16 + tl.arange(0, 16)
    tl.store(place, total_light)
    tl.store(place + 16, total_green_red)
    tl.store(place + 32, total_blue_yellow)
    tl.store(place + 48, total_y * scale)
    tl.store(place + 64, total_x * scale)
    tl.store(place + 80, owned)


@triton.jit
def _update(means, sums, squares, rows, columns, BLOCK: tl.constexpr):
    """Take the means of what the squares around clusters added to them."""
    cluster = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    feature = tl.arange(0, 8)
    row, column = cluster % (rows * columns) // columns, cluster % columns
    total = tl.zeros((BLOCK, 8), means.dtype.element_ty)
    owned = tl.zeros((BLOCK,), means.dtype.element_ty)
    for slot in range(9):
        down, across = row + 1 - slot // 3, column + 1 - slot % 3  # where the cluster has this slot
        adds = (cluster < squares) & (down >= 0) & (down < rows)
        adds &= (across >= 0) & (across < columns)
        place = sums + (cluster + (1 - slot // 3) * columns + 1 - slot % 3) * 8 * 16 + slot
        total += tl.load(place[:, None] + feature * 16, adds[:, None] & (feature < 5), 0)
        owned += tl.load(place + 80, adds, 0)
    place = means + cluster[:, None] * 8 + feature
    tl.store(place, total / tl.maximum(owned, 1)[:, None], (owned > 0)[:, None] & (feature < 5))


@triton.jit
def _label(
    colours,
    means,
    labels,
    height,
    width,
    rows,
    columns,
    side,
    scale,
    BLOCK: tl.constexpr,
):
    """Label the pixels of a square by the nearest clusters, the first of equals."""
    program = tl.program_id(0)
    image = (program // (rows * columns)).to(tl.int64)
    row, column = program % (rows * columns) // columns, program % columns
    colours += image * 3 * height * width
    labels += image * height * width
    slot = tl.arange(0, 16)[:, None]
    for start in range(0, side * side, BLOCK):
        index = start + tl.arange(0, BLOCK)
        y, x = row * side + index // side, column * side + index % side
        inside = (index < side * side) & (y < height) & (x < width)
        distance, _, _, _ = _distances(
            colours,
            means,
            image * rows * columns,
            height,
            width,
            rows,
            columns,
            row,
            column,
            scale,
            y,
            x,
            inside,
        )
        best = tl.min(tl.where(distance == tl.min(distance, 0)[None], slot, 16), 0)
        label = (row + best // 3 - 1) * columns + column + best % 3 - 1
        tl.store(labels + y * width + x, label, inside)
