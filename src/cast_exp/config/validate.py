"""Checks a composed config against what it is for, before anything is built.

The schema of a node is the signature of its `_target_`, and that of the whole config the signature
of the entry point's function: names, required arguments and annotations, the constraints in
`Annotated[...]` included. Nothing is written twice.
"""

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import SchemaError

from cast_exp.config.kinds import element, no_part, wrong_kind
from cast_exp.config.messages import gist, nearest
from cast_exp.plugins import NotAllowed, resolve

_OF_HYDRA = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
_REFERENCE = re.compile(r"\$\{(\w[\w.]*)\}")
_PROBLEM = re.compile(r"(\w[\w.]*)(=.*)")  # as resolvers word it
# Least values, which Lightning and torch do not annotate: 0 stands for never, -1 for no end.
_LEAST = {
    **dict.fromkeys(("max_epochs", "max_steps", "save_top_k"), -1),
    **dict.fromkeys(("every_n_epochs", "every_n_train_steps", "log_every_n_steps"), 0),
    **dict.fromkeys(("refresh_rate", "limit_train_batches", "gradient_clip_val"), 0),
    **dict.fromkeys(("lr", "eps", "weight_decay", "momentum"), 0),
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), 1),
}
_KEY = "[key]"  # pydantic's, at the end of a place
_UNKNOWN: Any = object()  # stands for a value that cannot be told, or is reported already


def mistakes(config: DictConfig, entry: Callable[..., Any]) -> list[str]:
    """All that is wrong with a config.

    A mistake is reported once, under the key where it was made: of `seed=x`, with `${seed}` in
    many nodes, only `seed` is reported.

    Args:
        config: Composed config, interpolations not resolved.
        entry: Function that will be called with its nodes as keyword arguments.

    Returns:
        One line for each mistake: the key, its value, what is wrong, and what would be right.
    """
    check = _Check(config)
    check.arguments(config, "", entry, partial=False)
    return [f"{key}{problem}" for key, problem in check.found.items()]


class _Check:
    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.found: dict[str, str] = {}
        self.seen: dict[str, Any] = {}

    def arguments(
        self, node: DictConfig, path: str, target: Callable[..., Any], partial: bool
    ) -> None:
        """Compare the keys and values of a node with the signature of what they go to."""
        try:
            parameters, open_ended = _signature(target)
        except ValueError:  # built-ins without one
            parameters, open_ended = {}, True
        given = [str(key) for key in node if key not in _OF_HYDRA]
        for key in given:
            if key not in parameters and not open_ended:
                name = getattr(target, "__name__", str(target))
                hint = nearest(key, parameters)
                origin, _ = self._read(node, key, _join(path, key))
                self._report(origin, f": {name} has no such option; {hint}")
                continue
            expected = parameters[key].annotation if key in parameters else Any
            self._value(node, key, path, expected)
        if "_args_" in node:
            self._report(_join(path, "_args_"), ": give these arguments by their names")
        if partial:
            return
        for key, parameter in parameters.items():
            if key not in given and parameter.default is inspect.Parameter.empty:
                self._report(_join(path, key), ": required; it has no value")

    def _value(
        self, parent: DictConfig | ListConfig, key: Any, path: str, expected: Any, kind: Any = None
    ) -> Any:
        """Check one value; return it with a stand-in for each part that would be built.

        `kind` is the annotation for a part where the value is looked at as part of a whole.
        """
        kind = kind or expected
        origin, node = self._read(parent, key, _join(path, key))
        if problem := self._misplaced(node, kind):  # whatever its options are
            self.found = {k: v for k, v in self.found.items() if not k.startswith(f"{origin}.")}
            self._report(f"{origin}._target_", f"={node._target_}: {problem}")
            return _UNKNOWN
        if problem := no_part(node, kind):
            self._report(origin, f"={'null' if node is None else node}: {problem}")
            return _UNKNOWN
        value = self._plain(node, origin, kind)
        if isinstance(value, float) and not isfinite(value):
            self._report(origin, f"={value}: should be a finite number")
        if value is _UNKNOWN or origin in self.found:
            return _UNKNOWN
        complaints = _complaints(value, expected)
        for place, complaint in complaints.items():
            name = ".".join((origin, *place))
            wrong = functools.reduce(lambda node, inner: node[inner], place, value)
            if wrong is None:
                complaint = f"should be set with {name}=... ({complaint})"
            shown = "" if _holds_objects(wrong) else f"={'null' if wrong is None else wrong}"
            self._report(name, f"{shown}: {complaint}")
        return _UNKNOWN if complaints else value

    def _read(self, parent: DictConfig | ListConfig, key: Any, path: str) -> tuple[str, Any]:
        """A value, and the key where it was written, following references."""
        raw = parent._get_node(key)
        text = raw._value() if isinstance(raw, Node) else None
        passed = {path}
        while isinstance(text, str) and (match := _REFERENCE.fullmatch(text)):
            owner, _, name = match[1].rpartition(".")
            holder = OmegaConf.select(self.config, owner) if owner else self.config
            if not isinstance(holder, DictConfig) or name not in holder.keys():  # noqa: SIM118
                break
            path, parent, key = match[1], holder, name
            if path in passed:
                self._report(path, ": refers to itself")
                return path, _UNKNOWN
            passed.add(path)
            text = holder._get_node(name)._value()  # type: ignore[union-attr]
        try:
            if OmegaConf.is_missing(parent, key):
                self._report(path, f": required; set it with {path}=...")
                return path, _UNKNOWN
            return path, parent[key]
        except OmegaConfBaseException as error:
            text = gist(error)
            told = _PROBLEM.fullmatch(text)
            if told and OmegaConf.select(self.config, told[1]) is not None:
                self._report(told[1], told[2])  # of an argument, known by its own key
            else:
                self._report(path, f": {text}")
            return path, _UNKNOWN

    def _plain(self, value: Any, path: str, expected: Any) -> Any:
        if isinstance(value, DictConfig):
            if f"{path}._target_" in self.found:
                return _UNKNOWN
            if path not in self.seen:
                self.seen[path] = self._mapping(value, path, expected)
            return self.seen[path]
        if isinstance(value, ListConfig):
            items = [
                self._value(value, i, path, Any, element(expected, i)) for i in range(len(value))
            ]
            return _UNKNOWN if any(item is _UNKNOWN for item in items) else items
        return value

    def _mapping(self, node: DictConfig, path: str, expected: Any) -> Any:
        if "_target_" not in node:
            items = {key: self._value(node, key, path, Any, element(expected)) for key in node}
            return _UNKNOWN if any(item is _UNKNOWN for item in items.values()) else items
        _, name = self._read(node, "_target_", _join(path, "_target_"))
        if name is _UNKNOWN:
            return _UNKNOWN
        try:
            target = resolve(name)
        except NotAllowed as error:
            self._report(_join(path, "_target_"), f"={name}: {error.reason}")
            return _UNKNOWN
        except Exception as error:  # whatever a module raises
            told = f"cannot be imported ({type(error).__name__}: {gist(error)})"
            self._report(
                _join(path, "_target_"), f"={name}: {told}; correct the path or mend the module"
            )
            return _UNKNOWN
        partial = bool(node.get("_partial_"))
        before = len(self.found)
        self.arguments(node, path, target, partial)
        return _UNKNOWN if len(self.found) > before else _stand_in(target, partial)

    def _misplaced(self, node: Any, expected: Any) -> str | None:
        """What keeps the target of a node from standing where something is expected."""
        if not isinstance(node, DictConfig) or "_target_" not in node:
            return None
        try:
            target = resolve(node._target_)
        except Exception:  # reported when the node is looked at
            return None
        if lacking := sorted(getattr(target, "__abstractmethods__", ())):
            return f"{target.__name__} lacks {', '.join(lacking)}, which its base class asks for"
        return wrong_kind(target, bool(node.get("_partial_")), expected)

    def _report(self, path: str, problem: str) -> None:
        self.found.setdefault(path, problem)


