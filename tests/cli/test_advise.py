import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.commands import ROOT
from support.streams import Greys

from cast_exp.cli import advise, main
from cast_exp.cli.advise import Mode, line
from cast_exp.data import DeiT, ImageDataModule, TwoViews
from cast_exp.run.measure import CoreSeconds, Step, core_seconds
from cast_exp.superpixels import Grid, Seeds, SuperpixelMethod

GPU = Mode("worker", core=0.02, device=0.002)
CPU = Mode("worker", core=0.02, device=0.09, shared=True)


@pytest.mark.parametrize(
    ("mode", "cores", "rate", "workers", "limit"),
    [
        (GPU, 4, 200, 4, "loading"),  # four cores make 50 images/s each
        (GPU, 20, 500, 11, "the training step"),  # ten would do on average
        (CPU, 2, 10, 1, "the training step"),  # 0.01 s of both cores to load, then 0.09 s
        (Mode("worker", 0.6, 0.1, shared=True), 2, 2.5, 2, "loading"),
    ],
)
def test_a_device_is_as_fast_as_what_it_waits_for(
    mode: Mode, cores: int, rate: float, workers: int, limit: str
) -> None:
    assert mode.rate(cores) == pytest.approx(rate)
    assert (mode.workers(cores), mode.limit(cores)) == (workers, limit)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([Step(4, 3.0, 0), Step(8, 5.0, 0)], (1.0, 0.5)),
        ([Step(8, 4.0, 0)], (0.0, 0.5)),
        ([Step(4, 5.0, 0), Step(8, 4.0, 0)], (0.0, 0.5)),  # noise
        ([Step(4, 1.0, 0), Step(8, 4.0, 0)], (0.0, 0.5)),
    ],
)
def test_a_step_has_a_fixed_part_and_one_for_each_image(
    steps: list[Step], expected: tuple[float, float]
) -> None:
    assert line(steps) == pytest.approx(expected)


def test_what_is_printed_follows_from_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = type("Data", (), {"batch_size": 64, "superpixel": "s", "raw": lambda *_: range(36_000)})
    monkeypatch.setattr(advise, "build", lambda _: data())
    monkeypatch.setattr(advise, "available_cores", lambda: 2)
    cost = CoreSeconds(0.005, 0.005, 0.01)
    monkeypatch.setattr(advise, "core_seconds", lambda *_: (cost, []))
    monkeypatch.setattr(advise, "prepare_seconds", lambda *_: 0.0)

    def step(_config: Any, _data: Any, _items: Any, batch: int, _limit: float) -> Step:
        return Step(batch, 0.32 + 0.085 * batch, 0)

    monkeypatch.setattr(advise, "time_step", step)
    trainer = {"max_epochs": 2, "devices": 1, "accelerator": "cpu"}
    advise.advise({"data": {}, "trainer": trainer}, 60, Console(width=120))
    printed = capsys.readouterr().out
    assert "a step is about 320 ms and 85 ms for each image" in printed
    assert "10 images/s per device with 2 cores, limited by the training step" in printed
    assert "best: data.superpixels_on=worker data.workers=1" in printed
    assert "from 34 images per device on" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("│")]
    assert [row[1::2] for row in rows[-3:]] == [
        ["1", "10", "2"],
        ["8", "80", "0.25"],
        ["64", "640", "0.0312"],
    ]
    letters = (
        (ROOT / "docs" / "planning.md").read_text().split("## The formula")[1].split("\n\n")[1]
    )
    quoted = re.findall('"(.+?)"', letters)
    assert len(quoted) == 5
    for text in quoted:
        assert re.search(re.sub("`.`", r"[\\d.]+", text), printed), text


def images(superpixel: SuperpixelMethod, views: Any = None, **options: Any) -> ImageDataModule:
    small: dict[str, Any] = {"image_size": 16, "batch_size": 4, "workers": 0}
    return ImageDataModule(
        partial(Greys, sizes=(20,)), views or TwoViews(16), superpixel, **small | options
    )


@pytest.mark.parametrize(
    ("data", "choices"),
    [
        (
            images(Seeds(16)),
            [
                "superpixel=slic data.superpixels_on=device",
                "superpixel=slic data.augment_on=device",
            ],
        ),
        (images(Grid(9)), ["data.superpixels_on=device", "data.augment_on=device"]),
        (images(Grid(9), superpixels_on="device"), ["data.augment_on=device"]),
        (images(Grid(9), superpixels_on="device", augment_on="device"), []),
        (images(Grid(9), DeiT(16)), []),
        (images(Grid(9), DeiT(16, erasing_probability=0)), ["data.superpixels_on=device"]),
    ],
)
def test_all_that_the_device_could_do_is_measured(
    data: ImageDataModule, choices: list[str]
) -> None:
    cost, items = core_seconds(data, 0.01)
    modes = advise.device_modes(data, cost, items, "cpu", 0.01)
    assert [mode.choice for mode in modes] == choices
    assert all(0 < mode.core < 1 and 0 < mode.device < 1 for mode in modes)
    assert data.batch_size == 4
    before = data.train_dataloader()
    assert len(next(iter(before))["label"]) == 4


def test_mistakes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "experiment=shapes_mco"]) == 2
    assert "did you mean shapes_moco" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_training_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["experiment=shapes_moco", "data=shapes_small", "task.hidden_dim=32"]
    assert main(["advise", *words, "--seconds", "3"]) == 0
    assert "best: data.superpixels_on=worker data.workers=" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
