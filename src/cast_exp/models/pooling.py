"""How many segments there are at each level, and what groups them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any, get_type_hints

from cast_exp.errors import UserError
from cast_exp.models import grouping as groupings
from cast_exp.models.config import check_values
from cast_exp.models.grouping import GraphPool, Grouping
from cast_exp.plugins import NotAllowed, resolve


def check_levels(
    levels: Sequence[int | float], given: str | None = None
) -> tuple[int | float, ...]:
    """Return the levels as a tuple if they are counts or fractions that get smaller.

    Args:
        levels: Segments at each level, fine to coarse.
        given: How they were given, for messages; None for `pooling.levels=[...]`.

    Raises:
        UserError: A count is below 1, a fraction outside (0, 1), or a level not below the last.
    """
    given = given or f"pooling.levels={list(levels)}"
    for level in levels:
        if not (level >= 1 and level == int(level)) and not 0 < level < 1:
            raise UserError(
                f"{given}: {level} is neither a count (1, 2, ...) nor a fraction of the "
                "superpixels (between 0 and 1)"
            )
    if any(b >= a for a, b in pairwise(levels)):
        raise UserError(
            f"{given}: every level must have fewer segments than the one before, and counts and "
            "fractions cannot be mixed"
        )
    return tuple(levels)


@dataclass(frozen=True)
class Pooling:
    """The levels of a backbone: level i is grouped after stage i.

    Args:
        levels: Segments at each level, fine to coarse, as counts (64) or as fractions of the
            superpixels (0.33); empty for no grouping at all.
        grouping: Builds one grouping from keyword arguments `dim`, `heads` and `mask_empty`.

    Raises:
        UserError: Levels that are none (see `check_levels`), or a grouping without such arguments.
    """

    levels: Sequence[int | float] = (64, 32, 16, 8)
    grouping: Callable[..., Grouping] = field(default=GraphPool)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", check_levels(self.levels))
        _check_arguments(self.grouping, {})

    def described(self) -> dict[str, Any]:
        """The fields of `ModelConfig` that `Pooling.of` makes it of again.

        A grouping of `cast_exp.models.grouping` goes by its name, another one by its import path.
        """
        made = self.grouping if isinstance(self.grouping, partial) else partial(self.grouping)
        path = f"{made.func.__module__}.{made.func.__qualname__}"
        known = getattr(groupings, made.func.__name__, None) is made.func
        return {
            "levels": self.levels,
            "grouping": made.func.__name__ if known else path,
            "grouping_options": dict(made.keywords),
        }

    @classmethod
    def of(cls, levels: Sequence[int | float], name: str, options: Mapping[str, Any]) -> "Pooling":
        """The pooling that was described so.

        Raises:
            UserError: The grouping is of a package that is not allowed (see `cast_exp.plugins`), or
                is none, or takes no such options.
        """
        path = name if "." in name else f"{groupings.__name__}.{name}"
        try:
            grouping: Any = resolve(path)
        except NotAllowed as error:
            raise UserError(f"the model's grouping, {path}, {error.reason}") from None
        except Exception as error:  # whatever a module raises
            raise UserError(f"the model groups by {path}, but: {error}") from error
        if not (isinstance(grouping, type) and issubclass(grouping, Grouping)):
            raise UserError(f"the model groups by {path}, which is no Grouping")
        _check_options(grouping, options)
        return cls(levels, partial(grouping, **options))


def _check_arguments(grouping: Callable[..., Grouping], options: Mapping[str, Any]) -> str:
    """Look whether a grouping takes its options and what all groupings get; what to call it."""
    name = getattr(grouping, "__name__", None) or getattr(grouping, "func", grouping).__name__
    what = f"the model's grouping, {name},"
    try:
        signature(grouping).bind(**{**options, "dim": 0, "heads": 0, "mask_empty": True})
    except TypeError as error:
        raise UserError(
            f"{what} is wrong: {error}; it is built with dim, heads, mask_empty and its options"
        ) from None
    return what


def _check_options(grouping: Callable[..., Grouping], options: Mapping[str, Any]) -> None:
    what = _check_arguments(grouping, options)
    try:
        hints = get_type_hints(grouping.__init__, include_extras=True)
    except NameError:  # what is imported for type checkers only
        hints = {}
    check_values(what, options, hints)


def segment_count(level: int | float, superpixels: int, tokens: int) -> int:
    """Number of segments at a level; an image with fewer tokens that are not empty has fewer.

    Args:
        level: Count or fraction of the superpixels.
        superpixels: Number of superpixels, `Superpixels.whole`.
        tokens: Tokens to be grouped; there are no more segments.
    """
    wanted = int(level) if level >= 1 else max(1, round(level * superpixels))
    return min(wanted, tokens)
