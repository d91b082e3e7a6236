"""The interface of every way to group tokens into fewer segments."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cast_exp.errors import UserError


@dataclass(frozen=True)
class Ungrouped:
    """The tokens of a batch and what is wanted of them.

    Attributes:
        tokens: Tokens, float (B, N, C).
        segments: Number of segments K, the most that an image gets.
        missing: True where a segment does not exist, because the image has fewer tokens, bool
            (B, K).
        padding: True where a token is empty, bool (B, N).
        attention: Attention that each token got in the block before, float (B, N); None unless the
            grouping reads it.
        full: Whether it is known that no token is empty, and so that no segment is missing.
    """

    tokens: Tensor
    segments: int
    missing: Tensor
    padding: Tensor
    attention: Tensor | None
    full: bool


@dataclass(frozen=True)
class Grouped:
    """Result of a grouping.

    Attributes:
        tokens: Segment tokens, float (B, K, C).
        cls_token: Class token for the next stage, float (B, 1, C).
        padding: True where a segment does not exist, bool (B, K).
        assignment: Scores of tokens onto segments, float (B, N, K); -inf onto missing segments.
        seeds: Token each segment grew from, int64 (B, K).
    """

    tokens: Tensor
    cls_token: Tensor
    padding: Tensor
    assignment: Tensor
    seeds: Tensor


def _shown(result: object) -> str:
    members = result if isinstance(result, tuple) else (result,)
    shapes = (str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in members)
    return ", ".join(shapes)


class Grouping(nn.Module, ABC):
    """Groups the tokens of an image into fewer segments.

    One that is added says what the segments are (`group`), and if the class token changes as well,
    how (`group_cls`), and which parameters have no part in that (`shaping`).

    Attributes:
        reads_attention: Whether it wants to know the attention that tokens got.
        mask_empty: Whether empty tokens take part in nothing, and missing segments are left out.
    """

    reads_attention: bool = False
    mask_empty: bool = True

    @abstractmethod
    def group(self, given: Ungrouped) -> tuple[Tensor, Tensor, Tensor]:
        """Group the tokens.

        Returns:
            `tokens`, `assignment` and `seeds` of `Grouped`.
        """

    def forward(
        self,
        tokens: Tensor,
        cls_token: Tensor,
        count: int,
        padding: Tensor | None = None,
        attention: Tensor | None = None,
    ) -> Grouped:
        """Group the tokens.

        Args:
            tokens: Tokens, float (B, N, C).
            cls_token: Class token, float (B, 1, C).
            count: Number of segments K, at most N. An image with fewer tokens that are not empty
                gets one for each.
            padding: True where a token is empty, bool (B, N); None where none is.
            attention: Attention that each token got in the block before, float (B, N); None unless
                the grouping reads it.

        Raises:
            UserError: `group` returns something else than it should.
        """
        full = padding is None
        if padding is None:
            padding = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        there = (~padding if self.mask_empty else torch.ones_like(padding)).sum(1, keepdim=True)
        missing = torch.arange(count, device=tokens.device) >= there
        given = Ungrouped(tokens, count, missing, padding, attention, full)
        result = self.group(given)
        if not torch.compiler.is_compiling():  # where it would add to the graph's conditions
            self._check(result, given)
        grouped, assignment, seeds = result
        return Grouped(grouped, self.group_cls(cls_token), missing, assignment, seeds)

    def _check(self, result: object, given: Ungrouped) -> None:
        batch, length, width = given.tokens.shape
        count = given.segments
        wanted = [(batch, count, width), (batch, length, count), (batch, count)]
        if not isinstance(result, tuple) or [getattr(x, "shape", 0) for x in result] != wanted:
            raise UserError(
                f"{type(self).__name__}.group() should return tokens, assignment and seeds of "
                f"shapes {', '.join(map(str, wanted))}, not {_shown(result)}"
            )

    def group_cls(self, cls_token: Tensor) -> Tensor:
        """Class token after the grouping, (B, 1, C); it does not depend on the segments."""
        return cls_token

    def shaping(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that only the segments depend on, not `group_cls`."""
        return self.parameters()
