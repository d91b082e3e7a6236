"""Gives segments the names that an image-text model finds nearest."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cast_exp.naming.image_text import ImageText
from cast_exp.naming.vocabulary import PROMPT, Vocabulary


class Named(NamedTuple):
    """Names of segments.

    Attributes:
        labels: Number of the name of each, int64 (N,).
        shares: How much of the softmax over the names that it could have had is its own, float32
            (N,) in 0..1.
    """

    labels: Tensor
    shares: Tensor


class Namer:
    """Compares encodings of segments with those of names.

    Args:
        model: The model of both.
        vocabulary: The names.
        prompts: Texts that each name is put into; the encodings of a name are averaged over them.
    """

    def __init__(
        self, model: ImageText, vocabulary: Vocabulary, prompts: Sequence[str] = (PROMPT,)
    ) -> None:
        self.vocabulary = vocabulary
        self._temperature = model.temperature
        names = [*dict.fromkeys((*vocabulary.objects, *vocabulary.parts))]
        texts = [prompt.format(name) for prompt in prompts for name in names]
        each = model.encode_texts(texts).reshape(len(prompts), len(names), -1)
        encoded = dict(zip(names, F.normalize(each.mean(0), dim=-1).cpu(), strict=True))
        self._objects = torch.stack([encoded[name] for name in vocabulary.objects])
        self._parts = torch.stack([encoded[name] for name in vocabulary.parts])
        self._owners = torch.tensor(vocabulary.owners)

    def objects(self, encodings: Tensor) -> Named:
        """The nearest objects.

        Args:
            encodings: Of segments, float32 (N, D), of length one.
        """
        return self._named(encodings @ self._objects.T)

    def parts(self, encodings: Tensor, owners: Tensor) -> Named:
        """The nearest parts of given objects.

        Args:
            encodings: Of segments, float32 (N, D), of length one.
            owners: The object that each is a part of, int64 (N,).
        """
        similar = encodings @ self._parts.T
        return self._named(similar.masked_fill(owners[:, None] != self._owners, -torch.inf))

    def _named(self, similar: Tensor) -> Named:
        labels = similar.argmax(1)
        shares = (self._temperature * similar).softmax(1)
        return Named(labels, shares.gather(1, labels[:, None])[:, 0])


def paint(masks: Tensor, labels: Tensor, background: int, last_wins: bool = False) -> Tensor:
    """Paint segments in their order.

    Args:
        masks: The segments, bool (N, H, W).
        labels: What each is painted with, int64 (N,).
        background: Label of pixels without segment.
        last_wins: Where segments overlap the last one wins, not the first.

    Returns:
        int64 (H, W).
    """
    painted = torch.full(masks.shape[1:], background)
    order = range(len(masks)) if last_wins else reversed(range(len(masks)))
    for number in order:
        painted[masks[number]] = labels[number]
    return painted
