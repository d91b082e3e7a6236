"""The config files as a command sees them, and what its overrides compose to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import hydra
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from cast_exp.config import FAILURES, conf_dir, explain, listed
from cast_exp.errors import UserError
from cast_exp.run.resolvers import register_resolvers

EVAL = "eval"  # the root config of the evaluations
VERSION_BASE = "1.3"  # of Hydra: the behaviour that the config files are written for


class _ExtraFolder(SearchPathPlugin):  # type: ignore[misc]
    """Has Hydra look in one more folder, after all others, as `--config-dir` does.

    An override of `hydra.searchpath` would do so for a config, but not for the options of a group.
    """

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder."""
        if self.folder:
            search_path.append("command-line", f"file://{self.folder}")


Plugins.instance().register(_ExtraFolder)


@contextmanager
def config_tree(folder: Path | None = None, extra: Path | None = None) -> Iterator[Path]:
    """Let Hydra compose configs, within the context, as `hydra.main` would; contexts may be nested.

    Args:
        folder: The config files; None for those of the package.
        extra: A folder of the user's with more of them.

    Yields:
        The folder of the config files.
    """
    register_resolvers()
    outer = GlobalHydra.instance().hydra, _ExtraFolder.folder, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    _ExtraFolder.folder = extra and extra.resolve()
    try:
        place = (folder or conf_dir()).resolve()
        with initialize_config_dir(str(place), version_base=VERSION_BASE):
            yield place
    finally:
        # Hydra puts a copy of its singleton back.
        GlobalHydra.instance().hydra, _ExtraFolder.folder, HydraConfig.instance().cfg = outer


def compose(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that overrides compose to, that of Hydra included; inside `config_tree`.

    Args:
        config_name: Name of the root config.
        overrides: Without sweeps.

    Raises:
        UserError: All mistakes in the overrides.
    """
    try:
        config: DictConfig = hydra.compose(config_name, list(overrides), return_hydra_config=True)
    except FAILURES as error:
        raise UserError(listed(explain(config_name, overrides, error))) from error
    return config
