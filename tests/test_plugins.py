import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cast_exp import plugins
from cast_exp.models import Pooling
from cast_exp.models.grouping import GraphPool
from cast_exp.plugins import NotAllowed, resolve


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that nobody has allowed, and that tells when it is imported."""
    folder = tmp_path / "strangers_parts"
    folder.mkdir()
    (folder / "__init__.py").write_text("import os\nfrom torch.nn import Linear\nclass Part: ...\n")
    (folder / "deeper.py").write_text("from strangers_parts import Part\nprint = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_nothing_is_imported_before_it_is_allowed(package: str) -> None:
    with pytest.raises(NotAllowed, match=rf"add plugins=\[{package}\]"):
        resolve(f"{package}.Part")
    assert package not in sys.modules
    with plugins.only(package):
        assert resolve(f"{package}.Part").__module__ == package
        assert resolve(f"{package}.deeper.Part") is resolve(f"{package}.Part")
    with pytest.raises(NotAllowed):
        resolve(f"{package}.Part")
    del sys.modules[package]


def test_what_an_allowed_package_has_imported_is_not_allowed(package: str) -> None:
    with plugins.only(package):
        with pytest.raises(NotAllowed, match=r"defined in torch.nn.modules.linear, .*\[torch\]"):
            resolve(f"{package}.Linear")
        with pytest.raises(ImportError):
            resolve(f"{package}.os.system")
        with pytest.raises(NotAllowed, match="is a module, neither a class nor a function"):
            resolve(f"{package}.os")
        with pytest.raises(NotAllowed, match="neither a class nor a function"):
            resolve(f"{package}.deeper.print")
    with plugins.only(package, "torch.nn.Linear"):
        assert resolve("torch.nn.Linear").__name__ == "Linear"


@pytest.mark.parametrize(
    "path",
    [
        *("cast_exp.run.app.subprocess.run", "cast_exp.models.Pooling.of", "cast_exp_evil.Part"),
        *("torch.hub.load", "torch.optim.Optimizer.step", "functools.partial", "os.system"),
        *("cast_exp", "cast_exp..Part", "cast_exp.models:Pooling", "__import__", "", " ", "a b.c"),
        *("lightning.pytorch.callbacks.LambdaCallback", "lightning.pytorch.Trainer.fit"),
    ],
)
def test_ways_around(path: str) -> None:
    with plugins.only(), pytest.raises((NotAllowed, ImportError, AttributeError)):
        resolve(path)


def test_an_installed_package_may_allow_itself(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("parts", f"{package}:register", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] * (group == entry.group))
    plugins.installed.cache_clear()
    try:
        with plugins.only():
            assert resolve(f"{package}.Part").__name__ == "Part"
    finally:
        plugins.installed.cache_clear()
        sys.modules.pop(package, None)


def test_packages_that_are_not_there() -> None:
    assert plugins.missing(["torch", "no_such_package", "no_such.module", ""]) == [
        "no_such_package",
        "no_such.module",
        "",
    ]


def test_a_checkpoint_names_a_grouping_by_its_import_path(package: str) -> None:
    folder = Path(sys.path[0]) / package
    text = "from cast_exp.extend import Grouping\nclass Mine(Grouping):\n    group = None\n"
    (folder / "groupings.py").write_text(text)
    path = f"{package}.groupings.Mine"
    with pytest.raises(Exception, match=rf"grouping, {path}, is not of .*=\[{package}\]"):
        Pooling.of((4,), path, {})
    assert package not in sys.modules
    with plugins.only(package):
        described = Pooling.of((4,), path, {}).described()
    assert described["grouping"] == path
    assert Pooling((4,), GraphPool).described()["grouping"] == "GraphPool"
    with pytest.raises(Exception, match="which is no Grouping"):
        Pooling.of((4,), "cast_exp.models.Pooling", {})
    sys.modules.pop(package)


def test_a_typo_is_not_advised_back(package: str) -> None:
    with plugins.only(package):
        with pytest.raises(
            NotAllowed, match=rf"no package strangers_part; did you mean {package}\?"
        ):
            resolve("strangers_part.Part")
        with pytest.raises(NotAllowed, match="no package zzz; install it, or correct the path"):
            resolve("zzz.Part")
