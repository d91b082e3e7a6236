"""What the folder of a run says of the command that it was started with, and what it may not say.

A folder may be a stranger's. What it says chooses among parts and numbers; it does not choose what
code runs: overrides of Hydra itself, environment variables and search paths count only when they
are typed, and parts only if their packages are allowed now (see `cast_exp.plugins`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import DictConfig, OmegaConf

from cast_exp.config import key_of, listed, options, swept
from cast_exp.errors import UserError
from cast_exp.run.folder import SWEEP, unfinished
from cast_exp.run.tree import EVAL, compose, config_tree

Kind = Literal["train", "eval"]

# Overrides of a multirun that are ours, not the user's.
FOLDER_NAMES = "hydra.job.config.override_dirname.exclude_keys"
_OWN = ("hydra.mode", FOLDER_NAMES)
_TYPED_EACH_TIME = ("plugins", "resume_changes")
_LARGEST = 1 << 22  # bytes of a file that holds a command or a config
_MERGE = re.compile(r"<<\s*['\"]?\s*:")
# A function of a config, such as that which reads the environment, or a reference that is escaped.
_CALL = re.compile(r"\$\{.*:|\\\$", re.DOTALL)
_NAME = re.compile(r"\w[\w-]*")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where there is libyaml
# What of Hydra's node differs between commands without harm.
_HARMLESS = (
    *("runtime.", "overrides.", "sweeper.params.", "help.", "mode", "output_subdir"),
    *("job.name", "job.override_dirname", "job.num", "job.id", "job.config_name"),
)


@dataclass(frozen=True)
class Saved:
    """The command that a run or multirun was started with.

    Attributes:
        folder: Of the run.
        overrides: As they were typed, but for what a folder has no say in: `plugins` and
            `resume_changes`.
        config_dir: The user's folder of config files, if there was one.
        config_name: Name of the root config.
        choices: Option that each config group had, Hydra's own groups apart.
    """

    folder: Path
    overrides: tuple[str, ...]
    config_dir: Path | None
    config_name: str | None
    choices: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Saved":
        """Read it.

        Args:
            folder: Of a run or a multirun.

        Raises:
            UserError: It is not there, or damaged.
        """
        if (folder / SWEEP).is_file():
            hydra = _Hydras(folder / SWEEP)
            task, own = hydra.texts("overrides", "task"), hydra.texts("overrides", "hydra")
            overrides = [*(text for text in own if key_of(text) not in _OWN), *task]
        else:
            hydra = _Hydras(folder / ".hydra" / "hydra.yaml")
            overrides = hydra.texts("overrides", "task")
        return cls(
            folder,
            tuple(text for text in overrides if key_of(text) not in _TYPED_EACH_TIME),
            hydra.config_dir(),
            hydra.config_name(),
            hydra.choices(),
        )

    @property
    def kind(self) -> Kind:
        """Whether it trains or evaluates; with a root config of the user's own, it trains."""
        return "eval" if self.config_name == EVAL else "train"

    def continued(self, typed: Sequence[str]) -> list[str]:
        """The overrides of the folder, less those that are typed anew, and then the typed ones.

        Raises:
            UserError: Some of the folder's are for the user only.
        """
        given = {key_of(text) for text in typed}
        return [*self.checked(text for text in self.overrides if key_of(text) not in given), *typed]

    def checked(self, overrides: Iterable[str]) -> list[str]:
        """Some of the folder's overrides, once none of them is for the user only.

        Raises:
            UserError: One is.
        """
        kept = list(overrides)
        if refused := [text for text in kept if _for_users_only(text)]:
            raise UserError(
                listed(
                    f"{text}: {self.folder} says so, but what concerns Hydra itself, files outside "
                    "of the config tree or the environment is not taken from a folder; if you want "
                    "it, type it again"
                    for text in refused
                )
            )
        return kept

    def existing_config_dir(self) -> Path | None:
        """The user's folder of config files, if there was one.

        Raises:
            UserError: It is there no more.
        """
        if self.config_dir and not self.config_dir.is_dir():
            raise UserError(
                f"{self.folder} was started with --config-dir {self.config_dir}, which no longer "
                "exists; say with --config-dir where it is now"
            )
        for path in self.config_dir.glob("*.yaml") if self.config_dir else ():
            if "searchpath" in path.read_text(encoding="utf-8", errors="replace"):
                raise UserError(
                    f"{path} sets a search path, which is not taken from a folder; if you want it, "
                    f"add --config-dir {self.config_dir}"
                )
        return self.config_dir


