"""Scores of named segments against torchmetrics."""

import json

import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from cast_exp.evaluation.open_vocabulary.score import NamingScore, class_rows

CLASSES = {"object": 4, "part": 6}


def test_figures_of_images_and_of_the_whole() -> None:
    random = torch.Generator().manual_seed(0)
    total, images, all_pixels = NamingScore(CLASSES, 0.01), [], []
    for top in (2, 3, 4):  # not every image has every class
        predicted, truth = (
            {kind: torch.randint(top, (9, 8), generator=random) for kind in CLASSES}
            for _ in range(2)
        )
        score = NamingScore(CLASSES, 0.01)
        score.update(predicted, {kind: drawn.byte().numpy() for kind, drawn in truth.items()})
        total.add(json.loads(json.dumps(score.record())))
        images.append(
            [
                float(multiclass_jaccard_index(predicted[kind], truth[kind], count))
                for kind, count in CLASSES.items()
            ]
        )
        all_pixels.append((predicted["part"], truth["part"]))
    figures = total.figures()
    means = torch.tensor(images, dtype=torch.float64).mean(0)
    assert figures["object_miou"] == pytest.approx(float(means[0]))
    assert figures["part_miou"] == pytest.approx(float(means[1]))
    predicted, truth = (torch.cat(each) for each in zip(*all_pixels, strict=True))
    whole = multiclass_jaccard_index(predicted, truth, 6)
    assert figures["part_miou_total"] == pytest.approx(float(whole))
    assert figures["part_accuracy"] == pytest.approx(float((predicted == truth).float().mean()))
    assert 0 < figures["object_boundary_f"] <= 1
    head, *rows = class_rows("abcdef", {"model": total, "sam": total}, "part")
    assert head == ("class", "pixels", "model", "sam")
    assert [row[1] for row in rows] == torch.bincount(truth.flatten(), minlength=6).tolist()
    each = multiclass_jaccard_index(predicted, truth, 6, average="none")
    assert [row[2] for row in rows[:4]] == pytest.approx(each[:4].tolist())
