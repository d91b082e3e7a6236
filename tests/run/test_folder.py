import multiprocessing
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch.distributed import TCPStore

from cast_exp.config import swept, values_of
from cast_exp.errors import UserError
from cast_exp.run import folder as folder_module
from cast_exp.run.folder import (
    RUN_FOLDER,
    checkpoints,
    evaluation_folder,
    forget_stale_ranks,
    job_folder,
    launched_by,
    rank,
    read_summary,
    run_folder,
    sole_writer,
    sweep_folder,
    write_summary,
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    run_folder.cache_clear()
    sweep_folder.cache_clear()
    evaluation_folder.cache_clear()


def a_run(root: Path, name: str, status: str, age: int, checkpoint: bool = True) -> Path:
    run = root / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    write_summary(run, status)  # type: ignore[arg-type]
    os.utime(run / "summary.json", (1e9 - age, 1e9 - age))
    if checkpoint:
        (run / "checkpoints" / "last.ckpt").touch()
    return run


def test_new_folder_is_the_same_all_through_a_process(tmp_path: Path) -> None:
    first = run_folder(str(tmp_path), "name", None)
    assert run_folder(str(tmp_path), "name", None) == first
    assert Path(first).parent == tmp_path / "name"
    run_folder.cache_clear()
    assert run_folder(str(tmp_path), "name", None) != first
    assert Path(sweep_folder(str(tmp_path), "name", None)).name.startswith("sweep-")


def test_relative_runs_are_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(run_folder("runs", "name", None)).parent == tmp_path / "runs" / "name"


def test_auto_takes_the_newest_that_stopped(tmp_path: Path) -> None:
    name = tmp_path / "name"
    a_run(name, "finished", "finished", age=0)
    a_run(name, "nothing-saved", "failed", age=1, checkpoint=False)
    expected = a_run(name, "killed", "running", age=2)
    a_run(name, "older", "interrupted", age=3)
    a_run(tmp_path / "other", "newer", "running", age=0)
    assert run_folder(str(tmp_path), "name", "auto") == str(expected)


def test_auto_leaves_a_run_alone_that_is_still_going(tmp_path: Path) -> None:
    going = a_run(tmp_path / "name", "going", "running", age=0)
    stopped = a_run(tmp_path / "name", "stopped", "running", age=1)
    hold = f"import fcntl, sys; file = open({str(going / '.lock')!r}, 'a')\n"
    hold += "fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert run_folder(str(tmp_path), "name", "auto") == str(stopped)
        with pytest.raises(UserError, match="in use by a run that is still going"):
            run_folder(str(tmp_path), "name", str(going))
        other.kill()
        other.wait()
    with sole_writer(going):
        pass


def test_auto_without_any_is_a_new_run(tmp_path: Path) -> None:
    a_run(tmp_path / "name", "finished", "finished", age=0)
    assert not Path(run_folder(str(tmp_path), "name", "auto")).exists()


def test_folder_checkpoint_or_neither(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x", "run", "finished", age=0)
    assert run_folder(str(tmp_path), "name", str(run)) == str(run)
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert Path(run_folder(str(tmp_path), "name", str(checkpoint))).parent == tmp_path / "name"
    with pytest.raises(UserError, match="does not exist"):
        run_folder(str(tmp_path), "name", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="is not the folder of a run"):
        run_folder(str(tmp_path), "name", str(tmp_path))


def test_multirun_folders(tmp_path: Path) -> None:
    sweep = tmp_path / "name" / "sweep-1"
    a_run(sweep, "0_seed-0", "finished", age=0)
    (sweep / "multirun.yaml").touch()
    write_summary(sweep, "failed")
    assert sweep_folder(str(tmp_path), "name", "auto") == str(sweep)
    assert job_folder(3, "seed=0,data.root=/a/b c,x=[1,2]") == "3_seed-0_data.root-a-b-c_x-1_2"
    assert job_folder(1, "optim.base_lr=0.00031622776601683794") == "1_optim.base_lr-0.0003162"
    assert len(job_folder(3, "key=value," * 50)) <= 120
    name = job_folder(10, "+optim.lr=-1e-05,path='a b',x={k:1},y=$HOME,z=ü!")
    assert shlex.quote(name) == name
    assert values_of(f"resume=runs/{name}") == [f"runs/{name}"]
    assert not swept([f"resume=runs/{name}"])
    assert job_folder(0, "") == "0"


def _ask(number: int, root: str, answers: Any) -> None:
    os.environ["RANK"] = str(number)
    answers.put((number, run_folder(root, "name", None)))


def test_torchrun_processes_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    processes = [fork.Process(target=_ask, args=(n, str(tmp_path), answers)) for n in (2, 1, 0)]
    for process in processes:
        process.start()
    folders = dict(answers.get(timeout=240) for _ in processes)
    for process in processes:
        process.join()
    assert sorted(folders) == [0, 1, 2]
    assert len(set(folders.values())) == 1


VARIABLES = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", RUN_FOLDER),
    *("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID"),
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets NAME=VALUE ..., and no other variable of launchers."""

    def chosen(variables: str) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for text in variables.split():
            monkeypatch.setenv(*text.split("="))

    monkeypatch.setattr(rank_zero_only, "rank", 7, raising=False)
    return chosen


@pytest.mark.parametrize(
    ("variables", "launcher", "number"),
    [
        ("", None, 0),
        ("TORCHELASTIC_RUN_ID=x RANK=5 LOCAL_RANK=1 WORLD_SIZE=8", "torchrun", 5),
        (f"{RUN_FOLDER}=x LOCAL_RANK=1 WORLD_SIZE=2 NODE_RANK=0", "Lightning", 1),
        (f"{RUN_FOLDER}=x", None, 0),  # a job of a multirun
        ("SLURM_PROCID=3 SLURM_NTASKS=4", "srun", 3),
        ("SLURM_PROCID=0 SLURM_NTASKS=1", None, 0),
    ],
)
def test_ranks_that_a_launcher_has_given(
    variables: str,
    launcher: str | None,
    number: int,
    environment: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment(variables)
    before = dict(os.environ)
    forget_stale_ranks()
    assert (launched_by(), rank()) == (launcher, number)
    assert os.environ == before
    assert not capsys.readouterr().err


def test_the_rank_lasts_when_training_has_ended(environment: Callable[[str], None]) -> None:
    environment(f"{RUN_FOLDER}=x LOCAL_RANK=1 WORLD_SIZE=2 NODE_RANK=0")
    assert rank() == 1
    LightningEnvironment().teardown()
    assert rank() == 1


@pytest.mark.parametrize(
    "variables",
    [
        "LOCAL_RANK=1",
        "RANK=3",
        "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2",
        f"{RUN_FOLDER}=x LOCAL_RANK=1",
        "LOCAL_RANK=1 SLURM_PROCID=0 SLURM_NTASKS=1",
    ],
)
def test_ranks_that_were_left_behind(
    variables: str, environment: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    environment(variables)
    forget_stale_ranks()
    assert (launched_by(), rank(), rank_zero_only.rank) == (None, 0, 0)
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys()
    assert capsys.readouterr().err.count("\n") == 1


def test_slurm_processes_agree(tmp_path: Path, environment: Callable[[str], None]) -> None:
    environment("SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_JOB_ID=77")
    assert run_folder(str(tmp_path), "name", None) == str(tmp_path / "name" / "slurm77.0")


@pytest.mark.parametrize("folder_of", [run_folder, sweep_folder])
def test_a_slurm_job_that_is_started_again_finds_its_folder(
    folder_of: Any,
    tmp_path: Path,
    environment: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def folder(command: str, variables: str) -> str:
        environment(f"SLURM_NTASKS=1 {variables}")
        monkeypatch.setattr("sys.argv", ["train", command])
        folder_of.cache_clear()
        found: str = folder_of(str(tmp_path), "name", None)
        Path(found).mkdir(parents=True, exist_ok=True)
        return found

    first, second = folder("a=1", "SLURM_JOB_ID=77"), folder("a=2", "SLURM_JOB_ID=77")
    assert len({first, second, folder("a=1", "SLURM_JOB_ID=7")}) == 3
    assert folder("a=1", "SLURM_JOB_ID=77 SLURM_RESTART_COUNT=1") == first
    assert folder("a=2", "SLURM_JOB_ID=77 SLURM_RESTART_COUNT=2") == second
    assert folder("a=2", "SLURM_JOB_ID=78 SLURM_RESTART_COUNT=1") not in (first, second)
    assert folder("a=1", "SLURM_JOB_ID=77") != first  # typed twice in an interactive job


def test_summary(tmp_path: Path) -> None:
    assert read_summary(tmp_path) == {}
    write_summary(tmp_path, "finished", metrics={"val/knn": 0.5})
    assert read_summary(tmp_path) == {"status": "finished", "metrics": {"val/knn": 0.5}}
    (tmp_path / "summary.json").write_text("{")
    assert read_summary(tmp_path) == {}


def test_checkpoints_newest_first(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for age, name in enumerate(["c", "a", "b"]):
        (folder / f"{name}.ckpt").touch()
        os.utime(folder / f"{name}.ckpt", (1e9 - age, 1e9 - age))
    (folder / "other.txt").touch()
    assert [path.stem for path in checkpoints(tmp_path)] == ["c", "a", "b"]
    assert folder_module.checkpoints(tmp_path / "nothing") == []


def test_evaluations_of_a_run_are_inside_of_it(tmp_path: Path) -> None:
    run = a_run(tmp_path / "name", "stamp", "finished", age=0)
    runs, checkpoint = str(tmp_path), str(run / "checkpoints" / "last.ckpt")
    for given in ((str(run), None), (str(run), checkpoint), (None, checkpoint), (None, str(run))):
        evaluation_folder.cache_clear()
        found = Path(evaluation_folder(runs, "knn", None, *given))
        assert found.parent == run / "eval"
        assert found.name.startswith("knn-")
    for other in (None, "cast_small_in1k_moco", str(tmp_path / "elsewhere" / "last.ckpt")):
        evaluation_folder.cache_clear()
        assert Path(evaluation_folder(runs, "knn", None, None, other)).parent == (
            tmp_path / "eval" / "knn"
        )


def test_an_evaluation_that_stopped_is_found_again(tmp_path: Path) -> None:
    run = a_run(tmp_path / "name", "stamp", "finished", age=0)
    a_run(run / "eval", "knn-new", "finished", age=0, checkpoint=False)
    stopped = a_run(run / "eval", "knn-old", "interrupted", age=1, checkpoint=False)
    a_run(run / "eval", "other-old", "interrupted", age=0, checkpoint=False)
    assert evaluation_folder(str(tmp_path), "knn", "auto", str(run), None) == str(stopped)
    evaluation_folder.cache_clear()
    assert evaluation_folder(str(tmp_path), "knn", str(stopped), None, None) == str(stopped)
    with pytest.raises(UserError, match="give the folder of an evaluation"):
        evaluation_folder(str(tmp_path), "knn", str(run / "checkpoints" / "last.ckpt"), None, None)
