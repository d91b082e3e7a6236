"""SLIC superpixels of whole batches, in plain torch; on CUDA, kernels compute the same."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from cast_exp.ops.triton_there import kernels_there
from cast_exp.superpixels.base import SuperpixelMethod, require_unit_range
from cast_exp.superpixels.connectivity import merge_fragments
from cast_exp.superpixels.grid import square_count, square_side

_FAR = 1e9  # squared distance to a cluster beyond the border of the image

# Linear sRGB to CIE XYZ, each row divided by the white point (D65): IEC 61966-2-1.
_RGB_TO_XYZ = (
    (0.433953, 0.376219, 0.189828),
    (0.212671, 0.715160, 0.072169),
    (0.017758, 0.109477, 0.872766),
)


class Slic(SuperpixelMethod):
    """Simple linear iterative clustering (Achanta et al., PAMI 2012).

    k-means of the pixels in CIELAB and position, started from the squares of ``Grid``. A pixel is
    compared with nine clusters: that of the square it lies in and of the eight around. So the
    clusters of a pixel never have to be searched for, and both steps of k-means are batched matrix
    products over squares; the means are taken over every second row and column.

    In the end every superpixel is made one 4-connected piece of at least 1/8 of the mean area: see
    :func:`~cast_exp.superpixels.connectivity.merge_fragments`. So the last labels, which are as
    many as the squares, may own no pixel.

    Deterministic: no floating-point sum depends on the order of threads. CPU and GPU, and torch's
    settings of matrix precision, round differently and can disagree about single pixels.

    On CUDA with Triton the host does not wait, except at the first images: only these are checked
    for values outside 0..1. Other devices, and CUDA with ``CAST_EXP_KERNELS=0`` in the environment,
    run the same torch code as the CPU, which reads numbers back.

    Args:
        count: Superpixels asked for.
        compactness: Weight of the distance in space against that in colour: at a distance of one
            square's side a pixel is as far as by this difference in CIELAB (L in 0..100). The
            larger, the squarer the superpixels.
        iterations: Passes over the pixels.
    """

    device = "any"

    def __init__(
        self,
        count: Annotated[int, Field(ge=1)] = 196,
        compactness: Annotated[float, Field(gt=0)] = 10.0,
        iterations: Annotated[int, Field(ge=0)] = 10,
    ) -> None:
        super().__init__(count)
        self.compactness = compactness
        self.iterations = iterations
        self._range_seen = False

    def segment(self, images: Tensor) -> Tensor:
        """See `SuperpixelMethod.__call__`."""
        by_kernel = images.is_cuda and kernels_there()
        if not (by_kernel and self._range_seen):
            require_unit_range(images)
            self._range_seen = True
        height, width = images.shape[2:]
        side = square_side(height, width, self.count)
        given = images.float(), side, self.compactness, self.iterations
        if by_kernel:
            from cast_exp.superpixels.slic_kernel import slic_by_kernel

            return slic_by_kernel(*given)
        with torch.autocast(images.device.type, enabled=False):
            return slic(*given)

    def labels(self, height: int, width: int) -> int:
        """See `SuperpixelMethod.labels`; the number of squares."""
        return square_count(height, width, self.count)


def slic(images: Tensor, side: int, compactness: float, iterations: int) -> Tensor:
    """Cluster pixels and merge fragments; `Slic` without its choices.

    Args:
        images: float32 (B, 3, H, W) in 0..1.
        side: See `cluster`.
        compactness: See `cluster`.
        iterations: See `cluster`.

    Returns:
        Labels, int64 (B, H, W), without gaps from 0.
    """
    colours = rgb_to_lab(images)
    return merge_fragments(cluster(colours, side, compactness, iterations), colours)


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB to CIELAB under D65.

    Args:
        images: float (B, 3, H, W) in 0..1.

    Returns:
        float (B, 3, H, W): L in 0..100, a and b in about -128..128.
    """
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    red, green, blue = linear.unbind(1)
    # Not a matrix product, which may be rounded to ten bits on GPUs.
    xyz = torch.stack([r * red + g * green + b * blue for r, g, b in _RGB_TO_XYZ], 1)
    cube_roots = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = cube_roots.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def cluster(colours: Tensor, side: int, compactness: float, iterations: int) -> Tensor:
    """Run k-means with nine candidates for each pixel.

    Args:
        colours: float32 (B, C, H, W), any colour space in which Euclidean distances make sense.
        side: Side of the squares of the initial grid, in pixels.
        compactness: See `Slic`.
        iterations: Updates of the means.

    Returns:
        Labels, int64 (B, H, W), numbered as the squares, row by row; some may own no pixel.
    """
    batch, _, height, width = colours.shape
    rows, columns = -(-height // side), -(-width // side)
    scale = compactness / side
    y = torch.arange(height, device=colours.device)[:, None].expand(batch, 1, height, width) * scale
    x = torch.arange(width, device=colours.device).expand(batch, 1, height, width) * scale
    features = torch.cat([colours, y, x, torch.ones_like(colours[:, :1])], 1)
    # Pixels that pad the last squares are all zero; having no 1 at the end, they weigh nothing.
    features = F.pad(features, (0, columns * side - width, 0, rows * side - height))
    squares = features.view(batch, -1, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)

    sums = squares.sum((4, 5))
    origin = torch.cat([sums[..., :-1] / sums[..., -1:], torch.zeros_like(sums[..., -1:])], -1)
    # Relative to the mean of its own square every number is small, so that matrix products in
    # reduced precision (TF32, if the user allows it) cannot move a pixel to a far cluster.
    squares = squares - origin[..., None, None] * squares[..., -1:, :, :]

    sample = squares[..., ::2, ::2].flatten(4).flatten(0, 2).contiguous()  # (squares, C + 3, n)
    means = origin.clone()
    means[..., -1] = 1  # marks a cluster that exists
    for _ in range(iterations):
        distances = _distances(sample, means, origin)
        # A tie counts for all of its clusters: the exact choice matters only in the end.
        members = (distances == distances.amin(1, keepdim=True)).to(sample.dtype)
        sums = _collect(members @ sample.mT, origin)
        owned = sums[..., -1:]
        means = torch.where(owned > 0, sums / owned.clamp(min=1), means)

    chosen = _distances(squares.flatten(4).flatten(0, 2), means, origin).min(1).indices
    step = torch.arange(-1, 2, device=colours.device)
    steps = (step[:, None] * columns + step).flatten()  # from a square's number to the nine around
    own = torch.arange(rows * columns, device=colours.device)[:, None]
    labels = own + steps[chosen].view(batch, rows * columns, side * side)
    labels = labels.view(batch, rows, columns, side, side).transpose(2, 3)
    labels = labels.reshape(batch, rows * side, columns * side)
    return labels[:, :height, :width]


def _distances(pixels: Tensor, means: Tensor, origin: Tensor) -> Tensor:
    """Squared distances to the nine clusters around, less the pixels' own squared length.

    Args:
        pixels: (B * rows * columns, C + 3, n), relative to ``origin``.
        means: (B, rows, columns, C + 3), the last channel 1.
        origin: (B, rows, columns, C + 3), the last channel 0.

    Returns:
        (B * rows * columns, 9, n); the nine row by row.
    """
    around = F.unfold(means.permute(0, 3, 1, 2), 3, padding=1)  # (B, (C + 3) * 9, rows * columns)
    around = around.view(len(means), -1, 9, around.shape[2]).permute(0, 3, 2, 1).flatten(0, 1)
    relative = around[..., :-1] - origin.flatten(0, 2)[:, None, :-1]
    constant = relative.square().sum(-1, keepdim=True) + _FAR * (1 - around[..., -1:])
    distances: Tensor = torch.cat([-2 * relative, constant], -1) @ pixels
    return distances


def _collect(partial: Tensor, origin: Tensor) -> Tensor:
    """Add up what each square's pixels contribute to the nine clusters around it.

    Args:
        partial: (B * rows * columns, 9, C + 3), relative to ``origin``; the last channel counts.
        origin: (B, rows, columns, C + 3).

    Returns:
        (B, rows, columns, C + 3), absolute.
    """
    batch, rows, columns, _ = origin.shape
    partial = partial + origin.flatten(0, 2)[:, None] * partial[..., -1:]
    partial = partial.view(batch, rows * columns, 9, -1).permute(0, 3, 2, 1).flatten(1, 2)
    return F.fold(partial, (rows, columns), 3, padding=1).permute(0, 2, 3, 1)
