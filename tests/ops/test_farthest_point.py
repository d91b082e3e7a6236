from pathlib import Path

import numpy as np
import pytest
import torch

from cast_exp.ops import farthest_point_sampling

GOLDEN = Path(__file__).parents[1] / "golden" / "farthest_point_sampling.npz"


def one_by_one(points, count, first, valid=None):
    """The definition, for one image."""
    points = points.double()
    chosen = [first]
    while len(chosen) < count:
        distances = torch.stack([(points - points[i]).norm(dim=1) for i in chosen]).amin(0)
        if valid is not None:
            allowed = valid.clone()
            allowed[chosen] = False
            distances[~allowed] = -1
        chosen.append(int(distances.argmax()))
    return chosen


def test_golden():
    with np.load(GOLDEN) as golden:
        features, indices = torch.from_numpy(golden["features"]), golden["indices"]
    ours = farthest_point_sampling(features, indices.shape[1])
    np.testing.assert_array_equal(ours.numpy(), indices)


@pytest.mark.parametrize(
    ("batch", "number", "width", "count"), [(1, 1, 3, 1), (3, 7, 2, 7), (2, 50, 16, 20)]
)
def test_definition(batch, number, width, count):
    points = torch.randn(batch, number, width)
    ours = farthest_point_sampling(points, count, first=number // 2)
    for image in range(batch):
        assert ours[image].tolist() == one_by_one(points[image], count, number // 2)


def test_duplicates_are_at_distance_zero():
    distinct = 100 * torch.randn(1, 5, 384) + 1000
    points = distinct.repeat(1, 8, 1)
    chosen = farthest_point_sampling(points, 9)[0]
    assert sorted(chosen[:5].tolist()) == [0, 1, 2, 3, 4]
    assert chosen[5:].tolist() == [0, 0, 0, 0]


def test_nearly_equal_points_are_told_apart():
    points = torch.zeros(1, 3, 384)
    points[0] = 1000
    points[0, 1, 0] += 1e-3
    points[0, 2, 0] -= 2e-3
    assert farthest_point_sampling(points, 3)[0].tolist() == [0, 2, 1]


def test_valid_points_come_first_and_once():
    points = torch.randn(4, 30, 8)
    points[1] = 1.0  # all the same
    valid = torch.rand(4, 30) < 0.5
    valid[:, 0] = True
    for image in range(4):
        number = int(valid[image].sum())
        ours = farthest_point_sampling(points, number, valid=valid)[image].tolist()
        assert sorted(ours) == valid[image].nonzero()[:, 0].tolist()
        assert ours == one_by_one(points[image], number, 0, valid[image])
    beyond = farthest_point_sampling(points, 30, valid=valid)
    assert valid.gather(1, beyond).all()
