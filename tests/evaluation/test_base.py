"""The course of every evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.evaluations import evaluation, subject
from support.probe_run import images
from support.trainers import make_trainer

from cast_exp.evaluation import Evaluation, Subject
from cast_exp.models import create_model


def test_an_evaluation_lets_go_of_what_it_was_given(tmp_path: Path) -> None:
    judged, measuring = subject("figure_ground"), evaluation("figure_ground")
    before = set(vars(measuring))
    measuring.evaluate(make_trainer, judged, tmp_path)
    assert set(vars(measuring)) == before
    assert not list(measuring.modules())[1:]
    assert measuring.data.trainer is None


class Passes(Evaluation):
    """Notes what it meets."""

    headline = ("images",)
    passes = ("first", "second")

    def __init__(self, fails: bool = False) -> None:
        super().__init__(images())
        self.fails = fails
        self.met: list[Any] = []

    def check(self, subject: Any = None) -> None:
        """Nothing to look for."""

    def prepare(self) -> None:
        self.met.append("prepare")

    def test_dataloader(self) -> Any:
        return self.data.plain_dataloader("val", batch_size=20)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if self.fails:
            raise RuntimeError("no luck")
        assert not torch.is_grad_enabled()
        assert not self.subject.backbone.training
        self.met.append((self.going, len(batch["index"])))

    def share(self) -> int:
        return sum(count for _, count in self.met[1:])

    def compute(self, shares: Any) -> dict[str, float]:
        assert self.folder.name == "here"
        return {"images": sum(shares)}


def test_passes_follow_each_other(tmp_path: Path) -> None:
    passes = Passes()
    judged = Subject(create_model("cast_tiny").train())
    seen = passes.met
    assert passes.evaluate(make_trainer, judged, tmp_path / "here") == {"images": 96}
    counts = (20, 20, 8)
    assert seen == ["prepare", *(("first", n) for n in counts), *(("second", n) for n in counts)]


def test_one_that_fails_can_be_asked_again(tmp_path: Path) -> None:
    passes, judged = Passes(fails=True), Subject(create_model("cast_tiny"))
    before = set(vars(passes))
    with pytest.raises(RuntimeError, match="no luck"):
        passes.evaluate(make_trainer, judged, tmp_path / "here")
    assert set(vars(passes)) == before
    passes.fails, passes.met = False, []
    assert passes.evaluate(make_trainer, judged, tmp_path / "here") == {"images": 96}
