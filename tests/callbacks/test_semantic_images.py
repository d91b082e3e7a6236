from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.segmentation_run import backbone, fit, scenes, task

from cast_exp.callbacks import SemanticImages

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("family", ["cast", "vit"])
def test_sheets_are_drawn_before_now_and_then_and_after(family: str, tmp_path: Path) -> None:
    callback = SemanticImages(count=2, every_n_epochs=2)
    fit(task(backbone(family)), tmp_path, callback, data=scenes(val=3), max_steps=6)
    drawn = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert drawn == ["step0000000.png", "step0000004.png", "step0000006.png"]
    first, last = (np.asarray(Image.open(tmp_path / "images" / drawn[i])) for i in (0, -1))
    assert first.shape == last.shape
    assert not np.array_equal(first, last)


def test_drawing_leaves_training_as_it_is(tmp_path: Path) -> None:
    states = []
    for callbacks in ((), (SemanticImages(1, None, every_n_steps=1),)):
        tuned = task()
        fit(tuned, tmp_path, *callbacks, max_steps=3)
        states.append(tuned.state_dict())
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_wandb_gets_masks_with_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.loggers import WandbLogger

    logged: list[tuple[Any, ...]] = []

    class Wandb(WandbLogger):
        def __init__(self) -> None:
            pass

        def log_image(self, key: str, images: list[Any], **options: Any) -> None:  # type: ignore[override]
            logged.append((key, images, options))

    callback, tuned = SemanticImages(count=2, every_n_epochs=None), task()
    trainer = fit(tuned, tmp_path, max_steps=1)
    monkeypatch.setattr(trainer, "_loggers", [Wandb()])
    callback.draw(trainer, tuned)
    (_, _, options) = next(entry for entry in logged if "masks" in entry[2])
    assert len(options["masks"]) == 2
    for masks in options["masks"]:
        for name in ("prediction", "ground_truth"):
            assert masks[name]["mask_data"].shape == (48, 48)
            assert masks[name]["class_labels"] == dict(enumerate(tuned.classes))
