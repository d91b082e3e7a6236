"""Which images a step sees: orders and seeds that depend on nothing but their arguments."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Key = tuple[int, int]
"""(epoch, draw): names one draw of an image; the loader's workers need to know nothing else.

Of a data set of n images, draw i < n is that of image i; with repeats, copy c of image i is draw
c * n + i.
"""


def sample_seed(*key: int) -> int:
    """Hash non-negative integers, e.g. (seed, epoch, index, view), to a seed of 32 bits."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


class EpochSampler(Sampler[Key]):
    """One rank's share of a permutation that depends on (seed, epoch) only.

    Global batch ``b`` is made of the entries ``b * batch_size`` to ``(b + 1) * batch_size`` of the
    permutation, dealt out to the ranks in turn: the union over the ranks is the same set however
    many ranks there are. Consecutive runs of ``batch_size / ranks`` keys are a rank's batches.
    With repeats, the copies of an image follow each other in the permutation, so that they are in
    the same global batch, and an epoch is no longer: it draws that many times fewer images.

    Args:
        length: Number of images.
        batch_size: Images per step over all ranks, a multiple of ``ranks``.
        seed: Seed of the run.
        rank: This rank.
        ranks: Number of ranks.
        drop_last: Leave out the last, incomplete batch of an epoch. If not, it is filled up to a
            multiple of ``ranks`` from the start of the permutation.
        repeats: Copies of each image (repeated augmentation; Hoffer et al., 2020).
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = True,
        repeats: int = 1,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.repeats = repeats
        self.total = length // batch_size * batch_size if drop_last else -(-length // ranks) * ranks
        self.epoch = 0
        self.start = 0
        """Batches to leave out at the beginning of the next iteration."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.total // self.ranks

    def draws(self) -> NDArray[np.int64]:
        """The draws of the next iteration, all at once."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        draws = (order[:, None] + self.length * np.arange(self.repeats)).ravel()
        mine = np.resize(draws, self.total)[self.rank :: self.ranks]
        return mine[self.start * self.batch_size // self.ranks :]

    def __iter__(self) -> Iterator[Key]:
        epoch = self.epoch
        for draw in self.draws():
            yield epoch, int(draw)


class FixedSampler(Sampler[Key]):
    """The given indices in the given order, the same in every epoch."""

    def __init__(self, indices: Sequence[int] | NDArray[np.int64]) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Key]:
        return ((0, int(index)) for index in self.indices)
