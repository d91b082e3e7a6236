"""What shows only when it is built is told before there is a folder, for all jobs."""

import logging
from pathlib import Path

import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.preflight import checked_command
from cast_exp.train import train

QUICK = ["experiment=shapes_moco", "debug=fast"]


@pytest.mark.parametrize(
    ("command", "complaints"),
    [
        (
            [*QUICK, "pooling.levels=[8,16]", "trainer.devices=100"],
            [
                "[8, 16]: every level must have fewer",
                "trainer.devices=100: strategy=single has one",
            ],
        ),
        (["-m", *QUICK, "pooling.levels=[8,4],[0]"], ["0 is neither", "(with pooling.levels=[0])"]),
        (
            [*QUICK, "trainer.accelerator=nonsense"],
            ["trainer: You selected an invalid accelerator"],
        ),
        (
            ["-m", *QUICK, "data.augment_on=device", "superpixel=grid,seeds"],
            ["Seeds superpixels run on the CPU only", "(with superpixel=seeds)"],
        ),
        ([*QUICK, "model.fusion=false"], ["task.readout=fused_mean needs a fusion block"]),
    ],
)
def test_before_a_training(command: list[str], complaints: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        checked_command(command, "train", train)
    assert all(complaint in str(caught.value) for complaint in complaints)


def test_before_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "no.ckpt").write_text("nothing")
    command = ["experiment=in1k_linear", "evaluate=[knn]", f"data.root={tmp_path}"]
    command += [f"checkpoint={tmp_path / 'no.ckpt'}", "data.superpixels_on=device"]
    with pytest.raises(UserError) as caught:
        checked_command(command, "eval", evaluate_model)
    assert "no.ckpt cannot be read as a checkpoint" in str(caught.value)
    assert "Seeds superpixels run on the CPU only" in str(caught.value)


def test_a_rehearsal_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    checked_command([*QUICK, "trainer.deterministic=true"], "train", train)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.are_deterministic_algorithms_enabled() == before[1]
    assert logging.root.manager.disable == logging.NOTSET
    assert capfd.readouterr() == ("", "")
