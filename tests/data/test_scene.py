"""A scene, and what is brought to its pixels."""

import numpy as np
import torch
from support.scenes import shape_scenes

from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD, Scene
from cast_exp.data.datasets import Shapes
from cast_exp.ops import Superpixels


def small() -> Scene:
    """Three superpixels on 2 x 3 pixels; the truth is twice as large."""
    full = torch.tensor([[0, 0, 1, 1, 2, 2]] * 4)
    image = torch.zeros(1, 3, 2, 3)
    superpixels = Superpixels.of(full[None, ::2, ::2])
    return Scene(image, superpixels, full, {"semantic": np.zeros((4, 6))}, 5, "here")


def test_values_of_superpixels_are_painted_at_the_size_of_the_truth() -> None:
    scene = small()
    assert scene.count == 3
    painted = scene.paint(torch.tensor([[1.0, 10], [2, 20], [3, 30]]))
    assert painted.shape == (4, 6, 2)
    assert painted[3].tolist() == [[1, 10], [1, 10], [2, 20], [2, 20], [3, 30], [3, 30]]


def test_pixels_are_those_of_the_file_at_the_size_of_the_truth() -> None:
    (scene,) = shape_scenes(1, size=48)
    raw = np.asarray(Shapes("val", size=48)[0]["image"])
    assert np.array_equal(scene.pixels, raw)
    pixels = small().pixels  # a normalised zero is the mean colour
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)
    assert np.abs(pixels / 255 - np.array(IMAGENET_MEAN)).max() < 0.5 / 255 + 1e-6
    assert min(IMAGENET_STD) > 0


def test_only_what_a_network_reads_is_moved() -> None:
    moved = small().to("meta")
    assert moved.image.is_meta
    assert moved.superpixels.map.is_meta
    assert moved.full_superpixels.device.type == "cpu"
    assert (moved.index, moved.path) == (5, "here")
