"""Folders of runs may be a stranger's: what they say runs nothing and is told in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from support.stored import own

from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.folder import write_summary
from cast_exp.run.preflight import checked_command
from cast_exp.run.saved import Saved, begun_before
from cast_exp.train import train

BASE = ["experiment=shapes_moco", "debug=fast"]
Make = Callable[..., Path]


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that importing the package `evil` would write."""
    there = tmp_path / "canary"
    (tmp_path / "evil").mkdir()
    body = f"import os, pathlib\npathlib.Path({str(there)!r}).touch()\nclass Task: ...\n"
    (tmp_path / "evil" / "__init__.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return there


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    """Makes the folder of a run with overrides and perhaps config files of somebody's."""

    def make(
        *overrides: str, files: dict[str, str] | None = None, kind: str = "config.yaml"
    ) -> Path:
        run = tmp_path / "run"
        (run / ".hydra").mkdir(parents=True)
        (run / "checkpoints").mkdir()
        torch.save(own()[0], run / "checkpoints" / "last.ckpt")
        (run / "config.yaml").write_text("{}\n")
        sources = [{"path": "hydra.conf", "schema": "pkg", "provider": "hydra"}]
        for name, text in (files or {}).items():
            path = tmp_path / "theirs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if files:
            place = {"path": str(tmp_path / "theirs"), "schema": "file", "provider": "command-line"}
            sources.append(place)
        hydra = {
            "overrides": {"task": [*BASE, *overrides], "hydra": []},
            "runtime": {"config_sources": sources},
            "job": {"config_name": "train"},
        }
        (run / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
        return run

    return make


def resume(folder: Path, *typed: str) -> list[str]:
    accept = "resume_changes=accept"  # the folder does not say what it was trained with
    return checked_command([f"resume={folder}", accept, *typed], "train", train)


def evaluate(folder: Path, *typed: str) -> list[str]:
    command = [f"run={folder}", "evaluate=[knn]", *typed]
    return checked_command(command, "eval", evaluate_model)


TARGETS = [
    "task._target_=evil.Task",
    "task._target_=evil.os.system",
    "task._target_=cast_exp.run.app.subprocess.run",
    "task._target_=cast_exp.run.app.run_app",
    "task._target_=functools.partial",
    "task._target_=torch.hub.load",
    "task._target_=torch.load",
    "task._target_=cast_exp.data.ImageDataModule",
    "task.backbone={_target_:os.system,command:ls}",
    "optim.optimizer._target_=cast_exp.output.files.write_text",
    "optim.schedule._target_=builtins.exec",
    "+callbacks.x={_target_:subprocess.Popen,args:[ls]}",
    "+callbacks.x={_target_:lightning.pytorch.callbacks.LambdaCallback}",
    "logger.csv._target_=lightning.pytorch.loggers.CSVLogger",
    "trainer._target_=cast_exp.api.run_training",
    "+trainer.profiler={_target_:evil.Task}",
    "+task._args_=[{_target_:evil.Task}]",
    "task._target_=[evil.Task]",
    "task._target_=''",
]
DATA = [
    "data._target_=evil.Task",
    "data.dataset._target_=cast_exp.data.base.os.system",
    "data.dataset={_target_:torch.hub.load,repo_or_dir:x}",
    "superpixel._target_=cast_exp.models.grouping.GraphPool",
    "data.views={_target_:cast_exp.tasks.MoCoTask}",
    "data.root=${oc.env:HOME}",
    "+data.x='${ oc.env :HOME}'",
]
HYDRAS = [
    "hydra.callbacks.x._target_=evil.Task",
    "+hydra.callbacks.x={_target_:evil.Task}",
    "hydra/launcher=basic",
    "hydra/job_logging@x=default",
    "hydra.searchpath=[file:///tmp]",
    "hydra.run.dir=/tmp/elsewhere",
    "+hydra.job.env_set.PYTHONPATH=/tmp",
    "~hydra.callbacks",
    "name=${oc.env:USER}",
]
ESCAPES = [
    "data.root='\\${oc.env:HOME}'",
    "data.root='\\${oc.create:{_target_:evil.Task}}'",
    "+callbacks@hydra.callbacks=default",
    "experiment=../../../../../proc/self/cwd/run/x",
    "data=/tmp/x",
]


@pytest.mark.parametrize("override", TARGETS + DATA + HYDRAS + ESCAPES)
def test_what_a_resumed_folder_says_runs_nothing(folder: Make, canary: Path, override: str) -> None:
    with pytest.raises(UserError) as caught:
        resume(folder(override))
    assert len(str(caught.value).splitlines()) <= 6  # a heading, and one line of each mistake
    assert not canary.exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("override", DATA + ESCAPES)
def test_neither_does_one_that_is_evaluated(folder: Make, canary: Path, override: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate(folder(override))
    assert len(str(caught.value).splitlines()) <= 6
    assert not canary.exists()


SHARDS = ["data=webdataset_stream", "data.dataset.label=null", "data.dataset.images.train=9"]
SHELLS = [
    ["data.dataset.train='pipe:ls'"],
    ["data.dataset.train=['a.tar',' PIPE:ls ://']"],
    ["+a=pi", "+b='pe:ls'", "data.dataset.train='${a}${b}'"],
]


@pytest.mark.parametrize("overrides", SHELLS)
@pytest.mark.parametrize("way", [resume, evaluate])
def test_what_a_shell_runs_is_not_taken_from_a_folder(
    folder: Make, overrides: list[str], way: Callable[..., list[str]]
) -> None:
    run = folder(*SHARDS, *overrides)
    with pytest.raises(UserError, match=r"data.dataset.train.*=.*ls.*a shell runs is not taken"):
        way(run)
    assert "data.dataset.train='pipe:ls'" in way(run, "data.dataset.train='pipe:ls'")


def test_an_evaluation_takes_nothing_but_data_of_a_folder(folder: Make) -> None:
    run = folder(*TARGETS, *(text for text in HYDRAS if "hydra/" not in text))
    assert {*TARGETS, *HYDRAS}.isdisjoint(evaluate(run))


def test_environment_variables_cannot_be_had_in_another_spelling(folder: Make) -> None:
    with pytest.raises(UserError, match="environment is not taken from a folder"):
        resume(folder("+way=env", "data.root='${oc.${way}:HOME}'"))


def test_a_folder_cannot_allow_what_it_names(folder: Make, canary: Path) -> None:
    with pytest.raises(UserError, match=r"task._target_=evil.Task.*add plugins=\[evil\]"):
        resume(folder("plugins=[evil]", "task._target_=evil.Task"))
    assert not canary.exists()


def test_what_is_typed_now_counts(folder: Make) -> None:
    run = folder("hydra.job.chdir=false", "data.root=${oc.env:HOME}")
    found = resume(run, "hydra.job.chdir=false", "data.root=null")
    assert {*BASE, "hydra.job.chdir=false", "data.root=null"} < set(found)


EXPERIMENT = "# @package _global_\ndefaults: [shapes_moco, _self_]\n"
FILES = [
    "task: {_target_: evil.Task}\n",
    "plugins: [evil]\n",
    "hydra: {callbacks: {x: {_target_: evil.Task}}}\n",
    "hydra: {job: {env_set: {PYTHONPATH: /tmp}}}\n",
    "hydra: {run: {dir: /tmp/elsewhere}}\n",
    "hydra: {sweeper: {_target_: evil.Task}}\n",
    "hydra: {job_logging: {handlers: {x: {(): evil.Task}}}}\n",
    "data: {root: '${oc.env:HOME}'}\n",
]


@pytest.mark.parametrize("text", FILES)
def test_config_files_that_a_folder_names_run_nothing(
    folder: Make, canary: Path, text: str
) -> None:
    run = folder("experiment=theirs", files={"experiment/theirs.yaml": EXPERIMENT + text})
    with pytest.raises(UserError) as caught:
        resume(run)
    assert len(str(caught.value).splitlines()) <= 6
    assert not canary.exists()


JOBS = [
    {"experiment/a.yaml": EXPERIMENT, "experiment/b.yaml": EXPERIMENT + FILES[3]},
    {
        "experiment/a.yaml": EXPERIMENT,
        "experiment/b.yaml": EXPERIMENT
        + "hydra: {mode: MULTIRUN, sweeper: {params: {+hydra.job.env_set.PYTHONPATH: /tmp}}}\n",
    },
]


@pytest.mark.parametrize("files", JOBS)
@pytest.mark.slow
def test_neither_do_those_of_jobs_of_a_multirun(folder: Make, files: dict[str, str]) -> None:
    run = folder("experiment=a,b", files=files)
    (run / "config.yaml").unlink()
    (run / ".hydra" / "hydra.yaml").rename(run / "multirun.yaml")
    with pytest.raises(UserError, match=r"env_set\.PYTHONPATH"):
        resume(run)
    for name in files:
        (run.parent / "theirs" / name).write_text(EXPERIMENT)
    found = resume(run)
    assert "--multirun" in found
    assert f"--config-dir={run.parent / 'theirs'}" in found


def test_a_root_config_of_the_users_own_is_remembered(folder: Make, canary: Path) -> None:
    root = "defaults: [train, _self_]\nname: mine\n"
    run = folder(files={"mine.yaml": root, "other/x.yaml": "a: 1\n"})
    hydra = run / ".hydra" / "hydra.yaml"
    hydra.write_text(hydra.read_text().replace("config_name: train", "config_name: mine"))
    assert "--config-name=mine" in resume(run)
    (run.parent / "theirs" / "mine.yaml").write_text(root + "hydra: {searchpath: ['pkg://evil']}")
    with pytest.raises(UserError, match=r"mine\.yaml sets a search path"):
        resume(run)
    assert not canary.exists()
    hydra.write_text(hydra.read_text().replace("config_name: mine", "config_name: ../../evil"))
    assert Saved.read(run).config_name is None


def test_harmless_config_files_are_remembered_and_named(
    folder: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXPERIMENT + "trainer: {max_epochs: 3}\n"
    run = folder("experiment=theirs", files={"experiment/theirs.yaml": text})
    place = run.parent / "theirs"
    assert f"--config-dir={place}" in resume(run)
    assert f"with config files of {place}" in capsys.readouterr().err
    assert f"--config-dir={place}" in evaluate(run)
    place.rename(run.parent / "moved")
    with pytest.raises(UserError, match="no longer exists; say with --config-dir where it is now"):
        resume(run)


DAMAGED = [
    *("", "[]", "hydra: 5", "hydra: {overrides: {task: [{a: 1}]}}", "&a [*a]", "[" * 5000),
    *("a: !!python/name:os.system", "a: &a {b: 1}\nc: {<<: [*a, *a]}"),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_commands_are_named(folder: Make, content: str) -> None:
    run = folder()
    (run / ".hydra" / "hydra.yaml").write_text(content)
    with pytest.raises(UserError, match=r"hydra.yaml is damaged"):
        Saved.read(run)
    (run / ".hydra" / "hydra.yaml").unlink()
    with pytest.raises(UserError, match=r"hydra.yaml is missing"):
        Saved.read(run)


def test_an_unfinished_multirun_is_found_by_its_command(tmp_path: Path) -> None:
    """Whatever resumed it; another order of the values has other numbers of jobs."""
    command = ["experiment=x", "a=1,2", "hydra.sweeper.max_batch_size=1", "b=3,4", "c=5"]
    sweep, config_dir = tmp_path / "sweep-1", tmp_path / "mine"
    saved = {
        "overrides": {
            "task": ["plugins=[p]", f"resume={sweep}", "c=5", "experiment=x", "a=1,2", "b=3,4"],
            "hydra": ["hydra.sweeper.max_batch_size=1", "hydra.mode=MULTIRUN"],
        },
        "runtime": {"config_sources": [{"provider": "command-line", "path": str(config_dir)}]},
    }
    write_summary(sweep, "running")
    (sweep / "multirun.yaml").write_text(yaml.safe_dump({"hydra": saved}))
    assert begun_before(tmp_path, command, config_dir) == sweep
    assert begun_before(tmp_path, command, None) is None
    for other in (command[:-1], [*command, "d=6"], [*command[:-1], "c=6"]):
        assert begun_before(tmp_path, other, config_dir) is None
    swapped = [command[0], command[3], command[2], command[1], command[4]]
    assert begun_before(tmp_path, swapped, config_dir) is None
    write_summary(sweep, "finished")
    assert begun_before(tmp_path, command, config_dir) is None
