from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cast_exp import plugins
from cast_exp.errors import UserError
from cast_exp.plugins import resolve
from cast_exp.run.trust import (
    allow_parts,
    typed_paths,
    typed_variables,
    users_plugins,
    wrong_plugins,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of config files with settings of the user's."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "default.yaml").write_text(
        "# @package _global_\nplugins: [support]\nname: ${oc.env:NICK,me}\n"
    )
    return tmp_path


def test_the_command_line_comes_before_local_settings(tree: Path, tmp_path: Path) -> None:
    assert users_plugins([], tree) == {"support"}
    assert users_plugins(["plugins=[torch,numpy]", "seed=1"], tree) == {"torch", "numpy"}
    assert users_plugins(["plugins=[]"], tree) == set()
    assert users_plugins([], tree / "local") == set()
    with pytest.raises(UserError, match=r"plugins=\[nope\]: there is no package nope; install"):
        users_plugins(["plugins=[nope]"], tree)


def test_local_settings_that_are_wrong(tree: Path) -> None:
    local = tree / "local" / "default.yaml"
    local.write_text("plugins: support\n")
    with pytest.raises(UserError, match=r"plugins=support should be a list"):
        users_plugins([], tree)
    local.write_text("plugins: [a: b: c")
    with pytest.raises(UserError, match=r"default.yaml cannot be read"):
        users_plugins([], tree)
    local.write_bytes(b"name: \xff\n")
    assert typed_variables(["a=${oc.env:A}"], tree) == {"A"}


def test_plugins_of_config_files_are_refused() -> None:
    def found(value: object, *trusted: str) -> list[str]:
        return wrong_plugins(OmegaConf.create({"plugins": value}), set(trusted))

    assert found([]) == []
    assert found(["a"], "a", "b") == []
    assert found(["a", "os"], "a")[0].startswith("plugins=[os]: a config file says so")
    assert found("a", "a") == ["plugins=a: should be a list, as in plugins=[a]"]


def test_paths_and_variables_that_are_typed(tree: Path) -> None:
    typed = [
        "+callbacks.x={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/knn}",
        "logger.x._target_=mylightning.pytorch.loggers.CSVLogger",
        "data.root=${oc.env:IMAGES}",
    ]
    assert typed_paths(typed, plugins.LIGHTNING) == ["lightning.pytorch.callbacks.EarlyStopping"]
    assert typed_variables(typed, tree) == {"IMAGES", "NICK"}


def test_options_are_followed(tmp_path: Path) -> None:
    with plugins.only():
        allow_parts(tmp_path, "torch,numpy")
        assert resolve("torch.nn.Linear")
        with pytest.raises(UserError, match="there is no package nope"):
            allow_parts(None, "nope")
        with pytest.raises(UserError, match=r"--config-dir .*none is not a folder"):
            allow_parts(tmp_path / "none", None)
