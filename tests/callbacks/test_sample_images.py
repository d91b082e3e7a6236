"""The images that a run is looked at by."""

from functools import partial

import numpy as np
import pytest
import torch
from support.probe_run import images
from support.retrieval import scenes

from cast_exp.callbacks.sample_images import load_sample_images
from cast_exp.data.datasets import ImageFolder, Shapes
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid


def test_scenes_come_one_by_one_with_their_objects() -> None:
    data = scenes()
    samples = load_sample_images(data, "train", 3)
    assert len(samples) == 3
    for sample, scene in zip(samples, data.scenes("train", 3), strict=True):
        assert torch.equal(sample.images, scene.image)
        assert torch.equal(sample.superpixels.map, scene.superpixels.map)
        (objects,) = sample.objects
        semantic = np.asarray(scene.truth["semantic"])
        counted = semantic != 255  # void in truth, where there may be an instance
        assert np.array_equal(objects[counted] > 0, semantic[counted] > 0)


def test_images_come_in_one_batch_cut_like_their_objects() -> None:
    dataset = partial(Shapes, val=6, size=64, creatures=2)
    data = images(dataset=dataset, image_size=32, eval_crop=1.0, superpixel=Grid(16))
    (sample,) = load_sample_images(data, "val", 4)
    assert sample.images.shape == (4, 3, 32, 32)
    assert sample.superpixels.map.shape == (4, 32, 32)
    assert len(sample.objects) == 4
    index = data.chosen("val", 4)
    for objects, number in zip(sample.objects, index, strict=True):
        drawn = data.raw("val")[number]["instance"]
        assert objects.shape == (32, 32)
        assert np.mean(objects == drawn[1::2, 1::2]) > 0.95
    (bare,) = load_sample_images(images(), "train", 4)
    assert bare.objects == []


def test_none_that_can_be_read(tmp_path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "1.jpg").touch()
    data = images(dataset=ImageFolder, root=tmp_path)
    with pytest.raises(UserError, match="none of the val images to draw can be read"):
        load_sample_images(data, "val", 3)
