"""Time the metrics of segmentations: python benchmarks/metrics.py

Boundary F of 21 classes on a picture of 500 x 375 pixels, against the obvious way (scikit-image and
SciPy, one class after the other), for few and for all classes; and all figures of a hierarchy of
four levels against five annotators on a picture of BSDS500's size, without and with boundaries
matched one to one. One thread.
"""

from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries
from timing import fastest

from cast_exp.metrics import BoundaryF, HierarchyMetrics, SegmentationIoU
from cast_exp.metrics.boundary import boundary_counts, tolerance_in_pixels

Labels = NDArray[np.int64]
CLASSES = 21


def patches(seed: int, count: int, labels: int, shape: tuple[int, int]) -> Labels:
    """A label map of so many patches with wavy borders."""
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.standard_normal((*shape, 2)), (0, 0), 12) * 600
    places = np.moveaxis(np.indices(shape), 0, -1) + noise
    centres = random.random((count, 2)) * shape
    nearest = np.stack([((places - centre) ** 2).sum(-1) for centre in centres]).argmin(0)
    drawn: Labels = nearest % labels
    return drawn


def obvious(prediction: Labels, truth: Labels, radius: int) -> Labels:
    """`boundary_counts` with exact distances, class by class."""
    valid = truth < CLASSES
    counts = np.zeros((4, CLASSES), np.int64)
    for label in range(CLASSES):
        found = find_boundaries(prediction == label, mode="inner")
        true = find_boundaries(truth == label, mode="inner")
        right = true if not true.any() else distance_transform_edt(~true) <= radius
        reached = found if not found.any() else distance_transform_edt(~found) <= radius
        masks = (found & valid, found & valid & right, true, true & reached)
        counts[:, label] = [mask.sum() for mask in masks]
    return counts


def semantic(classes: int, patch_count: int) -> None:
    """Time the metrics of classes on a picture that has some of them."""
    shape = 375, 500
    radius = tolerance_in_pixels(shape, 0.0075)
    truth, prediction = (patches(seed, patch_count, classes, shape) for seed in (0, 1))
    truth[100:110] = 255
    found = boundary_counts(prediction, truth, CLASSES, radius)
    np.testing.assert_array_equal(found, obvious(prediction, truth, radius))
    boundary, overlap = BoundaryF(CLASSES), SegmentationIoU(CLASSES)
    seconds = fastest(
        {
            "BoundaryF": lambda: boundary.update(prediction, truth),
            "obvious way": lambda: obvious(prediction, truth, radius),
            "SegmentationIoU": lambda: overlap.update(prediction, truth),
        },
        rounds=20,
    )
    print(f"{classes} of {CLASSES} classes in a picture of {shape[1]} x {shape[0]} pixels")
    for name, value in seconds.items():
        print(f"  {name:16} {value * 1e3:7.1f} ms")


def hierarchy() -> None:
    """Time the metrics of levels and regions."""
    shape = 321, 481
    levels = [patches(2, count, count, shape) for count in (64, 32, 16, 8)]
    people = [patches(3 + person, 20, 20, shape) for person in range(5)]
    print(f"4 levels against 5 annotators in a picture of {shape[1]} x {shape[0]} pixels")
    for name, one_to_one, rounds in (("HierarchyMetrics", False, 20), ("one to one", True, 3)):
        metric = HierarchyMetrics(["64", "32", "16", "8"], one_to_one=one_to_one)
        update = partial(metric.update, levels, people, people[0] % 5)
        seconds = fastest({name: update}, rounds=rounds)
        print(f"  {name:16} {seconds[name] * 1e3:7.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    semantic(4, 12)
    semantic(CLASSES, 60)
    hierarchy()
