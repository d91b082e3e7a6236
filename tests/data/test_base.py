"""What the data modules share: raw data sets, choices of images, batches per device."""

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.probe_run import images
from support.tiny_run import Blots

from cast_exp.data.base import available_cores, local_batch_size
from cast_exp.data.datasets import RawDataset
from cast_exp.errors import UserError


@pytest.mark.parametrize("dataset", [Blots, functools.partial(Blots, count=3)])
def test_generated_data_take_no_root(
    dataset: Callable[..., RawDataset], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for data in (images(root=tmp_path, dataset=dataset) for _ in range(2)):
            assert isinstance(data.raw("train"), Blots)
    told = [
        record.getMessage() for record in caplog.records if str(tmp_path) in record.getMessage()
    ]
    assert len(told) == 1
    assert "not used" in told[0]


def test_any_data_set_that_takes_a_root_gets_it(tmp_path: Path) -> None:
    given = []

    def named(split: str, root: Path) -> Blots:
        given.append(root)
        return Blots(split)

    def anything(**options: object) -> Blots:
        given.append(options["root"])
        return Blots("train")

    for dataset in (named, anything, functools.partial(named)):
        images(root=tmp_path, dataset=dataset).raw("val")
    assert given == [tmp_path] * 3


def test_a_dataset_without_files_gets_no_root() -> None:
    seen = {}

    def dataset(**options: object) -> list[int]:
        seen.update(options)
        return [1, 2]

    images(dataset=functools.partial(dataset, size=3)).raw("train")
    assert seen == {"split": "train", "size": 3}


class Held(Blots):
    """Blots of which five are held out of the training images."""

    held_out = ["a", "b", "c", "d", "e"]  # noqa: RUF012


def test_images_that_are_held_out_count_as_published() -> None:
    data = images(dataset=Held, expected_images={"train": 60, "val": 40})
    assert data.held_out() == data.held_out("val") == ["a", "b", "c", "d", "e"]
    assert (data.count("train"), data.count("val")) == ((48 + 5, 60), (48, 48))
    plain = images(expected_images={"val": 40})
    assert plain.held_out() == []
    assert (plain.count("train"), plain.count("val")) == ((48, 48), (48, 40))


def test_a_choice_of_images_is_fixed_and_in_order() -> None:
    data = images(seed=1)
    few = data.chosen("train", 7).tolist()
    assert few == images(seed=2).chosen("train", 7).tolist() == sorted(set(few))
    assert len(few) == 7
    assert max(few) > 7, "not the first ones, which may be all of one class"
    assert data.chosen("val").tolist() == data.chosen("val", 100).tolist() == list(range(48))


def test_the_raw_data_are_built_once_and_told_apart() -> None:
    data = images(dataset=functools.partial(Blots, count=9))
    assert data.raw("train") is data.raw("train") is not data.raw("val")
    assert (data.classes, data.num_classes) == (("red", "green", "blue"), 3)
    identity = data.identity("train")
    assert identity == images(dataset=data.dataset).identity("train")
    for other in (data.identity("val"), images().identity("train")):
        assert other != identity


def test_devices_share_a_batch_equally() -> None:
    assert [local_batch_size(256, n) for n in (1, 2, 8)] == [256, 128, 32]
    with pytest.raises(UserError, match=r"batch_size=100 .* shared by 8.*: 96 or 104"):
        local_batch_size(100, 8)
    with pytest.raises(UserError, match=r"nearest that can: 8$"):
        local_batch_size(3, 8)


def test_cores_are_those_that_the_process_may_use() -> None:
    count = available_cores()
    assert 1 <= count <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert available_cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)
