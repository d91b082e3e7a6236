import re
from dataclasses import replace
from functools import partial

import pytest
from lightning.pytorch import Trainer

from cast_exp.data import ImageDataModule, SceneDataModule
from cast_exp.data.datasets import Shapes
from cast_exp.models import Pooling, create_model
from cast_exp.optim import EpochCosine, Poly, Schedule, WarmupCosine
from cast_exp.run.notes import Counts, rate_notes
from cast_exp.run.plan import Plan
from cast_exp.superpixels import FastSlic, Grid, Seeds, Slic, SuperpixelMethod

PLAN = Plan(
    images=80,
    devices=1,
    batch_size=8,
    batch_size_per_device=8,
    effective_batch_size=8,
    lr=0.1,
    epochs=4,
    steps_per_epoch=10,
    steps=40,
)
CAST = create_model("cast_tiny", pooling=Pooling((64, 32, 16)))


def test_counts_are_those_that_an_image_really_has() -> None:
    images = ImageDataModule(partial(Shapes, train=1, size=64), None, Seeds(196), image_size=64)
    counts = Counts.of(images, "train", CAST)
    assert counts is not None
    assert (counts.asked, counts.superpixels, counts.segments) == (196, 100, [64, 32, 16])
    assert counts.rows() == {
        "superpixels of an image": "100 (196 asked for)",
        "segments": "64, 32, 16",
    }
    assert counts.notes() == ["196 superpixels are asked for, but an image of this size has 100"]


@pytest.mark.parametrize("kind", [Seeds, FastSlic, Slic, Grid])
@pytest.mark.parametrize("levels", [(32, 9), (0.4, 0.17)])
def test_they_are_those_of_the_model(
    kind: type[SuperpixelMethod], levels: tuple[int | float, ...]
) -> None:
    if kind is FastSlic and not FastSlic.is_installed():
        pytest.skip("fast-slic is not installed")
    images = ImageDataModule(
        partial(Shapes, train=2, size=64), None, kind(50), image_size=64, eval_crop=1.0, workers=0
    )
    model = create_model("cast_tiny", pooling=Pooling(levels)).eval()
    counts = Counts.of(images, "train", model)
    assert counts is not None
    batch = images.prepare(next(iter(images.plain_dataloader("train"))), "cpu")
    found = model(batch["images"], batch["superpixels"]).levels
    assert [level.tokens.size(1) for level in found] == [counts.superpixels, *counts.segments]


def test_levels_that_group_nothing_are_named() -> None:
    scenes = SceneDataModule(partial(Shapes, train=1, val=1, size=48), Grid(36), crop=32)
    counts = Counts.of(scenes, "val", CAST)
    assert counts is not None
    assert counts.segments == [36, 32, 16]
    (note,) = counts.notes()
    assert note == "levels [64, 32, 16]: of 36 superpixels, the level of 36 segments group nothing"
    fewer = Counts.of(scenes, "val", CAST, [8, 4])
    assert fewer is not None
    assert fewer.notes() == []
    crops = Counts.of(scenes, "train", CAST, [0.5, 0.25])
    assert crops is not None
    assert crops.segments == [18, 9]


def test_a_vit_has_square_patches() -> None:
    images = ImageDataModule(partial(Shapes, train=1), None, Grid(4), image_size=64)
    assert Counts.of(images, "train", create_model("vit_tiny")) is None


@pytest.mark.parametrize(
    ("schedule", "steps", "share"),
    [
        (WarmupCosine(10), 40, "40%"),  # in 4 of 10 epochs
        (WarmupCosine(4), 40, None),
        (WarmupCosine(2), 5, "25%"),
        (WarmupCosine(0), 1, None),
        (EpochCosine(), 1, None),
        (Poly(warmup_steps=100), 40, r"\d+%"),
        (Poly(warmup_steps=1), 40, None),
    ],
)
def test_a_warm_up_longer_than_the_run(schedule: Schedule, steps: int, share: str | None) -> None:
    trainer = Trainer(max_epochs=4, logger=False, enable_checkpointing=False, barebones=True)
    notes = rate_notes(schedule, replace(PLAN, steps=steps), trainer)
    assert bool(notes) == (share is not None)
    if share:
        assert f"longer than the run of {steps} steps" in notes[0]
        assert re.search(f"comes to {share} of its peak", notes[0])
