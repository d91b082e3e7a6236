"""Segments of a ViT against features of every pixel, one pixel after the other."""

import numpy as np
import pytest
import torch
from support.retrieval import scenes, subject
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.evaluation.retrieval.patches import cluster_patches
from cast_exp.evaluation.retrieval.segments import SegmentEncoder
from cast_exp.run.preflight import checked_command
from cast_exp.train import train


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def plain(grid, stride, size, clusters):
    """In float64 and over the padded square, of which the padding is left out in the end."""
    side, squares = stride * len(grid), round(clusters**0.5)
    upsampled = F.interpolate(
        torch.from_numpy(grid).movedim(-1, 0)[None], (side, side), mode="bilinear"
    )
    pixels = unit(upsampled[0].movedim(0, -1).numpy())
    at = np.linspace(0, 1, side) - 0.5
    y, x = np.meshgrid(at, at, indexing="ij")
    points = unit(np.concatenate([pixels, y[..., None], x[..., None]], -1))
    step = np.round(np.linspace(0, squares - 1, side)).astype(int)
    labels = step[:, None] + squares * step
    inside = np.zeros((side, side), bool)
    inside[: size[0], : size[1]] = True
    for _ in range(15):
        prototypes = np.zeros((clusters, points.shape[-1]))
        for k in range(clusters):
            if (total := points[inside & (labels == k)].sum(0)).any():
                prototypes[k] = unit(total)
        labels = (points @ prototypes.T).argmax(-1)
    sums = [pixels[inside & (labels == k)].sum(0) for k in range(clusters)]
    return labels[: size[0], : size[1]], np.stack(sums)


@pytest.mark.parametrize(
    ("patches", "stride", "size", "clusters"),
    [(4, 16, (64, 64), 36), (3, 16, (40, 48), 9), (5, 8, (33, 35), 4), (2, 4, (8, 3), 1)],
)
def test_clusters_are_those_of_the_plain_way(patches, stride, size, clusters):
    grid = unit(np.random.default_rng(patches).normal(size=(patches, patches, 6)))
    labels, sums = cluster_patches(torch.from_numpy(grid), stride, size, clusters)
    expected, expected_sums = plain(grid, stride, size, clusters)
    assert (labels.numpy() == expected).mean() > 0.999  # float32 may round a tie another way
    np.testing.assert_allclose(sums.numpy(), expected_sums, atol=2e-3 * size[0] * size[1])
    assert len(np.unique(expected)) > 1 or clusters == 1


@torch.no_grad()
def test_segments_of_a_vit_cover_the_image_at_its_own_size():
    data, judged = scenes(size=56), subject("vit_tiny")  # no multiple of the stride
    scene = next(iter(data.scenes("val")))
    segments = SegmentEncoder(judged, None, "auto", 9)(scene)
    assert segments.parts.shape == scene.full_superpixels.shape == (48, 48)
    assert list(segments.labels) == [0]
    count = len(segments.sums)
    assert 1 < count <= 9
    assert segments.parts.unique().tolist() == list(range(count))
    padded = F.pad(scene.image, (0, 8, 0, 8))
    fused = judged.backbone(padded, scene.superpixels).fused[0]
    grid = F.normalize(judged.projector(fused), dim=1).view(4, 4, -1)
    labels, sums = plain(grid.double().numpy(), 16, (56, 56), 9)
    at = ((np.arange(48) + 0.5) * 56 / 48).astype(int)
    kept, parts = np.unique(labels[np.ix_(at, at)], return_inverse=True)
    assert (segments.parts.numpy() == parts.reshape(48, 48)).mean() > 0.999
    expected = unit(sums[kept])
    np.testing.assert_allclose(segments.prototypes(0).numpy(), expected, atol=1e-3)


def test_a_number_of_segments_that_is_no_square_is_a_mistake_of_the_command() -> None:
    names = ("retrieval", "segment_probe", "segment_clusters")
    command = ["experiment=shapes_moco", f"evaluate=[{','.join(names)}]"]
    with pytest.raises(UserError) as told:
        checked_command(
            [*command, *(f"evaluation.{name}.segments=35" for name in names)], "train", train
        )
    lines = [line for line in str(told.value).splitlines() if "a square number such as 36" in line]
    assert len(lines) == 3
    assert all(f"evaluation.{name}.segments" in str(lines) for name in names)
