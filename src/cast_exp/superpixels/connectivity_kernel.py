"""The merging of fragments in Triton kernels: a fixed number of launches, whatever the images."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from cast_exp.superpixels.connectivity import LEAST_SHARE, STEPS

_BLOCK = 512  # pixels of a program


def merge_by_kernel(labels: Tensor, colours: Tensor, count: int) -> Tensor:
    """`cast_exp.superpixels.connectivity.merge_fragments` on CUDA, without waiting for the host.

    Pieces are trees of pixels whose root is the first; joining hangs a root into another tree.
    There are as many rounds as the number of pixels has binary digits. A round at least halves the
    pieces that are not the largest of their label, so in the end there are none, and no more
    superpixels than labels. Rounds in which an image has nothing to join end at once. Only those
    below the least area could be left, in images made for it.

    Args:
        labels: int64 (B, H, W), below `count`.
        colours: float (B, 3, H, W).
        count: Number of labels.

    Returns:
        int64 (B, H, W): ``0..K-1`` for each image; K is at most `count`.
    """
    labels, colours = labels.contiguous(), colours.contiguous()
    batch, height, width = labels.shape
    area, device = height * width, labels.device
    rounds = area.bit_length()
    parent = torch.empty(batch, area, dtype=torch.int32, device=device)
    size = torch.zeros(batch, area, dtype=torch.int32, device=device)
    main = torch.zeros(batch, area, dtype=torch.int32, device=device)
    sums = torch.zeros(batch, 3, area, dtype=torch.int64, device=device)
    best = torch.full((batch, area), torch.iinfo(torch.int64).max, device=device)
    largest = torch.zeros(batch, count, dtype=torch.int64, device=device)
    mains = torch.zeros(batch, dtype=torch.int32, device=device)
    joined = torch.zeros(rounds + 1, batch, dtype=torch.int32, device=device)
    joined[0] = 1
    rows, row = (batch * height,), triton.next_power_of_2(width)
    blocks = -(-area // _BLOCK)
    pixels = (batch * blocks,)
    with torch.cuda.device_of(labels):  # type: ignore[no-untyped-call]
        _runs[rows](labels, parent, height, width, ROW=row)
        _link[pixels](labels, parent, area, width, blocks, BLOCK=_BLOCK)
        _measure[rows](labels, colours, parent, size, sums, height, width, STEPS=STEPS, ROW=row)
        _compare[pixels](labels, parent, size, largest, area, count, blocks, BLOCK=_BLOCK)
        _mark[pixels](labels, parent, size, largest, main, mains, area, count, blocks, BLOCK=_BLOCK)
        for number in range(rounds):
            before, now = joined[number], joined[number + 1]
            given = parent, size, sums, main, mains, best, before
            _choose[pixels](
                *given, area, width, blocks, SHARE=LEAST_SHARE, BLOCK=_BLOCK, enable_fp_fusion=False
            )
            _hook[pixels](parent, best, before, now, area, blocks, BLOCK=_BLOCK)
            _absorb[pixels](*given, area, blocks, BLOCK=_BLOCK)
    kept = parent == torch.arange(area, device=device)
    return (kept.cumsum(1) - 1).gather(1, parent.long()).view(labels.shape)


@triton.jit
def _maximum(one, other):
    return tl.maximum(one, other)


@triton.jit
def _root(parent, index, mask):
    """The roots of the trees that pixels are in."""
    above = tl.load(parent + index, mask, 0)
    climbing = tl.max((mask & (above != index)).to(tl.int32), 0)
    while climbing > 0:
        index = above
        above = tl.load(parent + index, mask, 0)
        climbing = tl.max((mask & (above != index)).to(tl.int32), 0)
    return above


@triton.jit
def _runs(labels, parent, height, width, ROW: tl.constexpr):
    """Hang each pixel of a row below the first one of its run of equal labels."""
    program = tl.program_id(0).to(tl.int64)
    start = program * width
    x = tl.arange(0, ROW)
    label = tl.load(labels + start + x, x < width, -1)
    left = tl.load(labels + start + x - 1, (x > 0) & (x < width), -1)
    first = tl.associative_scan(tl.where(label != left, x, 0), 0, _maximum)
    row = (program % height * width).to(tl.int32)
    tl.store(parent + start + x, row + first, x < width)


@triton.jit
def _link(labels, parent, area, width, blocks, BLOCK: tl.constexpr):
    """Join runs that touch the run above.

    The larger root is hung below the smaller one by an atomic minimum. If it was hung below another
    pixel meanwhile, that one is joined with the smaller one instead, and so on.
    """
    image = (tl.program_id(0) // blocks).to(tl.int64)
    labels += image * area
    parent += image * area
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    below = (pixel >= width) & (pixel < area)
    inner = below & (pixel % width > 0)
    label = tl.load(labels + pixel, below, -1)
    touching = below & (label == tl.load(labels + pixel - width, below, -2))
    left = tl.load(labels + pixel - 1, inner, -1)
    above_left = tl.load(labels + pixel - width - 1, inner, -2)
    # Two runs touch in many columns; the first of them suffices.
    touching &= (label != left) | (label != above_left)
    one, other = _root(parent, pixel, touching), _root(parent, pixel - width, touching)
    apart = touching & (one != other)
    while tl.max(apart.to(tl.int32), 0) > 0:
        low, high = tl.minimum(one, other), tl.maximum(one, other)
        old = tl.atomic_min(parent + high, low, apart, sem="relaxed")
        one = tl.where(apart & (old != high), old, low)
        other = low
        apart = apart & (one != other)


@triton.jit
def _measure(
    labels,
    colours,
    parent,
    size,
    sums,
    height,
    width,
    STEPS: tl.constexpr,
    ROW: tl.constexpr,
):
    """Add up sizes and colours of the pieces, run by run; hang pixels right below their roots."""
    program = tl.program_id(0)
    image = (program // height).to(tl.int64)
    area = height * width
    labels += image * area
    parent += image * area
    size += image * area
    x = tl.arange(0, ROW)
    inside = x < width
    pixel = program % height * width + x
    label = tl.load(labels + pixel, inside, -1)
    first = inside & (label != tl.load(labels + pixel - 1, inside & (x > 0), -1))
    last = inside & (label != tl.load(labels + pixel + 1, inside & (x < width - 1), -1))
    root = _root(parent, pixel, inside)
    tl.store(parent + pixel, root, inside)
    # The sum of a run is that of the row up to its end, less that of the row before it.
    length = tl.where(last, x + 1, 0) - tl.where(first, x, 0)
    tl.atomic_add(size + root, length, first | last, sem="relaxed")
    for channel in range(3):
        place = image * 3 * area + channel * area
        colour = tl.load(colours + place + pixel, inside, 0) * STEPS
        step = _rounded(colour).to(tl.int64)
        upto = tl.cumsum(step, 0)
        run = tl.where(last, upto, 0) - tl.where(first, upto - step, 0)
        tl.atomic_add(sums + place + root, run, first | last, sem="relaxed")


@triton.jit
def _rounded(value):
    """The nearest whole number, of two the even one, as `torch.round`."""
    low = tl.floor(value)
    rest = value - low
    odd = low - 2 * tl.floor(low / 2)
    return low + tl.where((rest > 0.5) | ((rest == 0.5) & (odd == 1)), 1, 0)


@triton.jit
def _compare(labels, parent, size, largest, area, count, blocks, BLOCK: tl.constexpr):
    """Find the largest piece of each label, the first of equals."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    place = image * area + pixel
    root = (pixel < area) & (tl.load(parent + place, pixel < area, -1) == pixel)
    label = tl.load(labels + place, root, 0)
    rank = tl.load(size + place, root, 0).to(tl.int64) * area - pixel
    tl.atomic_max(largest + image * count + label, rank, root, sem="relaxed")


