"""Says what is wrong with the command line when Hydra cannot make a config of it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import product

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cast_exp.config.messages import gist, nearest, plugin_hint
from cast_exp.errors import UserError

FAILURES = (HydraException, OmegaConfBaseException, OSError, ValueError, YAMLError)
"""What Hydra raises for overrides or files that it can make no config of."""


def explain(config_name: str, overrides: Sequence[str], error: Exception) -> list[str]:
    """All mistakes among overrides that do not compose, one line each.

    Hydra stops at the first; here groups are looked at, then keys, then values, each alone if need
    be. Hydra must be initialised.

    Args:
        config_name: Name of the root config.
        overrides: The command line, which may hold sweeps.
        error: What composing all of it raised; reported when nothing is wrong with any alone.
    """
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    found: list[str] = []
    groups: list[Override] = []
    values: list[Override] = []
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except OverrideParseException as syntax:
            found.append(f"{text}: {_syntax(text, syntax)}")
            continue
        (groups if options(override.key_or_group) else values).append(override)

    chosen: list[str] = []
    for override in groups:
        wrong = [_wrong_option(override, option) for option in _choices(override)]
        if any(wrong):
            found += filter(None, wrong)
        elif not override.is_sweep_override():
            chosen.append(str(override.input_line))
    config = _compose(config_name, chosen)
    if isinstance(config, DictConfig):
        names = [*_keys(config), *filter(options, loader.list_groups(""))]
        known: list[str] = []
        for override in values:
            if problem := _wrong_key(config, names, override):
                found.append(problem)
            elif not override.is_sweep_override():
                known.append(str(override.input_line))
        if not isinstance(_compose(config_name, [*chosen, *known]), DictConfig):
            for text in known:
                alone = _compose(config_name, [*chosen, text])
                if not isinstance(alone, DictConfig):
                    found.append(f"{text}: {gist(alone)}")
    elif not found:
        missing = isinstance(config, MissingConfigException) and config.missing_cfg_file
        away = missing and not plugin_hint(missing)
        found.append(gist(config).rstrip(".") + (_elsewhere() if away else ""))
    return found or [gist(error)]


def values_of(override: str) -> list[str]:
    """The values of an override as text: one, or those of a sweep or a list."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return [value for value in _choices(parsed) if value is not None]


def swept(overrides: Sequence[str]) -> list[str]:
    """Those of the overrides that have several values, for a multirun."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [str(override.input_line) for override in parsed if override.is_sweep_override()]


def combinations(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a multirun over all combinations of the swept values.

    Of several overrides of one key the last holds; the values of the last key vary fastest.

    Raises:
        UserError: A sweep without a list of values, such as `interval(0, 1)`.
    """
    values: dict[str, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise UserError(
                f"{override.input_line}: not a list of values; write choice(...) or range(...), or "
                "choose a sweeper that searches"
            )
        several = override.is_sweep_override()
        found = (
            override.sweep_string_iterator() if several else [override.get_value_element_as_str()]
        )
        values[key] = [f"{key}={value}" for value in found]
    return [list(job) for job in product(*values.values())]


def options(group: str) -> list[str]:
    """The options of a config group, parts of others left out; Hydra must be initialised."""
    loader = GlobalHydra.instance().config_loader()
    return [name for name in loader.get_group_options(group) if not name.startswith("_")]


def _compose(config_name: str, overrides: list[str]) -> DictConfig | Exception:
    try:
        config: DictConfig = compose(config_name, overrides, return_hydra_config=True)
    except FAILURES as error:
        return error
    return config


def _syntax(text: str, error: OverrideParseException) -> str:
    if "=" not in text:
        return "not an override; write key=value (and -m or -- options before them)"
    return f"{gist(error)}; quote special characters, as in 'key=\"a=b\"'"


def _choices(override: Override) -> list[str | None]:
    """The values of an override, several in a sweep or a list; None for null."""
    if override.is_delete():
        return []
    if override.is_sweep_override():
        values = list(override.sweep_iterator()) if override.is_discrete_sweep() else []
    else:
        value = override.value()
        values = value if isinstance(value, list) else [value]
    texts = (v.text if isinstance(v, QuotedString) else v for v in values)
    return [None if text is None else str(text) for text in texts]


def _wrong_option(override: Override, option: str | None) -> str | None:
    group = override.key_or_group
    known = options(group)
    if option in known:
        return None
    if option is None:
        return f"{group}=null: name one of {', '.join(known)}, or leave it out"
    plugin = plugin_hint(f"{group}/{option}")
    hint = plugin or nearest(option, known)
    elsewhere = "" if plugin or hint.startswith("did") else _elsewhere()
    return f"{group}={option}: there is no such {group}; {hint}{elsewhere}"


def _elsewhere() -> str:
    """A hint, unless config files of the user's are named already."""
    path = GlobalHydra.instance().config_loader().get_search_path().get_path()
    if any(place.provider == "command-line" for place in path):
        return ""
    return "; for a file of your own add --config-dir FOLDER"


def _wrong_key(config: DictConfig, names: Sequence[str], override: Override) -> str | None:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key.startswith("hydra."):
        return None
    owner, _, name = key.rpartition(".")
    holder = OmegaConf.select(config, owner) if owner else config
    if OmegaConf.is_config(holder) and name in _names(holder):
        return None
    if isinstance(holder, DictConfig) and (near := get_close_matches(name, _names(holder), n=3)):
        close = [f"{owner}.{n}" if owner else n for n in near]
    else:  # the right name in the wrong place, then any name like it
        close = [n for n in names if n.rpartition(".")[2] == name][:3]
        close = close or get_close_matches(key, names, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "--help lists all keys"
    return f"{key}: there is no such key; {hint}"


def _names(holder: object) -> list[str]:
    if isinstance(holder, DictConfig):
        return [str(name) for name in holder]
    return [str(i) for i in range(len(holder))]  # type: ignore[arg-type]


def _keys(config: DictConfig, prefix: str = "") -> Iterable[str]:
    """Dotted names of all values, those reached through references left out."""
    for key in map(str, config):
        if not prefix and key == "hydra":
            continue
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            value = config[key]
            if isinstance(value, DictConfig):
                yield from _keys(value, f"{prefix}{key}.")
