"""What is measured, on a clock that only passes where a test says so."""

from functools import partial

import pytest
from support.streams import Greys
from support.tiny_run import Blots, TinyTask, tiny_data

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.errors import UserError
from cast_exp.run import measure
from cast_exp.run.measure import CoreSeconds, Step, core_seconds, time_step
from cast_exp.superpixels import Grid

TRAINER = {
    "_target_": "lightning.pytorch.Trainer",
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "precision": "32-true",
    "max_epochs": 3,
    "max_steps": 1,
}


class Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.patch = 0.0, patch
        patch.setattr(measure, "perf_counter", lambda: self.now)

    def slow(self, owner: type, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slowed(*args):
            self.now += seconds
            return original(*args)

        self.patch.setattr(owner, name, slowed)


def test_the_seconds_of_a_core_go_to_what_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = Clock(monkeypatch), []
    clock.slow(Blots, "__getitem__", 0.25)
    clock.slow(Grid, "__call__", 0.5)  # for each of two views
    data = tiny_data()
    transform = data.views.transforms[0]

    def slow_transform(image):
        clock.now += 2.0 if not made else 0.125  # the first is slow for other reasons
        made.append(image)
        return transform(image)

    data.views.transforms = [slow_transform, transform]
    cost, items = core_seconds(data, 20)
    assert cost == CoreSeconds(0.25, 0.125, 1.0)
    assert cost.total == 1.375
    assert len(made) == 1 + -(-20 // 1.375)
    assert len({item["index"] for item in items}) == 8


def test_images_of_a_stream_are_taken_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.slow(Greys, "read", 0.25)
    clock.slow(Grid, "__call__", 0.5)
    stream = partial(Greys, sizes=(20, 20))
    data = ImageDataModule(stream, TwoViews(8), Grid(4), image_size=8, batch_size=4, workers=0)
    cost, items = core_seconds(data, 14)
    assert (cost.decode, cost.superpixels) == (0.25, 1.0)
    assert [item["index"] for item in items] == [*range(5, 13)]


def test_without_readable_images_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blots, "__len__", lambda _: 1)
    with pytest.raises(UserError, match="fewer than two"):
        core_seconds(tiny_data(batch_size=1), 1)


@pytest.mark.parametrize(("limit", "steps"), [(1, 2), (7, 4)])
def test_a_step_is_timed_without_the_first(
    limit: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, made = Clock(monkeypatch), []
    original = TinyTask.training_step

    def slow_step(task, batch, number):
        clock.now += 100 if not made else 1 + len(batch["index"]) / 2
        made.append(batch)
        return original(task, batch, number)

    monkeypatch.setattr(TinyTask, "training_step", slow_step)
    monkeypatch.setattr(
        measure, "build", lambda node: TinyTask() if node == "task" else pytest.fail(node)
    )
    data = tiny_data()
    _, items = core_seconds(data, 0)
    assert time_step({"task": "task", "trainer": TRAINER}, data, items, 4, limit) == Step(4, 3, 0)
    assert len(made) == steps
    assert isinstance(data.views, TwoViews)