@triton.jit
def _mark(labels, parent, size, largest, main, mains, area, count, blocks, BLOCK: tl.constexpr):
    """Mark the largest pieces, and count them."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    place = image * area + pixel
    root = (pixel < area) & (tl.load(parent + place, pixel < area, -1) == pixel)
    label = tl.load(labels + place, root, 0)
    rank = tl.load(size + place, root, 0).to(tl.int64) * area - pixel
    found = (root & (rank == tl.load(largest + image * count + label, root, -1))).to(tl.int32)
    tl.store(main + place, found, root)
    tl.atomic_add(mains + image, tl.sum(found, 0), sem="relaxed")


@triton.jit
def _fragment(size, main, mains, area, root, mask, SHARE: tl.constexpr):
    """Whether a piece must join another."""
    least = tl.load(size + root, mask, 0).to(tl.int64) * mains * SHARE
    return mask & ((tl.load(main + root, mask, 1) == 0) | (least < area))


@triton.jit
def _colour(sums, size, root, mask):
    """A channel of the mean colours of pieces."""
    total = tl.load(sums + root, mask, 0).to(tl.float32)
    return tl.div_rn(total, tl.load(size + root, mask, 1).to(tl.float32))


@triton.jit
def _offer(size, sums, main, mains, best, area, one, other, mask, SHARE: tl.constexpr):
    """Let pieces know of pieces beside them."""
    mask = mask & (one != other)
    one_joins = _fragment(size, main, mains, area, one, mask, SHARE)
    other_joins = _fragment(size, main, mains, area, other, mask, SHARE)
    mask = one_joins | other_joins
    unlike = tl.zeros_like(one).to(tl.float32)
    for channel in range(3):
        place = sums + channel * area
        apart = _colour(place, size, one, mask) - _colour(place, size, other, mask)
        unlike += apart * apart
    rank = unlike.to(tl.int64) * area
    tl.atomic_min(best + one, rank + other, one_joins, sem="relaxed")
    tl.atomic_min(best + other, rank + one, other_joins, sem="relaxed")


@triton.jit
def _choose(
    parent,
    size,
    sums,
    main,
    mains,
    best,
    before,  # pieces that joined others in the round before
    area,
    width,
    blocks,
    SHARE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Find the most similar piece beside each fragment."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    if tl.load(before + image) > 0:
        parent += image * area
        size += image * area
        sums += image * 3 * area
        main += image * area
        best += image * area
        superpixels = tl.load(mains + image).to(tl.int64)
        pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
        here = tl.load(parent + pixel, pixel < area, 0)
        beside = pixel % width < width - 1
        beside &= pixel < area
        right = tl.load(parent + pixel + 1, beside, 0)
        _offer(size, sums, main, superpixels, best, area, here, right, beside, SHARE)
        above = pixel < area - width
        below = tl.load(parent + pixel + width, above, 0)
        _offer(size, sums, main, superpixels, best, area, here, below, above, SHARE)


@triton.jit
def _hook(parent, best, before, now, area, blocks, BLOCK: tl.constexpr):
    """Hang fragments below what they chose; of two that chose each other, the later one."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    if tl.load(before + image) > 0:
        parent += image * area
        best += image * area
        none = 9223372036854775807
        pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
        chosen = tl.load(best + pixel, pixel < area, none)
        joins = chosen < none
        other = (chosen % area).to(tl.int32)
        back = tl.load(best + other, joins, none)
        stays = (back < none) & (back % area == pixel) & (pixel < other)
        joins &= ~stays
        tl.store(parent + pixel, other, joins)
        tl.atomic_add(now + image, tl.sum(joins.to(tl.int32), 0), sem="relaxed")


@triton.jit
def _absorb(parent, size, sums, main, mains, best, before, area, blocks, BLOCK: tl.constexpr):
    """Add what joined to the roots, and hang all pixels right below them."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    if tl.load(before + image) > 0:
        parent += image * area
        size += image * area
        sums += image * 3 * area
        main += image * area
        best += image * area
        none = 9223372036854775807
        pixel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
        inside = pixel < area
        root = _root(parent, pixel, inside)
        chose = tl.load(best + pixel, inside, none) < none
        joined = chose & (root != pixel)
        tl.atomic_add(size + root, tl.load(size + pixel, joined, 0), joined, sem="relaxed")
        for channel in range(3):
            place = sums + channel * area
            tl.atomic_add(place + root, tl.load(place + pixel, joined, 0), joined, sem="relaxed")
        was_main = joined & (tl.load(main + pixel, joined, 0) > 0)
        old = tl.atomic_max(main + root, 1, was_main, sem="relaxed")
        fewer = tl.sum((was_main & (old > 0)).to(tl.int32), 0)
        tl.atomic_add(mains + image, -fewer, sem="relaxed")
        tl.store(best + pixel, none, chose)
        tl.store(parent + pixel, root, inside)
