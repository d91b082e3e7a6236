import pytest
import torch

from cast_exp.ops import segment_mean


@pytest.mark.parametrize(
    ("batch", "places", "width", "count"), [(1, 1, 1, 1), (2, 40, 5, 9), (3, 10, 4, 20)]
)
def test_definition(batch, places, width, count):
    features, segments = torch.randn(batch, places, width), torch.randint(count, (batch, places))
    means, sizes = segment_mean(features, segments, count)
    for image in range(batch):
        for segment in range(count):
            inside = features[image][segments[image] == segment]
            assert sizes[image, segment] == len(inside)
            expected = inside.mean(0) if len(inside) else torch.zeros(width)
            torch.testing.assert_close(means[image, segment], expected)


def test_gradient():
    features = torch.randn(2, 12, 3, dtype=torch.float64, requires_grad=True)
    segments = torch.randint(5, (2, 12))
    assert torch.autograd.gradcheck(lambda x: segment_mean(x, segments, 6)[0], features)


def test_half_precision_counts_beyond_its_range():
    features = torch.ones(1, 5000, 2, dtype=torch.float16)
    means, sizes = segment_mean(features, torch.zeros(1, 5000, dtype=torch.long), 1)
    assert sizes.item() == 5000
    torch.testing.assert_close(means, torch.ones(1, 1, 2))


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_out_of_range_is_refused(label):
    segments = torch.zeros(2, 6, dtype=torch.long)
    segments[0, 3] = label
    with pytest.raises(ValueError, match=r"0\.\.3"):
        segment_mean(torch.randn(2, 6, 3), segments, 4)
