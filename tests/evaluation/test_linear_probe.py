"""A linear probe against descent by hand; it leaves no trace but its figures."""

import copy
import csv
from pathlib import Path

import pytest
import torch
from support.probe_run import LR, backbone, descended, encoded, fit, images, probe
from support.trainers import evaluate

from cast_exp.errors import UserError
from cast_exp.evaluation import KNN, LinearProbe, Subject


def test_it_is_descent_on_features_and_leaves_the_backbone_alone(tmp_path: Path) -> None:
    settings = {"base_lr": LR * 256 / 10, "rates": (1.0, 0.01), "epochs": 4, "batch_size": 10}
    judged, data = Subject(backbone()), images(batch_size=7)
    before = copy.deepcopy(judged.backbone.state_dict())
    generator = torch.get_rng_state()
    found = evaluate(LinearProbe(data, **settings, seed=7), judged, tmp_path)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(v, before[k]) for k, v in judged.backbone.state_dict().items())
    assert data.batch_size == 7

    vectors, labels = encoded(backbone(), images(), "train")
    asked, wanted = encoded(backbone(), images(), "val")
    weight, bias = descended(vectors, labels, LR, 4, 10, 0)
    top1 = ((asked @ weight.T + bias).argmax(1) == wanted).float().mean().item()
    assert found["cached_top1"] == pytest.approx(top1)
    assert found["cached_top1_best_rate"] >= found["cached_top1"]
    assert found["cached_top5"] == 1  # of three classes
    votes = evaluate(KNN(images()), Subject(backbone()), tmp_path / "knn")
    assert found["knn"] == pytest.approx(votes["top1"])


def test_the_official_protocol_is_that_of_the_task_on_augmented_images(tmp_path: Path) -> None:
    settings = {"base_lr": LR * 256 / 10, "epochs": 4, "batch_size": 10, "seed": 7, "classes": 5}
    task = probe(seed=7, classes=5)
    logged = fit(task, tmp_path / "task", images(augment=True)).callback_metrics
    official = LinearProbe(images(), protocol="official", **settings)
    found = evaluate(official, Subject(backbone()), tmp_path / "probe")
    names = ("top1", "top5", "best_top1")
    assert found == {
        f"official_{name}": pytest.approx(float(logged[f"val/{name}"])) for name in names
    }
    with open(tmp_path / "probe" / "metrics.csv", newline="") as file:
        losses = [row["train/loss"] for row in csv.DictReader(file) if row.get("train/loss")]
    assert float(losses[-1]) == pytest.approx(float(logged["train/loss"]), rel=1e-4)


def test_there_must_be_something_to_read() -> None:
    LinearProbe(images()).check(Subject(backbone()))
    with pytest.raises(UserError, match="fusion block"):
        LinearProbe(images(), readout="fused_mean").check(Subject(backbone()))
