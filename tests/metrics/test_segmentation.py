import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from cast_exp.metrics import SegmentationIoU


def maps(seed, classes, shape=(17, 23), occurring=None):
    """Prediction, and truth with void."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, occurring or classes, shape)
    prediction = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, occurring or classes))
    truth[rng.random(shape) < 0.1] = 255
    return prediction, truth


def slow(images, classes):
    ious = []
    for c in range(classes):
        both = either = 0
        for prediction, truth in images:
            for p, t in zip(prediction.ravel(), truth.ravel(), strict=True):
                if t != 255:
                    both += p == c and t == c
                    either += p == c or t == c
        ious.append(both / either if either else float("nan"))
    return ious


@pytest.mark.parametrize(("classes", "occurring"), [(1, 1), (2, 2), (21, 6), (5, 5)])
def test_equals_counting_pixels_and_torchmetrics(classes, occurring):
    images = [maps(seed, classes, occurring=occurring) for seed in range(3)]
    metric = SegmentationIoU(classes)
    for prediction, truth in images:
        metric.update(prediction, truth.astype(np.uint8))
    figures = metric.compute()
    expected = slow(images, classes)
    np.testing.assert_allclose(figures["iou"], expected)
    assert figures["miou"].item() == pytest.approx(np.nanmean(expected))
    right = sum((p == t).sum() for p, t in images) / sum((t != 255).sum() for _, t in images)
    assert figures["accuracy"].item() == pytest.approx(right)
    if classes > 1:
        reference = MulticlassJaccardIndex(classes, ignore_index=255)
        for prediction, truth in images:
            reference.update(torch.from_numpy(prediction), torch.from_numpy(truth))
        assert figures["miou"].item() == pytest.approx(reference.compute().item(), abs=1e-6)


def test_by_hand():
    metric = SegmentationIoU(4)
    metric.update(torch.tensor([[0, 0, 1], [1, 3, 3]]), torch.tensor([[0, 1, 1], [1, 255, 0]]))
    figures = metric.compute()
    # class 3 is predicted once where it is not (void hides the other), class 2 does not occur
    np.testing.assert_allclose(figures["iou"], [1 / 3, 2 / 3, np.nan, 0])
    assert figures["miou"] == pytest.approx(1 / 3)
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert figures["mean_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_tables_of_ranks_add_up_and_reset_forgets():
    images = [maps(seed, 5) for seed in range(4)]
    whole, part = SegmentationIoU(5), SegmentationIoU(5)
    for image in images:
        whole.update(*image)
    for image in images[:2]:
        part.update(*image)
    first = part.table.clone()
    part.reset()
    for image in images[2:]:
        part.update(*image)
    part.update_table(first)
    assert part.compute()["miou"] == whole.compute()["miou"]


def test_what_is_no_class_counts_only_where_truth_is_void():
    metric = SegmentationIoU(3)
    metric.update(torch.tensor([[255, 1]]), torch.tensor([[255, 1]]))
    assert metric.compute()["miou"] == 1
    for bad in (-1, 3):
        with pytest.raises(ValueError, match=r"0\.\.2"):
            metric.update(torch.tensor([[0, bad]]), torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match=r"\(2, 1\), truth \(1, 2\)"):
        metric.update(torch.zeros(2, 1), torch.zeros(1, 2))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_counted_is_nan():
    metric = SegmentationIoU(3)
    metric.update(torch.zeros(2, 2), torch.full((2, 2), 255))
    figures = metric.compute()
    assert figures["miou"].isnan()
    assert figures["accuracy"].isnan()
