"""Checkpoints of fine-tuning, loaded for prediction."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from support.segmentation_run import backbone, fit, scenes, task

from cast_exp.checkpoints import load_segmentation_model, save_pretrained
from cast_exp.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_a_checkpoint_is_loaded_for_prediction(tmp_path: Path) -> None:
    tuned, data = task(), scenes()
    kept = ModelCheckpoint(tmp_path, filename="last")
    fit(tuned, tmp_path, kept, data=data, max_steps=2)
    loaded = load_segmentation_model(tmp_path / "last.ckpt")
    assert loaded.classes == data.semantic_classes == tuned.classes
    assert not loaded.training
    scene = next(iter(data.scenes("val")))
    predicted = loaded.predict(scene.image, scene.superpixels, scene.full_superpixels)
    assert predicted.pixels.shape == scene.truth["semantic"].shape
    assert torch.equal(
        predicted.pixels,
        tuned.eval()
        .segmentation_model.predict(scene.image, scene.superpixels, scene.full_superpixels)
        .pixels,
    )


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    save_pretrained(backbone(), tmp_path / "plain")
    with pytest.raises(UserError, match=r"plain has no head for segmentation.*voc_finetune"):
        load_segmentation_model(tmp_path / "plain")
    with pytest.raises(UserError, match="no checkpoint at"):
        load_segmentation_model(tmp_path / "nothing")