def _signature(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Parameters by name with evaluated annotations, and whether any other name is taken too."""
    parameters = inspect.signature(target).parameters
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # names a library imports for its type checker only
        hints = {}
    kinds = inspect.Parameter
    named = {}
    for name, p in parameters.items():
        if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY):
            told = p.annotation is not kinds.empty and not isinstance(p.annotation, str)
            annotation = hints.get(name, p.annotation if told else Any)
            if name in _LEAST and annotation is not Any:
                annotation = Annotated[annotation, Field(ge=_LEAST[name])]
            named[name] = p.replace(annotation=annotation)
    return named, any(p.kind is kinds.VAR_KEYWORD for p in parameters.values())


def _stand_in(target: Callable[..., Any], partial: bool) -> Any:
    """An object of the type that the node would be built into, without building it."""
    if partial:
        return functools.partial(target)
    made: Any = target
    if not inspect.isclass(target):
        try:
            made = get_type_hints(target).get("return", Any)
        except Exception:
            return _UNKNOWN
    if made is Any:
        return _UNKNOWN
    try:
        return object.__new__(made)
    except TypeError:  # no class, an abstract one, or one with a layout of its own
        return _UNKNOWN


def _complaints(value: Any, expected: Any) -> dict[tuple[str, ...], str]:
    """What keeps a value from being of the expected type, by the keys that lead to it."""
    adapter = _adapter(expected)
    if adapter is None:
        return {}
    try:
        if _holds_objects(value):
            adapter.validate_python(value)
        else:  # as JSON, because that has lists for tuples and strings for paths, and no "3" for 3
            found = adapter.validate_json(json.dumps(value), strict=True)
            if value == "" and isinstance(found, Path):  # it would be the working directory
                return {(): "should be a path; is a variable of the shell not set?"}
    except ValidationError as error:
        details = error.errors()
        written = [detail for detail in details if detail["type"] != "dataclass_type"]
        reasons: dict[tuple[str, ...], dict[str, None]] = {}
        for detail in written or details:
            reasons.setdefault(_keys(value, detail["loc"]), {})[_reason(detail)] = None
        return {place: " or ".join(found) for place, found in reasons.items()}
    return {}


def _keys(value: Any, place: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys of mappings at the beginning of a place; pydantic's names of types are none."""
    keys: list[str] = []
    for part in () if _KEY in place else place:  # a wrong key is a mistake of the whole
        if not isinstance(value, Mapping):
            break
        if part in value:
            keys.append(str(part))
            value = value[part]
    return tuple(keys)


def _adapter(expected: Any) -> TypeAdapter[Any] | None:
    for config in (ConfigDict(arbitrary_types_allowed=True), None):
        try:
            return TypeAdapter(expected, config=config)
        except (SchemaError, PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
            return None  # protocols, and annotations that are no types
        except PydanticUserError:  # a dataclass or a model brings a config of its own
            continue
    return None


def _reason(detail: Any) -> str:
    text = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
    if _KEY in detail["loc"]:
        return f"{detail['loc'][-2]} {text}"
    place = [str(part) for part in detail["loc"] if isinstance(part, int)]
    return f"item {'.'.join(place)} {text}" if place else text


def _holds_objects(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_objects, value.values()))
    if isinstance(value, list):
        return any(map(_holds_objects, value))
    return not isinstance(value, str | int | float | None)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
