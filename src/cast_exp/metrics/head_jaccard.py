"""How well attention tells figure from ground."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from cast_exp.ops import contingency, kept_mass
from cast_exp.ops.labels import VOID

MassRule = Literal["tokens", "pixels"]
"""Whether a head's mask holds its share of mass in the fewest tokens, or in the fewest pixels."""
ObjectRule = Literal["object", "union"]
"""Whether masks are compared with each object, or with all objects of an image together."""

MASS_RULES: tuple[MassRule, ...] = ("tokens", "pixels")
OBJECT_RULES: tuple[ObjectRule, ...] = ("object", "union")


def head_jaccards(heads: Tensor, segments: Tensor, objects: Tensor, mass: float = 0.6) -> Tensor:
    """Overlap of what each attention head sees with each object of an image.

    The mask of a head is the tokens with the largest attention that hold a share of it; a token
    without a pixel counts by "tokens" and not by "pixels" (see `kept_mass`). All is counted on
    tokens, of whose pixels in each object a table is made once.

    Args:
        heads: Attention to each token, float (heads, N).
        segments: Token of each pixel, int64 (H, W).
        objects: Object of each pixel: 0 for none, 255 for void, which counts neither for nor
            against a mask; int64 (H, W).
        mass: The share of attention.

    Returns:
        Jaccard indices by mass rule ("tokens", "pixels"), head, and object after the union of all,
        float64 (2, heads, 1 + objects); an image without an object has (2, heads, 1) zeros.
    """
    count = heads.size(-1)
    segments = segments.flatten()
    table = contingency(segments, objects.flatten(), (count, VOID))
    sizes = segments.bincount(minlength=count)
    masks = torch.stack([kept_mass(heads, mass), kept_mass(heads, mass, sizes)]).double()
    each = table[:, 1:][:, table[:, 1:].any(0)]
    truth = torch.cat([each.sum(1, keepdim=True), each], 1).double()
    both = masks @ truth
    either = (masks @ table.sum(1).double())[..., None] + truth.sum(0) - both
    return both / either.clamp(min=1)


class FigureGroundJaccard(Metric):
    """Jaccard index of the best attention head, averaged over images.

    By the rule "object" (DINO) each object of an image takes its best head, and their indices are
    averaged; by "union" (the paper's wording) the image takes the head that is best for all its
    objects together. Images without an object are left out and counted.

    Args:
        rule: Of the figure that is called "jaccard".
        mass_rule: Likewise.
        options: Of torchmetrics' `Metric`.

    Attributes:
        images: Images that were averaged.
        empty: Images that have no object.
    """

    full_state_update = False
    images: Tensor
    empty: Tensor
    sums: Tensor

    def __init__(
        self, rule: ObjectRule = "object", mass_rule: MassRule = "tokens", **options: Any
    ) -> None:
        super().__init__(**options)
        self.headline = f"jaccard_{rule}_{mass_rule}"
        self.add_state("sums", torch.zeros(2, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("empty", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, jaccards: Tensor) -> None:
        """Add an image.

        Args:
            jaccards: What `head_jaccards` says of it.
        """
        if jaccards.size(-1) == 1:
            self.empty += 1
            return
        best = jaccards.amax(1)
        self.sums += torch.stack([best[:, 1:].mean(1), best[:, 0]]).to(self.sums)
        self.images += 1

    def compute(self) -> dict[str, Tensor]:
        """Averages in 0..1, nan without an image.

        Returns:
            "jaccard", and "jaccard_<object rule>_<mass rule>" for all four.
        """
        names = [f"jaccard_{rule}_{mass}" for rule in OBJECT_RULES for mass in MASS_RULES]
        figures = dict(zip(names, (self.sums / self.images).flatten(), strict=True))
        return {"jaccard": figures[self.headline]} | figures
