"""The words that segments are named by: objects, and the parts of each."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cast_exp.errors import UserError, listing

PROMPT = "a photo of a {}"
"""What a name is put into before it is encoded, as in the official release."""

_COMMA = re.compile(r",(?![^()]*\))")  # outside brackets
_ENTRY = re.compile(r"([^()]*)(?:\(([^()]*)\))?")


@dataclass(frozen=True)
class Vocabulary:
    """Names of objects and of their parts; an object without parts is its own only part.

    Attributes:
        objects: Names of objects.
        parts: Names of parts, with their objects, as in "dog head"; those of an object follow one
            another.
        owners: The object of each part, counted from 0.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    owners: tuple[int, ...]

    @classmethod
    def of(cls, objects: Sequence[str], parts: Sequence[Sequence[str]]) -> Self:
        """A vocabulary of objects, and of the names of the parts of each, which may be none."""
        own = [tuple(each) or (name,) for name, each in zip(objects, parts, strict=True)]
        owners = [number for number, each in enumerate(own) for _ in each]
        return cls(tuple(objects), tuple(name for each in own for name in each), tuple(owners))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read words as a user gives them.

        Args:
            text: Objects, parts in brackets: "dog(head,body,tail),grass,sky"; or the path of a text
                file (.txt) with such a list, in one line or several.

        Raises:
            UserError: The text cannot be read, or names a thing twice.
        """
        if text.endswith(".txt"):
            text = _lines(Path(text))
        entries = [entry.strip() for entry in _COMMA.split(text)]
        objects, parts = [], []
        for entry in entries:
            found = _ENTRY.fullmatch(entry)
            if found is None:
                raise UserError(
                    f"the classes cannot be read at {listing([entry])!r}; give words, and their "
                    "parts in brackets, as in 'dog(head,body,tail),grass,sky'"
                )
            name = found[1].strip()
            inside = [] if found[2] is None else [part.strip() for part in found[2].split(",")]
            if not all((name, *inside)):
                raise UserError(f"the classes have an empty name at {listing([entry])!r}")
            objects.append(name)
            parts.append([f"{name} {part}" for part in inside])
        made = cls.of(objects, parts)
        for names in (made.objects, made.parts):
            if twice := [name for name, times in Counter(names).items() if times > 1]:
                raise UserError(f"the classes name twice: {listing(twice)}; leave one out")
        return made

    @classmethod
    def of_data(cls, objects: Sequence[str], parts: Sequence[str]) -> Self:
        """The vocabulary of a data set, in its order.

        Args:
            objects: Names of its classes.
            parts: Names of its parts, each the name of an object or beginning with one; those of an
                object follow one another, in the order of the objects. Or none.

        Raises:
            UserError: There is another order, an object without part, or a part of no object.
        """
        if not parts:
            return cls.of(objects, [[] for _ in objects])
        of = [[part for part in parts if f"{part} ".startswith(f"{name} ")] for name in objects]
        made = cls.of(objects, of)
        if not all(of) or made.parts != tuple(parts):
            raise UserError(
                f"the parts of the data ({listing(parts)}) are not those of its objects "
                f"({listing(objects)}), in their order"
            )
        return made

    @property
    def has_parts(self) -> bool:
        """Whether an object has parts other than itself."""
        return self.parts != self.objects


def check_prompts(prompts: Sequence[str], given: str) -> None:
    """Make sure that names can be put into prompts.

    Args:
        prompts: Texts with {} in the place of a name.
        given: How they were given, for the message.

    Raises:
        UserError: There is none, or one has no such place, or several.
    """
    if not prompts:
        raise UserError(f"{given} has no prompt; give one, such as {PROMPT!r}")
    for prompt in prompts:
        if prompt.count("{}") != 1:
            raise UserError(
                f"{given}: {prompt!r} should have {{}} once, where the name goes, as in {PROMPT!r}"
            )


def _lines(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(f"the classes in {path} cannot be read: {reason}") from error
    entries = [line.strip().removesuffix(",") for line in lines if line.strip()]
    return ",".join(entries)
