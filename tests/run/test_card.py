"""What figures are of."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.probe_run import images

from cast_exp import __version__
from cast_exp.checkpoints import save_pretrained
from cast_exp.checkpoints.files import fingerprint
from cast_exp.data.datasets import NoSuchSplit
from cast_exp.evaluation import KNN, Subject
from cast_exp.models import create_model
from cast_exp.run.card import write_card


def test_a_card_tells_weights_model_data_and_settings(tmp_path: Path) -> None:
    save_pretrained(create_model("cast_tiny"), tmp_path / "model")
    file = next((tmp_path / "model").glob("*.safetensors"))
    subject, knn = Subject.load(tmp_path / "model"), KNN(images())
    write_card(tmp_path, subject, str(file), "trained", {"knn": knn}, {"seed": 7})
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["version"] == __version__
    assert card["seed"] == 7
    assert card["model"] == subject.backbone.config.to_dict()
    assert card["weights"] == {
        "checkpoint": str(file.resolve()),
        "run": None,
        "which": "trained",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "fingerprint": fingerprint(subject.backbone),
    }
    assert card["data"] == {"knn": [knn.data.identity("train"), knn.data.identity("val")]}


def test_untrained_weights_and_splits_that_there_are_not(tmp_path: Path) -> None:
    def identity(split: str) -> dict[str, str]:
        if split == "val":
            raise NoSuchSplit("none")
        return {"split": split}

    subject = Subject(create_model("cast_tiny"))
    one = SimpleNamespace(data=SimpleNamespace(identity=identity))
    write_card(tmp_path, subject, None, "trained", {"one": one}, {})
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["weights"] == {"checkpoint": None, "fingerprint": fingerprint(subject.backbone)}
    assert card["data"] == {"one": [{"split": "train"}]}


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    write_card(tmp_path, Subject(create_model("cast_tiny")), None, "trained", {}, {})
    assert not list(tmp_path.iterdir())
