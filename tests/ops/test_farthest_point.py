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
        distances = torch.stack([(points - points[i]).square().sum(1) for i in chosen]).amin(0)
        if valid is not None:
            allowed = valid.clone()
            allowed[chosen] = False
            distances = distances.float().masked_fill(~allowed, -1)
        chosen.append(int(distances.argmax()))
    return chosen


def test_golden():
    with np.load(GOLDEN) as golden:
        features, indices = torch.from_numpy(golden["features"]), golden["indices"]
    ours = farthest_point_sampling(features, indices.shape[1])
    np.testing.assert_array_equal(ours.numpy(), indices)


def kind_of_points(kind, batch, number, width):
    points = torch.randn(batch, number, width)
    if kind == "repeated":
        points = points[:, torch.randint(max(1, number // 3), (number,))]
    elif kind.startswith("mirrored"):
        points = torch.cat([points, -points, 0 * points], 1)[:, number // 2 + 1 :][:, :number]
        points = points + (3.3 if kind.endswith("nearly") else 0)
    elif kind == "few values":
        points = points.round() / 10 + 1
    elif kind == "far away":
        points = points + 1e6
    return points


@pytest.mark.parametrize(
    "kind", ["plain", "repeated", "mirrored", "mirrored, nearly", "few values", "far away"]
)
@pytest.mark.parametrize(
    ("batch", "number", "width", "count"),
    [(1, 1, 3, 1), (3, 7, 2, 7), (2, 50, 16, 20), (2, 90, 5, 10), (2, 40, 384, 39)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_definition(kind, batch, number, width, count, masked):
    torch.manual_seed(0)
    points = kind_of_points(kind, batch, number, width)
    first = number // 2
    valid = torch.rand(batch, number) < 0.8
    valid[:, first] = True
    if masked:
        count = min(count, int(valid.sum(1).min()))
    ours = farthest_point_sampling(points, count, first=first, valid=valid if masked else None)
    for image in range(batch):
        mask = valid[image] if masked else None
        assert ours[image].tolist() == one_by_one(points[image], count, first, mask)


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
    valid[:, 0] = False
    chosen = farthest_point_sampling(points, 30, valid=valid)
    for image in range(4):
        allowed = valid[image].nonzero()[:, 0].tolist()
        assert chosen[image, 0] == allowed[0]
        assert sorted(chosen[image, : len(allowed)].tolist()) == allowed
    assert valid.gather(1, chosen).all()


def test_neighbours_in_a_batch_do_not_matter():
    points = torch.stack([kind_of_points(kind, 1, 40, 24)[0] for kind in ("plain", "repeated")])
    together = farthest_point_sampling(points, 20)
    for image in range(2):
        assert torch.equal(farthest_point_sampling(points[image, None], 20)[0], together[image])


@pytest.mark.parametrize(("count", "first"), [(0, 0), (3, 5), (3, -1)])
def test_impossible_requests(count, first):
    with pytest.raises(ValueError, match="of 5 points"):
        farthest_point_sampling(torch.randn(1, 5, 2), count, first=first)
