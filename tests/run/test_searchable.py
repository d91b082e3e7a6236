from pathlib import Path

import yaml
from support.run_folders import run_folder

from cast_exp.run.searchable import searchable_config

CONFIG = {
    "name": "mine",
    "seed": 3,
    "evaluate": ["knn"],
    "model": {"_target_": "cast_exp.models.create_model", "dim": 8, "drop": None},
    "pooling": {"levels": [8, 4]},
    "data": {"batch_size": 8, "superpixels": "${superpixel}"},
    "superpixel": {"count": 16},
    "trainer": {"max_epochs": 2},
    "callbacks": {"knn": {"every": 1}},
    "evaluation": {"knn": {"k": 20}, "retrieval": {"k": 5, "scenes": "${scenes.voc}"}},
    "scenes": {"voc": {"root": "x"}},
}


def folder(tmp_path: Path, config: object = CONFIG, kind: str = "train") -> Path:
    typed = ["experiment=shapes_moco", "pooling=kmeans", "data.batch_size=8", "seed=3"]
    choices = {"pooling": "kmeans", "superpixel": "slic", "model": "tiny"}
    run = run_folder(tmp_path / "run", *typed, choices=choices, kind=kind)
    (run / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_choices_by_name_and_what_the_run_reads(tmp_path: Path) -> None:
    found = searchable_config(folder(tmp_path))
    assert found["pooling"] == "kmeans"
    assert found["superpixel"] == "slic"
    assert found["experiment"] == "shapes_moco"
    assert (found["name"], found["seed"], found["evaluate"]) == ("mine", 3, ["knn"])
    assert found["variant"] == "experiment=shapes_moco pooling=kmeans data.batch_size=8"
    assert found["settings"] == {
        "model": {"dim": 8},
        "pooling": {"levels": [8, 4]},
        "data": {"batch_size": 8},
        "superpixel": {"count": 16},
        "trainer": {"max_epochs": 2},
        "evaluation": {"knn": {"k": 20}},
    }
    assert "local" not in found


def test_an_evaluation_of_scenes_has_these_and_nothing_of_a_training(tmp_path: Path) -> None:
    config = {**CONFIG, "evaluate": ["retrieval"]}
    settings = searchable_config(folder(tmp_path, config, "eval"))["settings"]
    assert settings["evaluation"] == {"retrieval": {"k": 5}}
    assert settings["scenes"] == {"voc": {"root": "x"}}
    assert "trainer" not in settings


def test_a_folder_without_what_hydra_leaves_has_no_config(tmp_path: Path) -> None:
    assert searchable_config(tmp_path) == {}
