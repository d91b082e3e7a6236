import copy
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from support.feature_ranks import classifier_fails
from support.tiny_run import Blots, TinyTask, tiny_data, tiny_trainer
from support.two_ranks import on_two_ranks
from torch import Tensor

from cast_exp.callbacks import LinearProbeMonitor
from cast_exp.callbacks.linear_probe_monitor import fit_classifier
from cast_exp.errors import UserError


class Looks(Callback):
    """Keeps the state of everything at the end of each epoch, and the figures."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.random: list[Tensor] = []
        self.modes: list[list[bool]] = []
        self.figures: list[float | None] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: TinyTask) -> None:
        self.states.append(copy.deepcopy(pl_module.state_dict()))
        self.random.append(torch.get_rng_state())
        self.modes.append([part.training for part in pl_module.modules()])
        figure = trainer.callback_metrics.get("val/probe")
        self.figures.append(None if figure is None else figure.item())


def run(folder: Path, *monitors: Callback) -> tuple[TinyTask, Looks]:
    """Four epochs; dropout and batch norm would show any trace."""
    torch.manual_seed(0)
    task, looks = TinyTask(), Looks()
    tiny_trainer(folder, *monitors, looks, max_epochs=4).fit(task, datamodule=tiny_data())
    return task, looks


def test_training_does_not_notice(tmp_path: Path) -> None:
    task, without = run(tmp_path)
    other, with_monitor = run(tmp_path, LinearProbeMonitor(every_n_epochs=1))
    assert len(with_monitor.states) == 4
    for mine, theirs in zip(without.states, with_monitor.states, strict=True):
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    for mine, theirs in zip(without.random, with_monitor.random, strict=True):
        assert torch.equal(mine, theirs)
    assert without.modes == with_monitor.modes
    assert all(p.requires_grad for p in other.parameters())
    grads = [p.grad for p in task.parameters()], [p.grad for p in other.parameters()]
    for mine, theirs in zip(*grads, strict=True):
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)


def test_scores_what_a_classifier_by_hand_gets_right(tmp_path: Path) -> None:
    monitor = LinearProbeMonitor(every_n_epochs=3, images=40, queries=None, epochs=5, batch_size=16)
    task, looks = run(tmp_path, monitor)
    before, untouched, due, last = looks.figures
    assert before is None
    assert untouched is None
    assert due is not None

    data, columns = tiny_data(), []
    task.eval()
    with torch.no_grad():
        for split, limit in (("train", 40), ("val", None)):
            batches = [data.prepare(b, "cpu") for b in data.plain_dataloader(split, limit)]
            columns += [torch.cat([task.features(b) for b in batches]).double()]
            columns += [torch.cat([b["label"] for b in batches])]
    known, labels, asked, wanted = columns
    mean, deviation = known.mean(0), known.std(0)
    known, asked = ((x - mean) / deviation for x in (known, asked))
    weight, bias = by_hand(known, labels, 3, 5, 0.1, 16)
    expected = ((asked @ weight.T + bias).argmax(1) == wanted).double().mean().item()
    assert last == pytest.approx(expected)


def by_hand(
    features: Tensor, labels: Tensor, classes: int, epochs: int, lr: float, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Momentum descent by the formulas."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    targets = torch.nn.functional.one_hot(labels, classes)
    weight = velocity = torch.zeros(classes, inputs.size(1)).double()
    for epoch in range(epochs):
        now = lr * (1 + torch.cos(torch.tensor(torch.pi * epoch / epochs))) / 2
        order = torch.randperm(len(inputs), generator=draw)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            error = (inputs[rows] @ weight.T).softmax(1) - targets[rows]
            velocity = 0.9 * velocity + error.T @ inputs[rows] / len(rows)
            weight = weight - now * velocity
    return weight[:, :-1], weight[:, -1]


@pytest.mark.parametrize(("count", "dim", "classes"), [(50, 4, 3), (7, 30, 2), (64, 1, 10)])
def test_the_classifier_goes_where_the_formulas_say(count: int, dim: int, classes: int) -> None:
    torch.manual_seed(count)
    features, labels = torch.randn(count, dim), torch.randint(classes, (count,))
    with torch.no_grad():  # as in a look at the model
        found = fit_classifier(
            features, labels, classes, 6, 0.2, 16, torch.Generator().manual_seed(0)
        )
    for mine, reference in zip(found, by_hand(features, labels, classes, 6, 0.2, 16), strict=True):
        torch.testing.assert_close(mine.double(), reference, rtol=1e-4, atol=1e-5)


def test_it_finds_what_can_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Features that give the class away, under a shift and at scales far apart."""

    def telling(task: TinyTask, batch: dict[str, Tensor]) -> Tensor:
        hot = torch.nn.functional.one_hot(batch["label"], 3).float()
        return 100 + hot * torch.tensor([1e-2, 1, 1e3])

    monkeypatch.setattr(TinyTask, "features", telling)
    _, looks = run(tmp_path, LinearProbeMonitor())
    assert looks.figures[-1] == 1


def test_data_without_classes_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blots, "classes", ())
    with pytest.raises(UserError, match="no classes to tell apart"):
        run(tmp_path, LinearProbeMonitor())


def test_a_failure_costs_a_figure_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TinyTask, "features", lambda task, batch: 1 / 0)
    with caplog.at_level(logging.WARNING):
        _, looks = run(tmp_path, LinearProbeMonitor())
    assert looks.figures == [None] * 4
    assert "linear probe failed" in caplog.text


@pytest.mark.parametrize("where", [0, 1])
def test_a_failure_of_one_process_costs_a_figure_on_both(where: int, tmp_path: Path) -> None:
    assert on_two_ranks(classifier_fails, tmp_path, where) == [(12, None)] * 2
