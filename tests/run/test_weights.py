"""Which weights an evaluation takes."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cast_exp.errors import UserError
from cast_exp.models.files import best_weights
from cast_exp.run.weights import with_weights


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "it's=1,a run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").touch()
    saved = ["experiment=shapes_moco", "data.root=/images", "model=vit_tiny", "model.fusion=true"]
    saved += ["seed=3", "+trainer.x=1", "superpixel.count=9", "evaluate=[knn]"]
    OmegaConf.save(OmegaConf.create(saved), folder / ".hydra" / "overrides.yaml")
    return folder


def test_the_best_weights_of_a_run_on_its_own_data(run: Path) -> None:
    found = with_weights([f"run={run}", "superpixel.count=16"])
    assert found[:3] == ["experiment=shapes_moco", "data.root=/images", f"run={run}"]
    assert found[3] == "superpixel.count=16"
    assert found[4].startswith("checkpoint='")
    assert "last.ckpt" in found[4]
    assert found[5] == "model=pretrained"
    (run / "checkpoints" / "best.ckpt").touch()
    assert "best.ckpt" in with_weights([f"run={run}"])[3 + 1]


@pytest.mark.parametrize("choice", ["experiment=voc_retrieval", "data=camvid"])
def test_on_other_data_nothing_but_the_weights_is_of_the_run(run: Path, choice: str) -> None:
    found = with_weights([f"run={run}", choice])
    assert found[:2] == [f"run={run}", choice]
    assert len(found) == 4


def test_a_checkpoint_is_the_model_unless_another_is_told() -> None:
    assert with_weights(["checkpoint=a.ckpt"]) == ["checkpoint=a.ckpt", "model=pretrained"]
    both = ["checkpoint=a.ckpt", "model=pretrained"]
    assert with_weights(both) == both
    assert with_weights(["model=cast_tiny"]) == ["model=cast_tiny"]


def test_a_folder_that_is_no_run_or_has_no_weights(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a run"):
        with_weights([f"run={tmp_path}"])
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match="has it trained"):
        best_weights(run)
