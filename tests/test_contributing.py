"""What CONTRIBUTING.md says of adding a part, done as it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(python|yaml|diff) title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PARTS = 6
NAMES = [
    *("superpixel=bands", "pooling=runs", "data=plain", "model.attention_dropout=0.1"),
    "evaluate=[compactness]",
]


def changed(text: str, hunk: str) -> str:
    """A text after the one change that a hunk without line numbers says."""
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, before
    return text.replace(before, after)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this one with all parts added."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("src", "conf", "tests"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "local")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    for kind, path, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()):
        file = folder / path
        if kind != "diff":
            assert not file.exists(), path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        else:
            for hunk in text.split("...\n"):
                file.write_text(changed(file.read_text(), hunk))
    return folder


def test_three_files_make_a_part() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    parts = text[text.index("## Adding a part") :].split("\n### ")[1:]
    written = {part.splitlines()[0]: [path for _, path, _ in BLOCK.findall(part)] for part in parts}
    assert sum(bool(paths) for paths in written.values()) == PARTS
    for paths in filter(None, written.values()):
        assert len(paths) <= 3
        assert sum(path.startswith("src/") for path in paths) == 1
        assert sum(path.startswith("tests/") for path in paths) == 1


@pytest.mark.slow
def test_the_added_tests_and_those_of_all_code_pass(repository: Path) -> None:
    tests = [path for _, path, _ in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())]
    tests = [path for path in tests if path.startswith("tests/")]
    run(repository, "pytest", *tests, "tests/test_layout.py", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_the_added_parts_train_and_are_evaluated(repository: Path, tmp_path: Path) -> None:
    small = ["experiment=shapes_moco", "debug=fast", f"paths.runs={tmp_path}", "callbacks.knn=null"]
    run(repository, "cast_exp.train", *small, *NAMES)
    (folder,) = (path.parent for path in tmp_path.glob("*/*/config.yaml"))
    run(repository, "cast_exp.eval", f"run={folder}", "evaluate=[compactness]")
    summaries = [folder / "summary.json", *folder.glob("eval/*/summary.json")]
    ended, again = (json.loads(path.read_text())["metrics"] for path in summaries)
    assert ended["compactness/spread"] == again["compactness/spread"]
