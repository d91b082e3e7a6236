"""Figure-ground Jaccard on tokens against one on pixels."""

import numpy as np
import pytest
import torch

from cast_exp.metrics import FigureGroundJaccard, head_jaccards

RULES = ("object_tokens", "object_pixels", "union_tokens", "union_pixels")


def example(seed, tokens=12, heads=3, objects=3, shape=(20, 30)):
    """Attention, blocks of pixels of uneven size (one token has none), objects and void."""
    rng = np.random.default_rng(seed)
    attention = rng.random((heads, tokens)) ** 3
    owners = np.sort(
        rng.choice(tokens - 1, shape[0] * shape[1], p=rng.dirichlet([2] * (tokens - 1)))
    )
    segments = owners.reshape(shape)
    truth = np.zeros(shape, dtype=int)
    for number in range(objects):
        row, column = rng.integers(0, 12, 2)
        truth[row : row + 8, column : column + 9] = 3 * number + 2
    truth[:, :2] = 255
    return attention, segments, truth


def pixel_masks(attention, segments, mass, spread):
    """Sort pixels (or, not spread, tokens) by what they have; a token stays or goes as a whole."""
    masks = []
    for head in attention:
        sizes = np.bincount(segments.ravel(), minlength=len(head))
        if spread:
            values = (head / np.maximum(sizes, 1))[segments].ravel()
            owner = segments.ravel()
        else:
            values, owner = head, np.arange(len(head))
        order = np.argsort(values, kind="stable")
        over = np.cumsum(values[order]) / values.sum() > 1 - mass
        masks.append(np.isin(segments, owner[order][over]))
    return masks


def brute_force(attention, segments, truth, mass):
    """The four figures of an image, pixel by pixel."""
    valid = truth != 255
    objects = [truth == number for number in np.unique(truth) if number not in (0, 255)]
    figures = {}
    for name, spread in (("tokens", False), ("pixels", True)):
        masks = pixel_masks(attention, segments, mass, spread)

        def best(target, masks=masks):
            return max(
                (mask & target & valid).sum() / ((mask | target) & valid).sum() for mask in masks
            )

        figures[f"object_{name}"] = np.mean([best(target) for target in objects])
        figures[f"union_{name}"] = best(np.any(objects, axis=0))
    return figures


def on_tokens(attention, segments, truth, mass):
    return head_jaccards(*map(torch.from_numpy, (attention, segments, truth)), mass)


@pytest.mark.parametrize("mass", [0.3, 0.6, 0.9])
def test_it_is_the_pixel_wise_one(mass):
    metric, expected = FigureGroundJaccard(), []
    for seed in range(12):
        image = example(seed, objects=1 + seed % 3)
        metric.update(on_tokens(*image, mass))
        expected.append(brute_force(*image, mass))
    figures = metric.compute()
    for rule in RULES:
        mean = np.mean([image[rule] for image in expected])
        assert figures[f"jaccard_{rule}"].item() == pytest.approx(mean, abs=1e-12)
    assert len({round(figures[f"jaccard_{rule}"].item(), 6) for rule in RULES}) == 4


def test_by_hand():
    segments = np.array([[0, 0, 1, 2]] * 2)
    truth = np.array([[5, 5, 7, 0], [5, 5, 255, 255]])
    attention = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    jaccards = on_tokens(attention, segments, truth, 0.6)
    assert jaccards.shape == (2, 2, 3)
    # the first head sees object 5, the second object 7; together they are five pixels
    assert jaccards[0].tolist() == [[4 / 5, 1, 0], [1 / 5, 0, 1]]
    metric = FigureGroundJaccard("union", "pixels")
    metric.update(jaccards)
    figures = metric.compute()
    assert figures["jaccard_object_tokens"] == 1
    assert figures["jaccard_union_tokens"] == pytest.approx(0.8)
    assert figures["jaccard"] == figures["jaccard_union_pixels"]


def test_images_without_an_object_are_left_out():
    metric = FigureGroundJaccard()
    attention, segments, truth = example(0)
    metric.update(on_tokens(attention, segments, truth, 0.6))
    alone = metric.compute()
    for nothing in (np.zeros_like(truth), np.full_like(truth, 255)):
        metric.update(on_tokens(attention, segments, nothing, 0.6))
    assert metric.compute() == alone
    assert (metric.images, metric.empty) == (1, 2)
    metric.reset()
    metric.update(on_tokens(attention, segments, np.zeros_like(truth), 0.6))
    assert metric.compute()["jaccard"].isnan()


def test_a_single_segment_is_all_of_the_image():
    truth = np.zeros((4, 5), dtype=int)
    truth[:, :2] = 1
    jaccards = on_tokens(np.array([[0.7], [0.1]]), np.zeros((4, 5), dtype=int), truth, 0.6)
    assert jaccards.flatten().tolist() == [0.4] * 8


def test_ranks_add_up():
    whole, parts = FigureGroundJaccard(), [FigureGroundJaccard(), FigureGroundJaccard()]
    for seed in range(4):
        jaccards = on_tokens(*example(seed), 0.6)
        whole.update(jaccards)
        parts[seed % 2].update(jaccards)
    sums = {name: getattr(parts[0], name) + getattr(parts[1], name) for name in ("sums", "images")}
    torch.testing.assert_close(sums["sums"], whole.sums)
    assert sums["images"] == whole.images == 4
