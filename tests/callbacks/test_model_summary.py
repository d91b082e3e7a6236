from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import ModelTable
from cast_exp.callbacks.model_summary import summarise
from cast_exp.loggers import MetricsFile
from cast_exp.models import create_model


def by_name(task: TinyTask, side: int = 16, superpixels: int = 16) -> dict[str, tuple]:
    parts = summarise(task.eval(), side, superpixels)
    return {part.name: (part.parameters, part.trainable, part.flops) for part in parts}


def test_counts_of_a_network_counted_by_hand() -> None:
    parts = by_name(TinyTask())
    positions, dim = 4 * 4, 8
    conv = 8 * 3 * 4 * 4
    assert parts["backbone.stem"] == (conv + 8 + 16,) * 2 + (2 * conv * positions,)
    block = dim * dim
    assert parts["backbone.stages.0"] == (block + dim,) * 2 + (2 * block * 16,)
    assert parts["backbone.stages.1"] == (block + dim,) * 2 + (2 * block * 6,)
    assert parts["backbone.groupings.0"] == (6 * dim + 6,) * 2 + (2 * 6 * dim * 16,)
    pooling = 2 * dim * (6 * 16 + 2 * 6)  # the products with the assignments, outside the parts
    assert parts["backbone, rest"] == (0, 0, pooling)
    assert parts["head"] == (dim * 4 + 4,) * 2 + (None,)
    total = sum(part[2] or 0 for name, part in parts.items() if name != "total")
    weights = sum(weight.numel() for weight in TinyTask().parameters())
    assert parts["total"] == (weights, weights, total)


def test_frozen_and_shared_parameters() -> None:
    task = TinyTask()
    whole = by_name(task)["total"][0]
    task.momentum = TinyTask().backbone.requires_grad_(False)
    task.second_head = task.head
    parts = by_name(task)
    copied = sum(weight.numel() for weight in task.backbone.parameters())
    assert parts["momentum"] == (copied, 0, None)
    assert "second_head" not in parts  # all its parameters belong to the first
    assert parts["total"][:2] == (whole + copied, whole)


@pytest.mark.parametrize(("name", "macs"), [("cast_tiny", None), ("cast_small", 3.06e9)])
def test_parts_of_cast_add_up(name: str, macs: float | None) -> None:
    task = TinyTask()
    task.backbone = create_model(name)
    parts = by_name(task, side=224, superpixels=196)
    assert {"backbone.tokens.stem", "backbone.stages.3", "backbone.groupings.0"} <= set(parts)
    rows = [part for row, part in parts.items() if row != "total"]
    assert sum(row[0] for row in rows) == sum(weight.numel() for weight in task.parameters())
    assert sum(row[2] or 0 for row in rows) == parts["total"][2]
    if macs:
        assert parts["total"][2] == pytest.approx(2 * macs, rel=0.01)


def test_attention_is_counted() -> None:
    task = TinyTask()
    task.backbone = create_model("cast_small")
    parts = by_name(task, side=224, superpixels=196)
    tokens, dim = 197, 384
    linear = 12 * dim * dim * tokens  # qkv, projection and the two layers of the MLP
    attention = 2 * tokens * tokens * dim
    assert parts["backbone.stages.0"][2] == 3 * 2 * (linear + attention)


def test_the_table_is_printed_saved_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TinyTask()
    trainer = tiny_trainer(tmp_path, ModelTable(), logger=MetricsFile(tmp_path))
    trainer.fit(task, datamodule=tiny_data())
    text = (tmp_path / "model.txt").read_text()
    for expected in ("backbone.stages.1", "16x16", "16 superpixels", "1 multiply-add = 2 FLOPs"):
        assert expected in " ".join(text.split())
    assert "backbone.stages.1" in capsys.readouterr().out
    header, first, *_ = (tmp_path / "metrics.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), first.split(","), strict=True))
    assert int(logged["model/parameters"]) == sum(w.numel() for w in task.parameters())
    assert float(logged["model/gflops"]) > 0
    assert float(trainer.callback_metrics["model/gflops"]) == pytest.approx(
        float(logged["model/gflops"])
    )
    assert torch.is_grad_enabled()
