"""What readers of a stream see, together and when they are resumed."""

import logging
from collections import Counter
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
from support.streams import PLACES, Greys, all_values

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import Split
from cast_exp.data.sampling import EpochSampler
from cast_exp.data.streams import EpochOrder, FixedOrder, mixed, shuffled
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid

Loaded = list[list[bytes]]


def images(stream: Any = Greys, **options: Any) -> ImageDataModule:
    small: dict[str, Any] = {"batch_size": 4, "image_size": 8, "eval_crop": 1.0, "workers": 0}
    return ImageDataModule(stream, TwoViews(8), Grid(4), **small | options)


def contents(batch: dict[str, Any]) -> list[bytes]:
    tensors = (batch["index"], batch["label"], *batch["images"])
    return [tensor.numpy().tobytes() for tensor in tensors]


def epoch_of(stream: Greys, ranks: int, workers: int, batch: int = 4) -> list[list[int]]:
    """The grey values that each worker of each rank draws."""
    found = []
    for rank in range(ranks):
        sampler = EpochSampler(len(stream), batch, 1, rank, ranks)
        order = EpochOrder(sampler)
        order.begin()
        for worker in range(workers):
            numbers = [draw.number for draw in order.draws(stream, worker, workers)]
            found.append(stream.values(numbers))
    return found


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1)])
def test_an_epoch_has_every_image_once_where_the_shards_can_be_shared_out(
    ranks: int, workers: int
) -> None:
    stream = Greys()
    shares = epoch_of(stream, ranks, workers)
    assert sorted(chain(*shares)) == all_values(stream)
    assert all(len(share) == 16 // ranks // workers for share in shares)


@pytest.mark.parametrize("readers", [3, 5, 8])
def test_all_ranks_have_as_many_images_whatever_is_in_their_shards(readers: int) -> None:
    stream = Greys(sizes=(1, 9, 2, 30, 6))
    shares = epoch_of(stream, ranks=readers, workers=1, batch=2 * readers)
    assert {len(share) for share in shares} == {len(stream) // (2 * readers) * 2}
    for share in shares:  # none is seen again before the others of its reader were
        assert set(np.diff(sorted(Counter(share).values())[:: len(share) - 1])) <= {0, 1}


def test_order_is_of_the_epoch_and_the_seed_and_mixes_shards() -> None:
    stream = Greys(sizes=(20,) * 6, buffer=15)
    orders = {
        key: stream.values([e.number for e in islice(shuffled(stream, key, 0, 1), 240)])
        for key in ((1, 0), (1, 1), (2, 0))
    }
    assert len({tuple(order) for order in orders.values()}) == 3
    for order in orders.values():
        assert sorted(order[:120]) == sorted(order[120:]) == all_values(stream)
        assert order[:120] != order[120:]
        assert len({value // 20 for value in order[:20]}) == 2  # its buffer began with one shard


def test_a_buffer_draws_from_all_that_it_holds() -> None:
    draws, first = np.random.default_rng(0), Counter[int]()
    for _ in range(500):
        order = [*mixed(iter(range(20)), 5, draws)]
        assert sorted(order) == [*range(20)]
        assert all(value < place + 5 for place, value in enumerate(order))
        first[order[0]] += 1
    assert min(first[value] for value in range(5)) > 70
    assert [*mixed(iter(range(4)), 1, draws)] == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"repeats": 2}, {"drop_last": False}])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_can_be_resumed_at_any(workers: int, options: dict[str, Any]) -> None:
    stream = partial(Greys, sizes=(6, 3, 7, 5))

    def batches(done: int, epoch: int = 0) -> Loaded:
        loader = images(stream, workers=workers, **options).train_dataloader()
        loader.load_state_dict({"epoch": epoch, "batch": done})
        loader.sampler.set_epoch(epoch)
        assert len(loader) == (6 if "drop_last" in options else 5)
        return [contents(batch) for batch in loader]

    straight = batches(0)
    assert len(straight) == (6 if "drop_last" in options else 5)
    assert len({tuple(batch) for batch in straight}) == len(straight)
    for done in (1, 2, 3, 4):
        assert batches(done) == straight[done:]
    assert batches(2, epoch=1) == batches(0, epoch=1)[2:] != straight[2:]


def test_workers_live_on_and_see_the_next_epoch() -> None:
    loader = images(workers=2).train_dataloader()
    epochs = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        epochs.append([batch["index"].tolist() for batch in loader])
    assert sorted(chain(*epochs[0])) == sorted(chain(*epochs[1]))
    assert epochs[0] != epochs[1]


def test_repeats_are_views_of_their_own() -> None:
    loader = images(repeats=2, batch_size=16).train_dataloader()
    (batch,) = loader
    assert batch["index"].reshape(8, 2).diff().abs().sum() == 0
    assert len(set(batch["index"].tolist())) == 8
    flat = images(partial(Greys, sizes=(16,)), repeats=2, batch_size=16)
    seeds: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cast_exp.data.samples.sample_seed", lambda *key: seeds.append(key) or 0)
        list(flat.train_dataloader())
    assert len(set(seeds)) == len(seeds) == 2 * 16


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_unreadable_images_are_replaced_alike_in_resumed_runs(done: int) -> None:
    def batches(start: int) -> tuple[Loaded, dict[str, str]]:
        data = images(partial(Greys, damaged=(0, 5, 6, 7, 15)))
        loader = data.train_dataloader()
        loader.load_state_dict({"epoch": 0, "batch": start})
        return [contents(batch) for batch in loader], data.unreadable

    straight, told = batches(0)
    assert len(straight) == 4
    assert set(told) == {f"shard{n // 4}, image {n % 4}" for n in (0, 5, 6, 7, 15)}
    assert batches(done)[0] == straight[done:]


def test_a_stream_of_bad_images_stops_the_run() -> None:
    data = images(partial(Greys, damaged=tuple(range(16))))
    with pytest.raises(UserError, match="images cannot be read"):
        list(data.train_dataloader())
    with pytest.raises(UserError, match="there are no images in shard0"):
        next(shuffled(Greys(sizes=(0,)), (0, 0), 0, 1))


class Cut(Greys):
    def read_shard(self, shard: int) -> Any:
        yield from islice(super().read_shard(shard), 2)
        raise UserError(f"{self.shards[shard]} is cut short")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_bad_shard_is_one_line(split: Split, workers: int) -> None:
    data = images(Cut, workers=workers)
    loader = data.train_dataloader() if split == "train" else data.plain_dataloader(split)
    with pytest.raises(UserError, match=r"shard\d is cut short"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_validation_has_every_image_once(workers: int) -> None:
    sizes = (6, 3, 7, 5)
    data = images(partial(Greys, sizes=sizes, damaged=(8,)), workers=workers)
    for loader in (data.val_dataloader(), data.plain_dataloader("val")):
        values = [batch["images"][0][:, 0, 0, 0].tolist() for batch in loader]
        assert sorted(chain(*values)) == [n for n in range(21) if n != 8]
        numbers = [*chain(*(batch["index"].tolist() for batch in loader))]
        assert sorted(Greys(sizes=sizes).values(numbers)) == sorted(chain(*values))
    assert [*data.unreadable] == ["shard1, image 2"]


@pytest.mark.parametrize("readers", [(1, 1), (2, 3)])
def test_a_limit_takes_the_first_images_whoever_reads_them(readers: tuple[int, int]) -> None:
    ranks, workers = readers
    stream = Greys(sizes=(6, 3, 7, 5))
    found = [
        draw.number
        for rank in range(ranks)
        for worker in range(workers)
        for draw in FixedOrder(rank, ranks, 8).draws(stream, worker, workers)
    ]
    assert sorted(stream.values(found)) == [*range(8)]
    assert images(partial(Greys, sizes=stream.sizes)).chosen("val", 8).tolist() == sorted(found)
    assert max(found) == PLACES + 1


def test_shares_that_are_not_equal_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def told(workers: int, state: dict[str, int] | None = None) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            loader = images(workers=workers).train_dataloader()
            if state:
                loader.load_state_dict(state)
        return caplog.text

    assert told(0) == told(2) == told(4) == ""
    assert "4 shards cannot be shared out equally among 3 readers" in told(3)
    assert "8 readers (workers of all devices) read 4 shards" in told(8)
    loader = images(workers=2).train_dataloader()
    assert loader.state_dict() == {"epoch": 0, "batch": 0, "readers": 2}
    assert told(2, {"epoch": 0, "batch": 1, "readers": 2}) == ""
    assert told(4, {"epoch": 0, "batch": 0, "readers": 2}) == ""
    assert "4 readers" in told(4, {"epoch": 0, "batch": 1, "readers": 2})


def test_views_on_the_device_are_of_the_same_images() -> None:
    on_device = images(augment_on="device", superpixels_on="device")
    made = [on_device.prepare(batch, "cpu") for batch in on_device.train_dataloader()]
    plain = images()
    expected = [plain.prepare(batch, "cpu") for batch in plain.train_dataloader()]
    for ours, theirs in zip(made, expected, strict=True):
        assert ours["index"].equal(theirs["index"])
        assert (ours["images"][0] - theirs["images"][0]).abs().max() < 0.05
