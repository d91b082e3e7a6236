import pytest

pytest.importorskip("wandb_workspaces")

from support.wandb_project import FOUR, tracked, upload
from support.wandb_server import wandb_server

from cast_exp.dashboard.project import (
    Project,
    TrackedRun,
    best_run,
    checkpoint_of,
    differing,
    differing_settings,
    headline,
)
from cast_exp.errors import UserError

SHA = "ab" * 32


def test_runs_of_ours_are_read_and_linked_to_what_they_are_built_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = {"artifact": "cast_exp/model-run0", "sha256": SHA}
    probe = tracked(4, "graph", 0, 0.6, source=source)
    lost = tracked(5, "graph", 0, 0.6, source={**source, "sha256": "0" * 64})
    with wandb_server(monkeypatch) as server:
        upload(server, *FOUR, probe, lost, TrackedRun("other", "other", {}, {}))
        server.artifacts["model-run0"] = [{"id": "A", "aliases": {f"sha256-{SHA[:16]}"}}]
        project = Project("cast_exp")
        assert str(project) == "lab/cast_exp"
        assert [run.name for run in project.runs] == [f"name{number}" for number in range(6)]
        assert project.runs[1].metrics["val/knn"] == 0.7
        assert project.runs[1].choices["pooling"] == "graph"
        assert project.link() == (1, ["name5"])
    assert server.used == {("run4", "A")}
    assert not server.unknown


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("lab/missing", r"W&B has no project lab/missing, or this account may not see it"),
        ("nobody/cast_exp", r"W&B has no project nobody/cast_exp"),
        ("a/b/c", r"a/b/c is no project; give ENTITY/PROJECT"),
        ("lab/cast_exp", r"no run of cast_exp in lab/cast_exp; train with logger=wandb"),
    ],
)
def test_a_project_that_is_not_there_or_empty_is_told(
    path: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wandb_server(monkeypatch), pytest.raises(UserError, match=message) as raised:
        Project(path)
    assert "\n" not in str(raised.value)


def test_offline_there_is_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(UserError, match=r"unset WANDB_MODE.*cast-exp report"):
        Project("lab/cast_exp")


def test_without_an_account_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", f"{tmp_path}/netrc")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"run `wandb login`"):
        Project("lab/cast_exp")


def test_what_differs_and_what_is_best() -> None:
    assert differing(FOUR) == ["pooling"]
    assert differing_settings(FOUR) == ["settings.optim.base_lr"]
    assert headline(FOUR) == "retrieval/miou"
    assert headline(FOUR, "val/knn") == "val/knn"
    assert best_run(FOUR, "val/knn").name == "name1"
    assert best_run(FOUR, "train/loss").name == "name0"
    assert checkpoint_of(FOUR[1]) == "model-run1"
    evaluated = TrackedRun("x", "x", {"source": {"artifact": "other/model-y"}}, {})
    assert checkpoint_of(evaluated) == "model-y"
    assert checkpoint_of(TrackedRun("x", "x", {}, {})) is None
    with pytest.raises(UserError, match=r"no run has --metric val/kn"):
        headline(FOUR, "val/kn")
    with pytest.raises(UserError, match="none of the runs has a result yet"):
        headline([TrackedRun("x", "x", {}, {})])


def test_what_follows_from_the_recipe_is_no_choice() -> None:
    other = tracked(9, "graph", 0, 0.5, experiment="cifar10_moco", model="cast_small")
    assert differing([FOUR[0], other]) == ["experiment"]
    assert differing([*FOUR, other]) == ["experiment", "pooling"]
