"""The classifier of a real training, against its last validation and against counting by hand."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from support import probe_run
from support.classifier_run import Patches, images, trained
from support.official import backbone_state, deit, filled
from support.trainers import evaluate
from torch.nn import functional as F

from cast_exp.checkpoints import Classifier
from cast_exp.errors import UserError
from cast_exp.evaluation import Classification, Subject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("supervised")
    figures = trained(folder)
    return folder / "last.ckpt", figures


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_are_those_of_the_last_validation(
    run: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    checkpoint, logged = run
    subject = Subject.load(checkpoint)
    found = evaluate(Classification(images(), "cls"), subject, tmp_path)  # it reads fused_mean
    assert found == pytest.approx({k: logged[f"val/{k}"] for k in ("top1", "top5")}, abs=1e-6)
    average = Subject.load(checkpoint, weights="average")
    found = evaluate(Classification(images(), batch_size=7), average, tmp_path)
    assert found["top1"] == pytest.approx(logged["val/ema_top1"], abs=1e-6)
    assert subject.classifier is not None
    assert average.classifier is not None
    assert not torch.equal(average.classifier.layer.weight, subject.classifier.layer.weight)
    assert 0 < logged["val/top1"] < logged["val/top5"] < 1  # and they say something


@torch.no_grad()
def test_tables_are_those_of_counting(run: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    checkpoint, _ = run
    subject = Subject.load(checkpoint)
    evaluate(Classification(images(), pictures=3), subject, tmp_path)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    (batch,) = images().plain_dataloader("val")
    batch = images().prepare(batch, "cpu")
    labels = batch["label"]
    vectors = subject.backbone(batch["images"], batch["superpixels"]).fused_mean()
    scores = vectors @ state["head.weight"].T + state["head.bias"]
    names = Patches.classes
    pairs = Counter(
        (names[label], names[row.argmax()]) for label, row in zip(labels, scores, strict=True)
    )
    for row in rows(tmp_path / "confusion.csv"):
        assert {c: int(row[c]) for c in names} == {c: pairs[row["true"], c] for c in names}
    wrong = {pair: count for pair, count in pairs.items() if pair[0] != pair[1]}
    confused = rows(tmp_path / "confused.csv")
    assert {(r["true"], r["predicted"]): int(r["count"]) for r in confused} == wrong
    assert [int(r["count"]) for r in confused] == sorted(wrong.values(), reverse=True)
    assert float(confused[0]["share"]) == int(confused[0]["count"]) / 6
    ranks = (scores > scores.gather(1, labels[:, None])).sum(1)
    for label, row in enumerate(rows(tmp_path / "per_class.csv")):
        mine = ranks[labels == label]
        assert (row["class"], int(row["images"])) == (names[label], 6)
        shares = [(mine < k).double().mean().item() for k in (1, 5)]
        assert [float(row["top1"]), float(row["top5"])] == pytest.approx(shares)
    for name in ("confusion.png", "pictures/chosen.png", "pictures/mistakes.png"):
        assert Image.open(tmp_path / name).size > (100, 100)


def test_of_a_probe_at_several_rates_the_one_to_report_counts(tmp_path: Path) -> None:
    task = probe_run.probe(rates=[30.0, 1.0, 0.001], features="cached", classes=9)
    kept = ModelCheckpoint(tmp_path, filename="last")
    data = probe_run.images(dataset=Patches)
    logged = probe_run.fit(task, tmp_path, data, kept, max_epochs=2).callback_metrics
    subject = Subject.load(tmp_path / "last.ckpt")
    found = evaluate(Classification(data), subject, tmp_path)
    for name in ("top1", "top5"):
        assert found[name] == pytest.approx(float(logged[f"val/{name}"]), abs=1e-6)
    assert subject.classifier is not None
    assert torch.equal(subject.classifier.layer.weight, task.heads[1].weight)  # rate 1
    assert [*rows(tmp_path / "confusion.csv")[0]][-1] == "none of these"  # the ninth output


class Others(Patches):
    classes = ("black", "blue", "cyan", "green", "red", "pink", "yellow", "white")


class One(Patches):
    classes = Patches.classes[:1]


class Seven(Patches):
    classes = Patches.classes[:7]


@pytest.mark.parametrize(
    ("dataset", "complaint"),
    [
        (Others, "class 2 is green there and cyan in the data; choose the data"),
        (Seven, "it has 8 classes, the data have 7"),
    ],
)
def test_data_of_other_classes_are_refused(
    run: tuple[Path, dict[str, float]], dataset: Any, complaint: str
) -> None:
    subject = Subject.load(run[0])
    Classification(images()).check(subject)
    with pytest.raises(UserError, match=complaint):
        Classification(images(dataset)).check(subject)


def test_without_names_the_number_of_classes_counts() -> None:
    subject = Subject(probe_run.backbone(), classifier=Classifier(torch.nn.Linear(24, 1000)))
    Classification(images(), classes=1000).check(subject)
    with pytest.raises(UserError, match="it has 1000 classes, the data have 8"):
        Classification(images()).check(subject)
    with pytest.raises(UserError, match="no classifier of images; give a checkpoint of a sup"):
        Classification(images()).check(Subject(probe_run.backbone()))
    with pytest.raises(UserError, match="no classes to tell apart; choose labelled data"):
        Classification(images(One)).check()


class Photos:
    """Four images to validate on, whose classes are chosen later."""

    classes = tuple(map(str, range(1000)))
    labels = [0] * 4

    def __init__(self, split: str) -> None:
        if split != "val":
            raise UserError("there are no training images")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(index))
        picture = Image.fromarray((noise * 255).byte().numpy())
        return {"image": picture, "label": self.labels[index]}

    def path(self, index: int) -> str:
        return f"photo {index}"


@torch.no_grad()
def test_an_official_supervised_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the names and shapes of CAST-S by DeiT."""
    checkpoint: dict[str, Any] = deit(backbone_state("cast_deit"))
    weight, bias = filled("head.weight", 1000, 384), filled("head.bias", 1000)
    checkpoint["model"] |= {"head.weight": weight, "head.bias": bias}
    torch.save(checkpoint, tmp_path / "best_checkpoint.pth")
    subject = Subject.load(tmp_path / "best_checkpoint.pth")
    (tmp_path / "best_checkpoint.pth").unlink()
    data = images(Photos, image_size=64, batch_size=4)
    vectors, _ = probe_run.encoded(subject.backbone, data, "val")
    ranked = F.linear(vectors, weight, bias).argsort(1, descending=True)
    labels = [int(ranked[image, place]) for image, place in enumerate((0, 0, 3, 9))]
    monkeypatch.setattr(Photos, "labels", labels)
    evaluation = Classification(data, pictures=1)
    assert evaluate(evaluation, subject, tmp_path) == {"top1": 0.5, "top5": 0.75}
    assert not (tmp_path / "confusion.png").exists()  # of so many classes
    assert len(rows(tmp_path / "confused.csv")) == 2
