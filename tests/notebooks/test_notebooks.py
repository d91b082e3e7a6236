"""Notebooks are those of their scripts, and run through."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.fixture
def generate() -> ModuleType:
    """The script that makes them."""
    pytest.importorskip("jupytext", reason="needs the extra `notebooks`")
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_script_has_a_notebook(generate: Any) -> None:
    assert [script.stem for script in generate.SCRIPTS] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_the_one_of_its_script(generate: Any, name: str) -> None:
    import nbformat

    made = nbformat.writes(generate.notebook(FOLDER / f"{name}.py"))
    committed = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert made.strip() == committed.strip(), "run: python notebooks/generate.py"


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
def test_notebook_runs_through(name: str, tmp_path: Path) -> None:
    for needed in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(needed, reason="needs the extra `notebooks`")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
