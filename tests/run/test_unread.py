"""What users type in vain: refused by `eval`, told by `train`."""

from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_resolvers()


def refused(*overrides: str) -> str:
    try:
        checked_command(overrides, "eval", evaluate_model)
    except UserError as error:
        return str(error)
    return ""


UNTRAINED = ("experiment=shapes_moco", "model=cast_tiny")


@pytest.mark.parametrize(
    "typed",
    [
        "optim.base_lr=5",
        "optim=deit",
        "callbacks.knn.memory=3",
        "callbacks=supervised",
        "regularizer=clustering",
        "augmentation=deit",
        "trainer.max_epochs=3",
        "+trainer.enable_progress_bar=false",
        "scenes.root=x",
        "superpixel@scenes.superpixel=grid",
        "evaluation.retrieval.level=1",
    ],
)
def test_what_an_evaluation_does_not_read_is_refused_by_name(typed: str) -> None:
    found = refused(*UNTRAINED, "evaluate=[knn]", typed)
    assert f"{typed}: evaluate=[knn] does not read it" in found


@pytest.mark.parametrize(
    "typed",
    [
        "precision=bf16",
        "trainer.precision=16-mixed",
        "trainer.devices=1",
        "strategy=ddp_cpu",
        "task.readout=cls",
        "data.image_size=32",
        "data.dataset.train=7",
        "superpixel=grid",
        "superpixel.count=16",
        "pooling=graph_32_16",
        "compat=official",
        "evaluation.knn.memory=3",
        "logger=tensorboard",
        "seed=3",
        "name=mine",
    ],
)
def test_what_it_reads_is_taken(typed: str) -> None:
    assert not refused(*UNTRAINED, "evaluate=[knn]", typed)


def test_all_is_refused_at_once_with_the_key_that_was_meant() -> None:
    found = refused(*UNTRAINED, "evaluate=[retrieval]", "data.root=x", "optim.base_lr=5")
    assert "2 mistakes" in found
    assert "data.root=x: evaluate=[retrieval] does not read it; did you mean scenes.root?" in found
    found = refused("experiment=bsds500_hierarchy", "model=cast_tiny", "scenes.root=x")
    assert "did you mean data.root?" in found


def test_the_superpixels_of_scenes_follow_so_their_method_is_read() -> None:
    assert not refused(*UNTRAINED, "evaluate=[retrieval]", "superpixel=slic")
    assert not refused(
        *UNTRAINED, "evaluate=[retrieval]", "superpixel=slic", "superpixel.compactness=3"
    )
    assert "superpixel.count=9: evaluate=[retrieval]" in refused(
        *UNTRAINED, "evaluate=[retrieval]", "superpixel.count=9"
    )


def test_what_an_experiment_sets_for_training_is_ignored() -> None:
    found = checked_command(
        ["experiment=in1k_moco", "model=cast_small", "data.root=x", "evaluate=[knn]"],
        "eval",
        evaluate_model,
    )
    assert {"precision=fp32", "data.views=null"} <= {*found}


def test_a_training_says_what_nothing_reads(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ("pooling=kmeans", "scenes.root=x", "regularizer=clustering")
    checked_command(["experiment=shapes_supervised", "model=vit_tiny", *typed], "train", train)
    assert f"note: nothing in this run reads {' '.join(typed)}" in capsys.readouterr().err
    checked_command(["experiment=shapes_moco", "pooling=kmeans"], "train", train)
    assert "note:" not in capsys.readouterr().err
    # In a multirun, only what none of the jobs reads.
    sweep = ["-m", "experiment=shapes_moco", "model=vit_tiny,cast_tiny", "pooling=kmeans"]
    checked_command(sweep, "train", train)
    assert "note:" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("evaluate", "complaint"),
    [
        ("[]", "nothing to evaluate; set evaluate to some of [knn, linear_probe"),
        ("knn", "evaluate=knn: should be a list, as in evaluate=[knn]"),
        ("[nn]", "evaluate=[nn]: nn is none of knn, linear_probe"),
    ],
)
def test_wrong_names_leave_no_folder(evaluate: str, complaint: str) -> None:
    assert complaint in refused(*UNTRAINED, f"evaluate={evaluate}")
    if evaluate != "[]":
        with pytest.raises(UserError, match="evaluate="):
            checked_command(["experiment=shapes_moco", f"evaluate={evaluate}"], "train", train)
    assert not Path("runs").exists()
