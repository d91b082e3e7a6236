import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawing import batch, pieces, shapes

from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall
from cast_exp.superpixels import Grid, Slic
from cast_exp.superpixels.slic import cluster, rgb_to_lab


def test_lab_equals_opencv() -> None:
    values = np.linspace(0, 1, 17, dtype=np.float32)
    rgb = np.stack(np.meshgrid(values, values, values), -1).reshape(1, -1, 3)
    expected = torch.from_numpy(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)).permute(0, 2, 1)
    found = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[:, :, 0]
    assert (found - expected).abs().max() < 0.35  # OpenCV interpolates in a table
    assert (found - expected).abs().mean() < 0.02


def slow_clusters(
    colours: NDArray[np.float64], side: int, compactness: float, iterations: int
) -> NDArray[np.int64]:
    """k-means of one image (C, H, W), pixel by pixel."""
    _, height, width = colours.shape
    rows, columns = -(-height // side), -(-width // side)
    point = {
        (y, x): np.array([*colours[:, y, x], y * compactness / side, x * compactness / side])
        for y in range(height)
        for x in range(width)
    }
    home = {(y, x): (y // side, x // side) for y, x in point}
    members: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for pixel, square in home.items():
        members.setdefault(square, []).append(point[pixel])
    means = {square: np.mean(owned, 0) for square, owned in members.items()}

    def nearest(pixel: tuple[int, int]) -> tuple[int, int]:
        r, c = home[pixel]
        around = [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (r + i, c + j) in means]
        return min(around, key=lambda square: ((means[square] - point[pixel]) ** 2).sum())

    for _ in range(iterations):
        members = {}
        for y, x in point:
            if y % side % 2 == 0 and x % side % 2 == 0:
                members.setdefault(nearest((y, x)), []).append(point[y, x])
        means |= {square: np.mean(owned, 0) for square, owned in members.items()}
    labels = np.empty((height, width), np.int64)
    for pixel in point:
        r, c = nearest(pixel)
        labels[pixel] = r * columns + c
    assert labels.max() < rows * columns
    return labels


@pytest.mark.parametrize("size", [(1, 1), (12, 12), (25, 40), (41, 23)])
@pytest.mark.parametrize(("side", "compactness"), [(1, 10), (4, 1), (5, 10), (8, 40), (50, 10)])
@pytest.mark.parametrize("iterations", [0, 3])
def test_clusters_equal_a_slow_reference(
    size: tuple[int, int], side: int, compactness: float, iterations: int
) -> None:
    images = [shapes(*size, seed)[0] for seed in range(2)]
    colours = rgb_to_lab(batch(*images)).double()
    found = cluster(colours, side, compactness, iterations).numpy()
    for image, labels in zip(colours.numpy(), found, strict=True):
        expected = slow_clusters(image, side, compactness, iterations)
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("size", "count"),
    [((224, 224), 196), ((224, 224), 64), ((97, 160), 100), ((60, 31), 500), ((1, 90), 10)],
)
@pytest.mark.parametrize("compactness", [0.5, 10.0])
@pytest.mark.parametrize("noise", [False, True])
def test_every_superpixel_is_one_piece_of_a_fair_size(
    size: tuple[int, int], count: int, compactness: float, noise: bool
) -> None:
    image = shapes(*size)[0]
    if noise:
        image = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    labels = Slic(count, compactness)(batch(image))[0].numpy()
    areas = [area for _, area in pieces(labels)]
    assert len(areas) == labels.max() + 1 <= count
    assert min(areas) >= labels.size / len(areas) / 8


def test_quality_on_drawn_segments() -> None:
    recalls, accuracies = [], []
    for method in (Slic(196), Grid(196)):
        drawn = [shapes(224, 224, seed) for seed in range(4)]
        labels = method(batch(*(image for image, _ in drawn))).numpy()
        pairs = list(zip(labels, (segments for _, segments in drawn), strict=True))
        recalls.append(np.mean([boundary_recall(a, [b]) for a, b in pairs]))
        accuracies.append(np.mean([achievable_segmentation_accuracy(a, [b]) for a, b in pairs]))
    assert recalls[0] > 0.98 > 0.7 > recalls[1]
    assert accuracies[0] > 0.995 > 0.96 > accuracies[1]


def test_compactness_makes_squares() -> None:
    image = batch(shapes(128, 128)[0])
    squares = Grid(64)(image)[0].numpy()
    compact, loose = (Slic(64, compactness=c)(image)[0].numpy() for c in (1e4, 1.0))
    assert achievable_segmentation_accuracy(compact, [squares]) > 0.9
    assert achievable_segmentation_accuracy(loose, [squares]) < 0.7


def test_autocast_and_threads_change_nothing() -> None:
    images = batch(*(shapes(96, 64, seed)[0] for seed in range(2)))
    expected = Slic(100)(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Slic(100)(images), expected)
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        assert torch.equal(Slic(100)(images), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_and_repeats() -> None:
    images = batch(*(shapes(224, 224, seed)[0] for seed in range(4)))
    expected, found = Slic()(images), Slic()(images.cuda())
    assert torch.equal(Slic()(images.cuda()), found)
    for a, b in zip(expected.numpy(), found.cpu().numpy(), strict=True):
        # Numbers can shift where a fragment goes elsewhere: compare the areas that overlap.
        assert achievable_segmentation_accuracy(a, [b]) > 0.98
