"""Which weights a command is about: `run=`, `checkpoint=`, and what may stand beside them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cast_exp.checkpoints import save_pretrained
from cast_exp.checkpoints.files import best_weights
from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.models import Pooling, create_model
from cast_exp.models.grouping import KMedoids
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.run.tree import config_tree
from cast_exp.run.weights import with_run
from cast_exp.train import train

Checked = Callable[..., list[str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "it's=1,a run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").touch()
    saved = ["experiment=shapes_moco", "data.root=/images", "model=vit_tiny", "model.fusion=true"]
    saved += ["seed=3", "+trainer.x=1", "superpixel.count=9", "evaluate=[knn]", "weights=average"]
    hydra = {"hydra": {"overrides": {"task": saved}}}
    OmegaConf.save(OmegaConf.create(hydra), folder / ".hydra" / "hydra.yaml")
    return folder


def test_the_best_weights_of_a_run_on_its_own_data(run: Path) -> None:
    with config_tree():
        found = with_run([f"run={run}", "superpixel.count=16"])
    assert found[:3] == ["experiment=shapes_moco", "data.root=/images", f"run={run}"]
    assert found[3] == "superpixel.count=16"
    assert found[4].startswith("checkpoint='")
    assert "last.ckpt" in found[4]
    assert len(found) == 5
    (run / "checkpoints" / "best.ckpt").touch()
    with config_tree():
        assert "best.ckpt" in with_run([f"run={run}"])[3 + 1]


@pytest.mark.parametrize("choice", ["experiment=voc_retrieval", "data=camvid"])
def test_on_other_data_nothing_but_the_weights_is_of_the_run(run: Path, choice: str) -> None:
    with config_tree():
        found = with_run([f"run={run}", choice])
    assert found[:2] == [f"run={run}", choice]
    assert len(found) == 3


def test_the_epoch_of_the_published_figure_where_it_was_kept(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chosen(*overrides: str) -> str:
        with config_tree():
            return Path(with_run([f"run={run}", *overrides])[-1].strip("'")).name

    saved = OmegaConf.load(run / ".hydra" / "hydra.yaml")
    saved.hydra.runtime = {"choices": {"experiment": "coco_moco"}}
    OmegaConf.save(saved, run / ".hydra" / "hydra.yaml")
    retrieval = "experiment=voc_retrieval"
    assert chosen(retrieval) == "last.ckpt"
    assert "after 150 epochs, that of the published figure, was not kept" in capsys.readouterr().err
    for epoch in (99, 149, 399):
        (run / "checkpoints" / f"epoch{epoch:04d}.ckpt").touch()
    assert chosen(retrieval) == "epoch0149.ckpt"
    assert "after 150 epochs, that of the published figure, is taken" in capsys.readouterr().err
    assert chosen(retrieval, "run_epochs.coco_moco=400") == "epoch0399.ckpt"
    capsys.readouterr()
    assert chosen(retrieval, "run_epochs=null") == chosen("data=camvid") == "last.ckpt"
    assert chosen("experiment=voc_retrieval,voc_figure_ground") == "last.ckpt"
    assert chosen("experiment=voc_retreival") == "last.ckpt"  # which is told later
    saved.hydra.runtime.choices.experiment = "in100_moco"
    OmegaConf.save(saved, run / ".hydra" / "hydra.yaml")
    assert chosen(retrieval) == "last.ckpt"
    assert not capsys.readouterr().err


def test_a_folder_that_is_no_run_or_has_no_weights(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a run"):
        with_run([f"run={tmp_path}"])
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match="has it trained"):
        best_weights(run)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A converted cast_tiny."""
    model = create_model("cast_tiny", pooling=Pooling((16, 8, 4)), fusion=True, mask_empty=False)
    save_pretrained(model, tmp_path / "tiny")
    return str(tmp_path / "tiny")


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Overrides that are added to a command of `eval`, or of `train` if it has no `evaluate`."""
    monkeypatch.chdir(tmp_path)
    register_resolvers()

    def checked(*command: str) -> list[str]:
        evaluates = any(text.startswith("evaluate=") for text in command)
        name, entry = ("eval", evaluate_model) if evaluates else ("train", train)
        found = checked_command(command, name, entry)
        return [text for text in found if text not in command]

    return checked


KNN = ("experiment=shapes_moco", "evaluate=[knn]")


def test_a_checkpoint_decides_the_model_in_every_program(checked: Checked, tiny: str) -> None:
    given = f"checkpoint={tiny}"
    assert "model=pretrained" in checked(*KNN, given)
    assert "model=pretrained" in checked("experiment=shapes_moco", given)
    assert "model=pretrained" in checked("experiment=shapes_supervised", given, "debug=fast")
    assert "model=pretrained" not in checked(*KNN)
    assert "model=pretrained" not in checked("experiment=shapes_moco", "checkpoint=null")
    assert checked("experiment=shapes_linear", given) == []  # pretrained anyway
    assert "model=pretrained" in checked("-m", *KNN, f"checkpoint={tiny},{tiny}/model.safetensors")


@pytest.mark.slow
def test_a_model_that_is_named_beside_a_checkpoint_agrees_or_is_refused(
    checked: Checked, tiny: str, tmp_path: Path
) -> None:
    given = (*KNN, f"checkpoint={tiny}")
    added = checked(*given, "model=cast_tiny")
    assert "model=pretrained" in added
    rest = ["precision=fp32", "data.views=null", "model.fusion=null"]
    assert checked(*given, "model=pretrained") == rest
    for name, difference in {
        "cast_small": "dim 96 instead of 384",
        "vit_tiny": "family cast instead of vit",
        "kmedoids_tiny": "grouping GraphPool instead of KMedoids",
    }.items():
        with pytest.raises(UserError, match=f"model={name} is not what .*{difference}"):
            checked(*given, f"model={name}")
    with pytest.raises(UserError, match="model=cast_small is not what"):
        checked("-m", *given, "model=cast_tiny,cast_small")
    model = create_model("cast_tiny", pooling=Pooling((16, 8, 4), KMedoids))
    save_pretrained(model, tmp_path / "kmedoids")
    assert checked(*KNN, f"checkpoint={tmp_path}/kmedoids", "model=kmedoids_tiny")


def test_what_recipes_say_of_new_models_is_not_said_of_loaded_ones(
    checked: Checked, tiny: str
) -> None:
    given = ("experiment=shapes_supervised", f"checkpoint={tiny}")
    added = checked(*given)
    assert {"~model.positions", "~model.initialization"} <= {*added}
    with pytest.raises(UserError, match=r"model\.positions: "):
        checked(*given, "model.positions=learned")
    # A fusion block for training on; none that would be new in an evaluation.
    assert "model.fusion=null" not in checked("experiment=shapes_linear", f"checkpoint={tiny}")
    assert "model.fusion=null" in checked(*KNN, f"checkpoint={tiny}")
    assert "model.fusion=null" not in checked(*KNN, f"checkpoint={tiny}", "model.fusion=true")


def test_pooling_and_compat_of_a_command_are_meant_for_the_model(
    checked: Checked, tiny: str
) -> None:
    added = checked(*KNN, f"checkpoint={tiny}", "pooling=graph_16_8_4", "compat=corrected")
    assert {"model.pooling=${pooling}", "model.mask_empty=${compat.mask_empty}"} <= {*added}
    added = checked(*KNN, f"checkpoint={tiny}", "pooling.levels=[9,3,2]")
    assert "model.pooling=${pooling}" in added
    assert not [text for text in checked(*KNN, f"checkpoint={tiny}") if "${" in text]


def test_a_checkpoint_that_is_not_there_is_told_before_anything_is_done(
    checked: Checked, tmp_path: Path
) -> None:
    for command in (KNN, ("experiment=shapes_moco",), ("-m", *KNN, "seed=0,1")):
        with pytest.raises(UserError, match=r"no checkpoint at nowhere\.ckpt"):
            checked(*command, "checkpoint=nowhere.ckpt")
    with pytest.raises(UserError, match="did you mean cast_small_in1k_moco"):
        checked("experiment=in1k_linear", "checkpoint=cast_smal_in1k_moco", "data.root=x")
    assert not (tmp_path / "runs").exists()
