"""Superpixels of a batch: sizes and centroids against a plain loop."""

import pytest
import torch

from cast_exp.ops import Superpixels


@pytest.mark.parametrize(("shape", "count"), [((2, 9, 7), 5), ((1, 1, 1), 1), ((3, 16, 20), 400)])
def test_sizes_and_centroids_are_those_of_a_loop(shape: tuple[int, int, int], count: int) -> None:
    labels = torch.randint(0, count, shape, generator=torch.Generator().manual_seed(0))
    superpixels = Superpixels.of(labels, count)
    for image in range(shape[0]):
        for label in range(count):
            places = (labels[image] == label).nonzero()
            assert superpixels.sizes[image, label] == len(places)
            mean = places.float().mean(0) if len(places) else torch.zeros(2)
            torch.testing.assert_close(superpixels.centroids[image, label], mean)


def test_without_a_number_it_is_one_more_than_the_largest_label() -> None:
    superpixels = Superpixels.of(torch.tensor([[[0, 4], [4, 2]]]))
    assert superpixels.count == 5
    assert superpixels.sizes.tolist() == [[1, 0, 1, 0, 2]]
    assert Superpixels.of(superpixels) is superpixels


def test_a_negative_label_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0, but there is -1"):
        Superpixels.of(torch.tensor([[[0, -1]]]))


def test_a_batch_is_full_if_all_of_its_parts_are() -> None:
    labels = torch.arange(4).view(1, 2, 2)
    full, unknown = Superpixels.of(labels, 4, full=True), Superpixels.of(labels, 4)
    assert Superpixels.cat([full, full]).full
    assert not Superpixels.cat([full, unknown]).full
    assert full.to("cpu").full
