"""Whether a part is of the kind that is wanted where it stands."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator

_TARGET = "_target_"


@dataclass(frozen=True)
class Builds:
    """Says in an annotation, `Annotated[Any, Builds(Kind)]`, what a node is to be built into.

    For functions that take nodes of a config and build them by themselves.
    """

    kind: type


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the second number should not be below the first")
    return bounds


Ordered = AfterValidator(_in_order)
"""Says in an annotation that two numbers are bounds: `Annotated[tuple[float, float], Ordered]`."""


def wrong_kind(target: Callable[..., Any], partial: bool, expected: Any) -> str | None:
    """What keeps a class or function from standing where something is expected.

    Args:
        target: What a node would be built by.
        partial: Whether the node is to become a function that builds it later.
        expected: Annotation of the place. Where it says nothing, any class will do, and no function
            of which nothing is known.
    """
    kinds = _kinds(_result(expected) if partial else expected)
    made = _made(target)
    if kinds is None:
        if made and made != (types.NoneType,):
            return None
        return "is a function that makes nothing, or does not say what; give a class"
    if made and all(issubclass(one, kinds) for one in made):
        return None
    wanted = " or ".join(kind.__name__ for kind in kinds)
    if not made:
        return f"does not say what it returns; here should be a {wanted}"
    return f"makes a {' or '.join(one.__name__ for one in made)}; here should be a {wanted}"


def no_part(value: Any, expected: Any) -> str | None:
    """What keeps a value from standing where `Builds` says that a part should.

    Args:
        value: Node of a config.
        expected: Annotation of the place. Only one that allows None allows null.
    """
    members = get_args(expected) if _is_union(expected) else (expected,)
    notes = [note for one in members for note in getattr(one, "__metadata__", ())]
    wanted = [note.kind.__name__ for note in notes if isinstance(note, Builds)]
    is_part = isinstance(value, Mapping) and _TARGET in value
    optional = types.NoneType in members
    if not wanted or is_part or (value is None and optional):
        return None
    null = "null or " if optional else ""
    return f"should be {null}a node with a {_TARGET} that makes a {' or '.join(wanted)}"


def element(expected: Any, key: Any = None) -> Any:
    """Annotation of what is inside a list or a mapping of which the annotation is given.

    Args:
        expected: That of the whole.
        key: Position in a list of fixed length, such as `tuple[int, str]`.
    """
    found = []
    for one in _alternatives(expected):
        parts = get_args(one)
        if get_origin(one) is tuple and Ellipsis not in parts:
            found += [parts[key]] if isinstance(key, int) and key < len(parts) else []
        elif isinstance(get_origin(one), type) and parts and get_origin(one) is not Callable:
            found.append(parts[1 if len(parts) == 2 and Ellipsis not in parts else 0])
    return _union(found)


def _made(target: Callable[..., Any]) -> tuple[type, ...]:
    """The classes of what a target makes; empty if it does not say."""
    if inspect.isclass(target):
        return (target,)
    try:
        made = get_type_hints(target).get("return", Any)
    except Exception:  # names that are imported for type checkers only
        return ()
    return _kinds(made) or ()


def _result(expected: Any) -> Any:
    """What calls of a callable of which the annotation is given return."""
    callables = [one for one in _alternatives(expected) if get_origin(one) is Callable]
    found = [get_args(one)[-1] for one in callables]
    return _union(found)


def _kinds(expected: Any) -> tuple[type, ...] | None:
    """The classes that an annotation allows, None if it allows anything."""
    found: list[type] = []
    for one in _alternatives(expected):
        kind = get_origin(one) or one
        if (
            kind in (Any, object)
            or not isinstance(kind, type)
            or getattr(kind, "_is_protocol", False)
        ):
            return None
        if kind is not types.NoneType:
            found.append(kind)
    return tuple(found) or (types.NoneType,)


def _union(annotations: list[Any]) -> Any:
    return Union[tuple(annotations)] if annotations else Any  # noqa: UP007


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _alternatives(expected: Any) -> Iterable[Any]:
    """The members of unions, with what annotations are wrapped in taken off."""
    if get_origin(expected) is Annotated:
        inner, *notes = get_args(expected)
        named = [note.kind for note in notes if isinstance(note, Builds)]
        return named or _alternatives(inner)
    if _is_union(expected):
        return [one for part in get_args(expected) for one in _alternatives(part)]
    return [expected]
