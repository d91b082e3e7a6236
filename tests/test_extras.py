import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.export.formats import FORMATS
from cast_exp.extras import from_extra, need_extra

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [*SOURCES, *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]


def test_a_module_or_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_extra("eval", "this", "xml.dom").__name__ == "xml.dom"
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError) as raised:
        from_extra("eval", "reading a.mat", "scipy.io")
    told = "reading a.mat needs scipy; install it: pip install 'cast-exp[eval]'"
    assert str(raised.value) == told


def test_a_broken_package_is_told_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_one.py").write_text("from os import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"cannot be imported \(.*nothing_of_this_name.*anew"):
        from_extra("eval", "this", "broken_one")


def test_presence_is_looked_up_without_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "present_one.py").write_text("raise AssertionError")
    (tmp_path / "only_a_folder").mkdir()  # such as `wandb`, where offline runs are kept
    monkeypatch.syspath_prepend(tmp_path)
    need_extra("wandb", "this", "present_one")
    with pytest.raises(UserError) as raised:
        need_extra("wandb", "this", "only_a_folder", "present_one", instead="use logger=csv")
    assert str(raised.value) == (
        "this needs only_a_folder; install it: pip install 'cast-exp[wandb]', or use logger=csv"
    )
    with pytest.raises(UserError, match="needs only_a_folder, no_such; install them: "):
        need_extra("wandb", "this", "only_a_folder", "present_one", "no_such")


def asked() -> dict[str, set[str]]:
    """Packages that the sources ask for, by extra."""
    found = {"onnx": {name for kind in FORMATS.values() for name in kind.needs}}
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "id", None)
            if name in ("from_extra", "need_extra") and path.name != "extras.py":
                extra, _, *modules = call.args  # type: ignore[attr-defined]
                assert isinstance(extra, ast.Constant)
                names = {m.value.partition(".")[0] for m in modules if isinstance(m, ast.Constant)}
                found.setdefault(str(extra.value), set()).update(names)
    return found


def test_what_is_asked_for_is_in_its_extra() -> None:
    distributions = packages_distributions()
    wanted = asked()
    assert {"eval", "wandb", "sweep", "report"} <= set(wanted) <= set(EXTRAS)
    for extra, packages in wanted.items():
        declared = {re.split(r"[<>=~ ]", line)[0].replace("_", "-") for line in EXTRAS[extra]}
        for package in packages & set(distributions):
            assert {name.replace("_", "-") for name in distributions[package]} & declared, package


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_extras_are_spelt_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "cast_exp[" not in text
    named = {
        name for names in re.findall(r"cast-exp\[([\w,-]+)\]", text) for name in names.split(",")
    }
    assert named - {"EXTRA"} <= set(EXTRAS)
