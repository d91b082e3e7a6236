"""What is said of figures that no run will have, before one is trained."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from support.cli import cast_train, runs

from cast_exp.errors import UserError
from cast_exp.evaluation.knn import KNN
from cast_exp.plugins import resolve
from cast_exp.run.figures import OF_TRAINING, logged_figures, objective_notes
from cast_exp.run.folder import read_summary
from cast_exp.run.preflight import checked_command
from cast_exp.run.record import RunRecord
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train

MOCO = "experiment=shapes_moco"


def check(*overrides: str) -> None:
    register_resolvers()
    checked_command([*overrides, "model=cast_tiny"], "train", train)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ((MOCO, "objective=val/kn"), r"objective=val/kn: .* logs it; did you mean val/knn"),
        ((MOCO, "objective=val/top1"), r"objective=val/top1: .* logs it; did you"),
        (
            (MOCO, "callbacks.knn=null", "callbacks.best=null", "objective=val/knn"),
            "there are none",
        ),
        ((MOCO, "objective=knn/top1"), r"objective=knn/top1: add evaluate=\[knn\]"),
        (
            (MOCO, "callbacks.best.monitor=val/knm"),
            r"callbacks.best.monitor=val/knm: nothing .* did you mean val/knn",
        ),
        (
            (MOCO, "+callbacks.prune={_target_:cast_exp.callbacks.Prune,monitor:val/nn}"),
            r"callbacks.prune.monitor=val/nn: .* did you mean val/knn",
        ),
    ],
)
def test_what_nothing_logs_is_told(overrides: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check(*overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        (MOCO, "objective=val/knn"),
        (MOCO, "objective=train/loss"),
        (MOCO, "callbacks.knn=null"),  # the checkpoint of the best goes with it
        (MOCO, "objective=knn/top1", "evaluate=[knn]"),
        (MOCO, "objective=untrained/knn/top1", "evaluate=[knn]", "evaluate_untrained=true"),
    ],
)
def test_what_may_be_logged_is_not(overrides: tuple[str, ...]) -> None:
    check(*overrides)


def test_parts_that_do_not_say_may_log_anything() -> None:
    class Task:
        figures = None

    class Callback:
        """Of a package of a user's."""

    assert logged_figures(Task, []) is None
    Task.figures = ("val/own",)
    assert logged_figures(Task, [Callback()]) is None
    Callback.figures = ("val/other",)
    assert logged_figures(Task, [Callback()]) == {"val/own", "val/other"}


def test_a_figure_of_an_evaluation_that_it_does_not_show_first_is_noted() -> None:
    evaluations = {"knn": KNN.__new__(KNN)}
    assert list(objective_notes("knn/top1", evaluations)) == []
    assert list(objective_notes("val/knn", evaluations)) == []
    (note,) = objective_notes("knn/top11", evaluations)
    assert "evaluate=[knn] has it" in note
    assert note.endswith("are knn/top1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["shapes_moco", "shapes_supervised", "shapes_linear", "shapes_finetune"]
)
def test_our_tasks_and_callbacks_log_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fusion = ("model.fusion=true",) if name == "shapes_finetune" else ()
    small = ("data.dataset.train=32", "data.dataset.val=16", "callbacks.progress=null")
    knn = ("callbacks.knn={_target_:cast_exp.callbacks.KNNMonitor}",) if "moco" in name else ()
    assert cast_train(f"experiment={name}", "debug=fast", *small, *fusion, *knn) == 0
    (run,) = runs()
    config = RunRecord.read(run).config
    parts = [resolve(node["_target_"]) for node in config["callbacks"].values() if node]
    said = logged_figures(resolve(config["task"]["_target_"]), parts)
    assert said is not None
    for figure in read_summary(run)["metrics"]:
        known = figure.startswith(OF_TRAINING)
        assert known or any(fnmatchcase(figure, pattern) for pattern in said), figure
