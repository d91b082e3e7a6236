"""Segmentation by a model that a real fine-tuning has made, against its last validation."""

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from support.segmentation_run import backbone, fit, scenes, task
from support.trainers import evaluate
from torch import Tensor

from cast_exp.errors import UserError
from cast_exp.evaluation import Segmentation, Subject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("tuned")
    tuned = task(tolerance=0.03)
    saved = ModelCheckpoint(folder, filename="last")
    checks = {"val_check_interval": 1, "check_val_every_n_epoch": None}
    trainer = fit(tuned, folder, saved, max_steps=1, **checks)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return folder / "last.ckpt", {k[4:]: v for k, v in figures.items() if k.startswith("val/")}


def test_figures_are_those_of_the_last_validation_also_after_an_interruption(
    run: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    checkpoint, logged = run
    subject = Subject.load(checkpoint)
    found = evaluate(Segmentation(scenes(), 0.03, pictures=2), subject, tmp_path)
    assert found == pytest.approx(logged, abs=1e-6)
    assert 0 < found["miou"] < found["pixel_accuracy"] < 1
    assert len({*found.values()}) > 4
    assert len([*(tmp_path / "pictures").glob("*.png")]) == 2
    records = tmp_path / "images.jsonl"
    whole = records.read_text()
    records.write_text("".join(whole.splitlines(keepends=True)[:2]))  # of an image
    assert evaluate(Segmentation(scenes(), 0.03, pictures=2), subject, tmp_path) == found
    assert records.read_text() == whole


def test_tables_are_those_of_counting_pixels(
    run: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    subject, data = Subject.load(run[0]), scenes()
    assert subject.segmenter is not None
    evaluate(Segmentation(data), subject, tmp_path)
    pairs: list[Tensor] = []
    for scene in data.scenes("val"):
        given = scene.image, scene.superpixels, scene.full_superpixels
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        pairs.append(
            torch.stack([truth.flatten(), subject.segmenter.predict(*given).pixels.flatten()])
        )
    truth, predicted = torch.cat(pairs, 1)
    names = data.semantic_classes
    with open(tmp_path / "per_class.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == names
    for number, row in enumerate(table):
        a, b = truth == number, predicted == number
        assert (int(row["pixels"]), int(row["predicted_pixels"])) == (int(a.sum()), int(b.sum()))
        assert float(row["iou"]) == pytest.approx(float((a & b).sum() / (a | b).sum()))
        assert float(row["accuracy"]) == pytest.approx(float((a & b).sum() / a.sum()))
    with open(tmp_path / "confusion.csv", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            mine = predicted[truth == number].bincount(minlength=len(names)).tolist()
            assert [int(row[name]) for name in names] == mine


def test_an_evaluation_in_windows_is_the_validation_in_windows(
    run: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    options = {"fit": "windows", "short_side": 40, "stride": 20}
    data, tuned = scenes(**options), task(tolerance=0.03)
    logged = fit(tuned, tmp_path, data=data, checkpoint=run[0], max_steps=2).callback_metrics
    trained = tmp_path / "trained.ckpt"
    tuned.trainer.save_checkpoint(trained)
    subject = Subject.load(trained)
    found = evaluate(Segmentation(data, 0.03, pictures=1), subject, tmp_path)
    for name, value in found.items():
        assert value == pytest.approx(float(logged[f"val/{name}"]), abs=1e-6)
    assert len([*(tmp_path / "pictures").glob("*.png")]) == 1
    whole = evaluate(Segmentation(scenes(), 0.03), subject, tmp_path / "whole")
    assert whole.keys() == found.keys()
    assert whole["ceiling"] != found["ceiling"], "superpixels are others"


def test_what_does_not_fit_is_refused(run: tuple[Path, dict[str, float]]) -> None:
    subject = Subject.load(run[0])
    Segmentation(scenes()).check(subject)
    with pytest.raises(UserError, match="it has 4 classes, the data have 6"):
        Segmentation(scenes(classes=5)).check(subject)
    with pytest.raises(UserError, match=r"no head for segmentation; give .*voc_finetune"):
        Segmentation(scenes()).check(Subject(backbone()))
    with pytest.raises(UserError, match="keeps no average"):
        Subject.load(run[0], weights="average")