def begun_before(parent: Path, overrides: Sequence[str], config_dir: Path | None) -> Path | None:
    """The newest unfinished multirun of the same command, if there is one.

    Args:
        parent: Where the folders of multiruns are.
        overrides: All of the command.
        config_dir: The user's folder of config files.
    """
    for folder in unfinished(parent, SWEEP, "sweep-"):
        with suppress(UserError):  # damaged
            saved = Saved.read(folder)
            same_place = saved.config_dir == (config_dir and config_dir.resolve())
            if same_place and _essence(saved.overrides) == _essence(overrides):
                return folder.resolve()
    return None


def _essence(overrides: Iterable[str]) -> tuple[set[str], list[str]]:
    """What makes two commands the same, and which of it numbers the jobs by its order."""
    aside = (*_TYPED_EACH_TIME, *_OWN, "resume")
    kept = [text for text in overrides if key_of(text) not in aside]
    return set(kept), swept(kept)


def check_hydra(
    config: DictConfig, config_name: str, root: Path | None, typed: Sequence[str], saved: Saved
) -> None:
    """See that config files which a folder has named change nothing of Hydra itself.

    Args:
        config: Composed with them.
        config_name: Name of our root config.
        root: Folder of the config tree, None for ours.
        typed: Overrides of the user's.
        saved: What has named them.

    Raises:
        UserError: They set something that would choose what code runs.
    """
    params = config.hydra.sweeper.get("params") or {}
    saved.checked(f"{key}={value}" for key, value in params.items())
    own = [text for text in typed if _is_hydras(text)]
    with config_tree(root):
        plain = _flat(compose(config_name, own).hydra)
    for key, value in _flat(config.hydra).items():
        if not key.startswith(_HARMLESS) and plain.get(key) != value:
            raise UserError(
                f"hydra.{key}={value}: config files in {saved.config_dir} say so, and what "
                "concerns Hydra itself is not taken from a folder; if you want it, add "
                f"--config-dir {saved.config_dir}"
            )


def _for_users_only(text: str) -> bool:
    return _is_hydras(text) or bool(_CALL.search(text)) or _leaves_the_tree(text)


def _is_hydras(text: str) -> bool:
    parts = re.split(r"[@:]", key_of(text))
    return any(re.split(r"[./]", part)[0] == "hydra" for part in parts)


def _leaves_the_tree(text: str) -> bool:
    """Whether an option of a group is named by a path, which may lead anywhere."""
    key, _, value = text.partition("=")
    group = key_of(key).partition("@")[0]
    return "." not in group and bool(options(group)) and ("/" in value or ".." in value)


def _flat(node: DictConfig) -> dict[str, Any]:
    """The leaves of a node by dotted keys, interpolations not resolved."""

    def grow(value: Any, prefix: str) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                grow(inner, f"{prefix}{key}.")
        else:
            leaves[prefix[:-1]] = value

    leaves: dict[str, Any] = {}
    grow(OmegaConf.to_container(node), "")
    return leaves


def read_yaml(path: Path) -> Any:
    """Content of a file of the folder of a run, YAML or JSON, of which nothing can be relied on.

    Raises:
        UserError: It is damaged, or larger than any that we write.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, "too large")
        text = path.read_text(encoding="utf-8")
        if _MERGE.search(text):  # which can make much of little
            raise _damaged(path, "merge keys")
        return yaml.load(text, _LOADER)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _damaged(path, type(error).__name__) from error


class _Hydras:
    """What Hydra has left in a file about a command, of which nothing can be relied on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f"{path} is missing, so what the run was started with cannot be told")
        self.content = read_yaml(path)

    def texts(self, *keys: str) -> list[str]:
        """The list of texts at some keys, one inside the other."""
        found = self._at(*keys)
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise _damaged(self.path, f"no list of texts at {'.'.join(keys)}")
        return found

    def config_dir(self) -> Path | None:
        """The folder that `--config-dir` named."""
        sources = self._at("runtime", "config_sources")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict) and source.get("provider") == "command-line":
                return Path(str(source.get("path")))
        return None

    def config_name(self) -> str | None:
        """Name of the root config."""
        name = self._at("job", "config_name")
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None

    def choices(self) -> dict[str, str]:
        """The options of groups."""
        found = self._at("runtime", "choices")
        pairs = found.items() if isinstance(found, dict) else ()
        return {
            str(group): str(option)
            for group, option in pairs
            if option is not None and str(group).partition("/")[0] != "hydra"
        }

    def _at(self, *keys: str) -> Any:
        node = self.content
        for key in ("hydra", *keys):
            node = node.get(key) if isinstance(node, dict) else None
        return node


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}); start a new run")
