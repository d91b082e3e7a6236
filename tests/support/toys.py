"""Targets for configs of tests."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import DirectoryPath, Field
from torch import nn

from cast_exp.config import Ordered
from cast_exp.tasks import BaseTask


class Wheel:
    """Not a torch module; takes a number with bounds."""

    def __init__(self, spokes: Annotated[int, Field(ge=1)] = 20) -> None:
        self.spokes = spokes


class BigWheel(Wheel):
    """A wheel with an argument of its own."""

    def __init__(self, spokes: int, size: float) -> None:
        super().__init__(spokes)
        self.size = size


@dataclass(frozen=True)
class Bell:
    """A dataclass."""

    tone: float = 440.0


class Rider(Protocol):
    """Whatever rides."""

    def ride(self) -> None:
        """Go."""


class Bicycle(nn.Module):
    """Takes an argument of each kind that configs have."""

    def __init__(
        self,
        wheel: Wheel,
        colour: Literal["red", "green"] = "red",
        gears: Annotated[int, Field(ge=1, le=30)] | Literal["many"] = 3,
        bell: Bell | None = None,
        ratios: tuple[float, float] = (1.0, 2.0),
        names: Sequence[str] = (),
        shop: Path | None = None,
        garage: DirectoryPath | None = None,
        paint: Callable[..., nn.Module] | None = None,
        spares: Mapping[str, Wheel] | None = None,
        stack: Sequence[Wheel] = (),
        rider: Rider | None = None,
        used: bool = False,
        tilt: Annotated[tuple[float, float], Ordered] = (0.0, 1.0),
        load: Mapping[Literal["front", "back"], Annotated[int, Field(ge=0)] | None] = {},
    ) -> None:
        super().__init__()
        self.wheel = wheel


def polish(every_n_epochs: int | None = None) -> nn.Module:
    """A function that takes an interval, as Lightning's callbacks do."""
    return nn.Identity()


def build_wheel(spokes: int = 3) -> Wheel:
    """A function that makes what a class could."""
    return Wheel(spokes)


def build_anything(**options: Any) -> Any:
    """A function that takes and makes anything."""
    return options


def explode(**options: Any) -> BaseTask:
    """A function that fails in a way nobody thought of."""
    raise ZeroDivisionError("boom")


class Unfinished(Wheel, ABC):
    """Lacks a method."""

    @abstractmethod
    def turn(self) -> None:
        """Go round."""
