"""Parts of one's own, in a package and a config folder outside the repository."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.modules import forget

import cast_exp.extend
from cast_exp.eval import evaluate_model
from cast_exp.run.preflight import checked_command
from cast_exp.train import train

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
FILES = sorted(path for path in (EXAMPLES / "my_package").glob("*.py") if path.name[0] != "_")
PARTS = {"plain", "bands", "runs", "balance", "simclr", "compactness", "weight_norm"}
MOST_LINES = 15


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of somebody's with the examples, which Python finds."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget("my_package")


def test_the_public_surface() -> None:
    assert sorted(cast_exp.extend.__all__) == [
        *("Backbone", "BaseTask", "Evaluation", "FeatureEvaluation", "Grouping", "Hierarchy"),
        *("HostMethod", "ImageDataModule", "Level", "NoSuchSplit", "RawDataset", "Regularizer"),
        *("Scene", "SceneDataModule", "SceneEvaluation", "Split", "Subject", "SuperpixelMethod"),
        *("Superpixels", "Ungrouped", "UnreadableImage", "UserError", "allow"),
    ]
    assert all(hasattr(cast_exp.extend, name) for name in cast_exp.extend.__all__)


def test_an_example_of_each_part_is_documented() -> None:
    assert {path.stem for path in FILES} == PARTS
    page = (ROOT / "docs" / "own_parts.md").read_text()
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    included = set(re.findall(r'--8<-- "examples/(\S+)"', pages))
    there = {
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*.*")
        if path.suffix in (".py", ".yaml") and path.name != "__init__.py"
    }
    assert included == there
    assert all(f"`{name}`" in page for name in cast_exp.extend.__all__)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples_are_short_and_use_the_public_surface(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cast_exp"):
            assert node.module == "cast_exp.extend"
    (part,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    lines = path.read_text().splitlines()[part.lineno - 1 : part.end_lineno]
    assert len([line for line in lines if line.strip() and '"""' not in line]) <= MOST_LINES


def test_they_are_allowed_by_name(outside: Path) -> None:
    command = ["--config-dir", "conf", "experiment=mine", "data.batch_size=8"]
    with pytest.raises(Exception, match=r"not of an allowed package; .* plugins=\[my_package\]"):
        checked_command(command, "train", train)
    assert "my_package" not in sys.modules
    for experiment in ("mine", "simclr"):
        chosen = [*command[:2], f"experiment={experiment}", "plugins=[my_package]"]
        checked_command(chosen, "train", train)
    evaluation = ["--config-dir", "conf", "data=plain", "model=cast_tiny", "evaluate=[compactness]"]
    checked_command([*evaluation, "plugins=[my_package]"], "eval", evaluate_model)


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["mine", "simclr"])
def test_they_train_resume_are_evaluated_and_segment(outside: Path, experiment: str) -> None:
    mine = "plugins=[my_package]"
    run("cast_exp.train", "--config-dir", "conf", f"experiment={experiment}", mine)
    (folder,) = (path.parent for path in Path("runs").glob("*/*/config.yaml"))
    metrics = (folder / "metrics.csv").read_text().splitlines()
    assert ("train/weight_norm" in metrics[0]) == (experiment == "mine")
    said = run("cast_exp.train", f"resume={folder}", mine, "trainer.max_epochs=3")
    assert f"with config files of {Path.cwd() / 'conf'}" in said
    run("cast_exp.eval", f"run={folder}", mine, "evaluate=[compactness]")
    ended = json.loads((folder / "summary.json").read_text())["metrics"]
    (again,) = folder.glob("eval/*/summary.json")
    figures = json.loads(again.read_text())["metrics"]
    assert figures["compactness/cosine"] == pytest.approx(ended["compactness/cosine"])
    photo = ROOT / "docs" / "creatures.png"
    options = ("--checkpoint", str(folder), "--size", "128", "--config-dir", "conf")
    options = (*options, "--plugins", "my_package", "--method", "bands", "--levels", "8,4,2")
    run("cast_exp.segment", str(photo), *options)
    assert list(Path("segments").glob("*/tree.json"))
