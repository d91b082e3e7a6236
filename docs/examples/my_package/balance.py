"""A regulariser."""

from torch import Tensor

from cast_exp.extend import Hierarchy, Regularizer


class Balance(Regularizer):
    """Prefers segments of equal size: the negative entropy of their shares of the tokens."""

    def of_level(self, first: Hierarchy, second: Hierarchy, level: int) -> Tensor:
        assignments = (view.levels[level].assignment for view in (first, second))
        shares = [scores.float().softmax(-1).mean(1) for scores in assignments]
        return sum((share * share.log()).sum(-1).mean() for share in shares)
