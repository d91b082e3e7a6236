from itertools import chain

import numpy as np
import pytest
from timm.data.distributed_sampler import RepeatAugSampler

from cast_exp.data.sampling import EpochSampler, FixedSampler, sample_seed


def batches(length: int, batch: int, ranks: int, epoch: int = 0, seed: int = 0, **options: object):
    """Global batches, each as the set of the keys of all ranks."""
    shares = []
    for rank in range(ranks):
        sampler = EpochSampler(length, batch, seed, rank, ranks, **options)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler)
        local = batch // ranks
        shares.append([keys[i : i + local] for i in range(0, len(keys), local)])
    return [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]


@pytest.mark.parametrize(("length", "batch"), [(24, 8), (101, 12), (7, 12), (12, 12)])
def test_global_batches_do_not_depend_on_the_number_of_ranks(length: int, batch: int) -> None:
    alone = batches(length, batch, 1)
    assert len(alone) == length // batch
    for ranks in (2, 3, 4) if batch == 12 else (2, 4, 8):
        assert batches(length, batch, ranks) == alone


def test_an_epoch_has_no_image_twice_and_carries_its_number() -> None:
    keys = list(chain(*batches(101, 12, 4, epoch=3)))
    assert {epoch for epoch, _ in keys} == {3}
    indices = [index for _, index in keys]
    assert len(set(indices)) == len(indices) == 96
    assert set(indices) <= set(range(101))


def test_order_depends_on_seed_and_epoch_only() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        sampler = EpochSampler(50, 10, seed)
        sampler.set_epoch(epoch)
        assert list(sampler) == list(sampler)
        return [index for _, index in sampler]

    orders = [order(epoch, seed) for epoch in range(3) for seed in range(3)]
    assert len({tuple(o) for o in orders}) == 9
    assert orders[4] == order(1, 1)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_without_drop_last_every_image_is_seen_and_ranks_stay_equal(ranks: int) -> None:
    keys = list(chain(*batches(101, 12, ranks, drop_last=False)))
    assert {index for _, index in keys} == set(range(101))
    assert len(keys) == -(-101 // ranks) * ranks


@pytest.mark.parametrize("ranks", [1, 2])
def test_start_leaves_out_whole_batches(ranks: int) -> None:
    sampler = EpochSampler(100, 10, 0, ranks - 1, ranks)
    whole = list(sampler)
    sampler.start = 3
    assert list(sampler) == whole[3 * 10 // ranks :]


@pytest.mark.parametrize(("length", "batch"), [(24, 8), (101, 12), (40, 40)])
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_repeats_are_timms(length: int, batch: int, ranks: int, repeats: int) -> None:
    """The same images on every rank as timm's sampler picks out of the same permutation."""
    for rank in range(ranks):
        sampler = EpochSampler(length, batch, 5, rank, ranks, repeats=repeats)
        sampler.set_epoch(2)
        order = np.random.default_rng([5, 2]).permutation(length).tolist()
        options = {"num_repeats": repeats, "selected_round": batch, "shuffle": False}
        timm = RepeatAugSampler(range(length), ranks, rank, **options)
        draws = [draw for _, draw in sampler]
        assert [draw % length for draw in draws] == [order[position] for position in timm]
        assert len(sampler) == len(timm)
    assert len(set(draws)) == len(draws), "a copy is drawn twice"


def test_copies_of_an_image_are_told_apart_and_share_a_global_batch() -> None:
    for keys in batches(30, 6, 2, repeats=3):
        images: dict[int, set[int]] = {}
        for _, draw in keys:
            images.setdefault(draw % 30, set()).add(draw // 30)
        assert list(images.values()) == [{0, 1, 2}] * 2


def test_repeats_resume_in_the_middle() -> None:
    sampler = EpochSampler(30, 6, 0, 1, 2, repeats=3)
    whole = list(sampler)
    sampler.start = 2
    assert list(sampler) == whole[2 * 3 :]


def test_fixed_sampler_keeps_the_order() -> None:
    assert list(FixedSampler([5, 1, 9])) == [(0, 5), (0, 1), (0, 9)]
    assert len(FixedSampler([5, 1, 9])) == 3


def test_seeds_differ_with_every_part_of_the_key() -> None:
    keys = [(s, e, i, v) for s in range(3) for e in range(3) for i in range(50) for v in range(2)]
    assert len({sample_seed(*key) for key in keys}) == len(keys)
    assert sample_seed(1, 2, 3, 0) == sample_seed(1, 2, 3, 0)
