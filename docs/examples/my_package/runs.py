"""A grouping."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.extend import Grouping, Ungrouped


class Runs(Grouping):
    """Segments of tokens that follow one another: the projected means of equal runs."""

    def __init__(self, dim: int, heads: int, mask_empty: bool) -> None:
        super().__init__()
        self.project = nn.Linear(dim, dim)

    def group(self, given: Ungrouped) -> tuple[Tensor, Tensor, Tensor]:
        batch, number, _ = given.tokens.shape
        places = torch.arange(number, device=given.tokens.device)
        members = F.one_hot(places * given.segments // number, given.segments).to(given.tokens)
        means = members.T / members.sum(0)[:, None] @ self.project(given.tokens)
        seeds = members.argmax(0).expand(batch, -1)
        return means, members.expand(batch, -1, -1), seeds
