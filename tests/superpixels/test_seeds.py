from itertools import product
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawing import batch, shapes

from cast_exp.superpixels import Seeds
from cast_exp.superpixels.seeds import _request


def opencv(image: NDArray[np.uint8], count: int, bins: int, iterations: int) -> NDArray[np.int32]:
    """SEEDS on the original 8-bit image with everything spelt out."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    seeds = cv2.ximgproc.createSuperpixelSEEDS(
        image_width=image.shape[1],
        image_height=image.shape[0],
        image_channels=3,
        num_superpixels=count,
        num_levels=1,
        prior=2,
        histogram_bins=bins,
        double_step=False,
    )
    seeds.iterate(lab, iterations)
    return seeds.getLabels()


@pytest.mark.parametrize(
    ("size", "parameters"),
    [((224, 224), (196, 15, 20)), ((96, 160), (196, 5, 15)), ((150, 101), (64, 5, 15))],
)
def test_equals_opencv_on_the_exact_8_bit_image(
    size: tuple[int, int], parameters: tuple[int, int, int]
) -> None:
    images = [shapes(*size, seed)[0] for seed in range(2)]
    labels = Seeds(*parameters)(batch(*images)).numpy()
    for found, image in zip(labels, images, strict=True):
        np.testing.assert_array_equal(found, opencv(image, *parameters))


def test_rounding_errors_of_a_normalisation_do_not_matter() -> None:
    image = batch(shapes(64, 64)[0])
    for error in (-1e-3, 1e-3):
        assert torch.equal(Seeds(64)(image + error), Seeds(64)(image))


def test_parameters_matter() -> None:
    image = batch(shapes(128, 128)[0])
    reference = Seeds(64)(image)
    assert not torch.equal(Seeds(64, histogram_bins=5)(image), reference)
    assert not torch.equal(Seeds(64, iterations=1)(image), reference)


@pytest.mark.parametrize(
    ("size", "count", "real"),
    [
        ((224, 224), 196, 196),
        ((224, 224), 49, 49),
        ((256, 256), 1024, 1024),
        ((480, 480), 900, 900),
        ((375, 500), 1024, 910),
        ((333, 500), 1024, 805),
        ((500, 334), 1024, 805),
        ((281, 500), 1024, 700),
        ((500, 500), 1024, 961),
        ((512, 512), 384, 324),
    ],
)
def test_real_counts(size: tuple[int, int], count: int, real: int) -> None:
    seeds = Seeds(count, iterations=1)
    assert seeds(batch(shapes(*size)[0])).max() + 1 == seeds.labels(*size) == real


def test_the_number_of_labels_is_that_of_opencv() -> None:
    sides = [
        *range(14, 80, 5),
        96,
        101,
        150,
        224,
        225,
        256,
        281,
        333,
        375,
        480,
        500,
        512,
        640,
        1023,
    ]
    for size in product(sides, repeat=2):
        for count in (10, 49, 64, 100, 196, 384, 576, 900, 1024):
            asked, blocks = _request(*size, count)
            if not blocks:
                continue
            seeds = cv2.ximgproc.createSuperpixelSEEDS(size[1], size[0], 3, asked, 1, 2, 5, False)
            expected = seeds.getNumberOfSuperpixels()
            assert Seeds(count).labels(*size) == blocks == expected, (size, count)


@pytest.mark.parametrize(
    ("size", "count", "real"),
    [((64, 64), 196, 100), ((512, 512), 1024, 1024), ((1, 1), 196, 1), ((1, 50), 10, 10)],
)
def test_the_number_of_labels_is_known_without_an_image(
    size: tuple[int, int], count: int, real: int
) -> None:
    assert Seeds(count).labels(*size) == real


def run_small_sizes() -> None:
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    for height, width in product([1, 2, 3, 7, 14, 27], [1, 2, 7, 15, 22, 300]):
        for size, count in product([(height, width), (width, height)], [10, 50, 196]):
            labels = Seeds(count, iterations=1)(torch.rand(1, 3, *size))
            assert labels.max() < count, (size, count)
    Seeds(5000, iterations=1)(torch.rand(1, 3, 64, 64))


def test_sizes_that_crash_or_hang_opencv() -> None:
    """In a process of its own, as a mistake would end this one or never end."""
    process = get_context("fork").Process(target=run_small_sizes)
    process.start()
    process.join(timeout=60)
    process.kill()
    assert process.exitcode == 0
