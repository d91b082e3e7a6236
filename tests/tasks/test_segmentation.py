from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from support.segmentation_run import backbone, fit, scenes, task
from torchmetrics.classification import MulticlassJaccardIndex

from cast_exp.data import ImageDataModule
from cast_exp.errors import UserError
from cast_exp.metrics import BoundaryF
from cast_exp.models import MaskTransformer, SegmentationModel, create_model
from cast_exp.models.heads import SegmentationHead
from cast_exp.optim import Poly, decay_all, finetuning_groups
from cast_exp.tasks import SegmentationTask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []
        self.rates: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.values.append(trainer.callback_metrics["train/loss"].item())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])


def test_groups_are_those_of_the_official_recipe() -> None:
    """By name: what each parameter of a CAST and its head is given."""
    tuned = task(create_model("cast_tiny", fusion=True, positions="learned"))
    tuned.head = SegmentationHead(96, 5)
    groups = finetuning_groups(tuned)
    given = {
        id(parameter): (group["lr_scale"], group.get("weight_decay", "the optimizer's"))
        for group in groups
        for parameter in group["params"]
    }
    assert sum(len(group["params"]) for group in groups) == len(given)
    for name, parameter in tuned.named_parameters():
        head = 10 if name.startswith("head") else 1
        if name.rpartition(".")[2] in ("cls_token", "grid", "cls"):
            assert not parameter.requires_grad
            assert id(parameter) not in given
        elif not parameter.requires_grad:  # shapes a grouping that no score depends on
            assert name.startswith("backbone.groupings.3")
            assert id(parameter) not in given
        elif name.endswith("bias"):
            assert given[id(parameter)] == (2 * head, 0), name
        else:
            assert name.endswith("weight")
            assert given[id(parameter)] == (head, "the optimizer's"), name


@pytest.mark.parametrize("train_codes", [False, True])
def test_all_of_a_mask_transformer_is_trained(train_codes: bool) -> None:
    """Its tokens and matrices too; codes of the backbone if they are asked for."""
    model = create_model("cast_tiny", fusion=True, positions="learned")
    tuned = task(model, train_codes=train_codes)
    tuned.head = MaskTransformer(96, 5)
    for groups in (finetuning_groups(tuned), decay_all(tuned)):
        given = {id(parameter) for group in groups for parameter in group["params"]}
        assert given == {id(p) for p in tuned.parameters() if p.requires_grad}
        assert {id(p) for p in tuned.head.parameters()} <= given
        for code in (model.cls_token, model.tokens.positions.grid, model.tokens.positions.cls):
            assert (id(code) in given) == train_codes


def test_rates_follow_the_steps(tmp_path: Path) -> None:
    losses, schedule = Losses(), Poly(0.9, 2, 0.1)
    fit(task(schedule=schedule), tmp_path, losses, max_steps=5, limit_val_batches=0)
    peaks = [0.03 * multiple for multiple in (1, 2, 10, 20)]
    wanted = [[peak * schedule.factor(step, 5) for peak in peaks] for step in range(5)]
    assert losses.rates == [pytest.approx(rates) for rates in wanted]


def test_rates_fill_the_epochs_if_there_are_any(tmp_path: Path) -> None:
    losses, schedule = Losses(), Poly()
    fit(task(), tmp_path, losses, max_epochs=2, max_steps=3, limit_val_batches=0)
    assert [rate[0] for rate in losses.rates] == [
        pytest.approx(0.03 * schedule.factor(step, 4)) for step in range(3)
    ]


@pytest.mark.parametrize("decoder", [SegmentationHead, MaskTransformer])
def test_it_learns_to_tell_creatures_from_their_ground(decoder: Any, tmp_path: Path) -> None:
    losses = Losses()
    data = scenes(train=16, classes=1, batch_size=8, crop_scale=(0.7, 0.7))
    fit(task(decoder=decoder), tmp_path, losses, data=data, max_steps=30, limit_val_batches=0)
    assert np.mean(losses.values[-4:]) < 0.6 * np.mean(losses.values[:2])


@pytest.mark.parametrize("family", ["cast", "vit"])
@pytest.mark.parametrize("fit_to", ["long_side", "square"])
def test_validation_is_that_of_painted_pixels(family: str, fit_to: Any, tmp_path: Path) -> None:
    """Against maps of every pixel, and torchmetrics."""
    tuned, data = task(backbone(family)), scenes(val=4, fit=fit_to)
    figures = fit(tuned, tmp_path, data=data, max_epochs=2).callback_metrics
    count = len(tuned.classes)
    jaccard = MulticlassJaccardIndex(count, average="none", ignore_index=255)
    boundary, right, pixels = BoundaryF(count), 0, 0
    occurring = torch.zeros(count, dtype=torch.bool)
    segmenter = SegmentationModel(tuned.backbone, tuned.head).eval()
    for scene in data.scenes("val"):
        with torch.no_grad():
            found = segmenter(scene.image, scene.superpixels)
        at_network = found.hierarchy.superpixels[0]
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        if family == "cast":
            places = scene.full_superpixels
        else:
            rows, columns = (
                ((torch.arange(new) + 0.5) * old / new).long()
                for new, old in zip(truth.shape, at_network.shape, strict=True)
            )
            places = at_network[rows[:, None], columns]
        predicted = found.logits[0][places].argmax(-1)
        jaccard.update(predicted[None], truth[None])
        boundary.update(predicted, truth)
        occurring[predicted.flatten()] = True
        occurring[truth[truth < count]] = True
        right += int((predicted == truth).sum())
        pixels += int((truth < count).sum())
    assert figures["val/miou"].item() == pytest.approx(jaccard.compute()[occurring].mean().item())
    assert figures["val/pixel_accuracy"].item() == pytest.approx(right / pixels)
    assert figures["val/boundary_f"].item() == pytest.approx(
        boundary.compute()["boundary_f"].item()
    )
    assert figures["val/ceiling"] >= figures["val/miou"]


def test_ceilings_are_those_of_painted_majorities(tmp_path: Path) -> None:
    tuned, data = task(), scenes(val=3)
    figures = fit(tuned, tmp_path, data=data, max_epochs=2).callback_metrics
    tuned.backbone.eval()
    for level, name in enumerate(["ceiling", "ceiling_level1", "ceiling_level2"]):
        inter, union = np.zeros(4), np.zeros(4)
        for scene in data.scenes("val"):
            with torch.no_grad():
                hierarchy = tuned.backbone(scene.image, scene.superpixels)
            segments = scene.paint(hierarchy.labels(level)[0]).numpy()
            truth = np.asarray(scene.truth["semantic"])
            best = np.full_like(truth, 255)
            for segment in np.unique(segments):
                inside = (segments == segment) & (truth < 4)
                if inside.any():
                    best[segments == segment] = np.bincount(truth[inside]).argmax()
            for kind in range(4):
                counted = truth < 4
                inter[kind] += ((best == kind) & (truth == kind)).sum()
                union[kind] += (((best == kind) | (truth == kind)) & counted).sum()
        seen = union > 0
        assert figures[f"val/{name}"].item() == pytest.approx((inter[seen] / union[seen]).mean())


def test_a_resumed_run_ends_like_one_that_was_not_stopped(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path / "a", filename="{step}", every_n_train_steps=3, save_top_k=-1)
    straight = task()
    fit(straight, tmp_path, kept, max_steps=5, limit_val_batches=0)
    resumed = task()
    checkpoint = tmp_path / "a" / "step=3.ckpt"
    fit(resumed, tmp_path, checkpoint=checkpoint, max_steps=5, limit_val_batches=0)
    torch.testing.assert_close(straight.state_dict(), resumed.state_dict(), rtol=1e-6, atol=1e-6)


def test_from_scratch_forgets_the_weights_only() -> None:
    given = backbone()
    control = task(given, from_scratch=True).backbone
    assert control.config == given.config
    for name, value in control.named_parameters():
        if value.ndim > 1 and value.requires_grad:
            assert not torch.equal(value, dict(given.named_parameters())[name]), name


def test_without_a_fusion_block_it_says_so() -> None:
    with pytest.raises(UserError, match=r"no fusion block.*model\.fusion=true"):
        task(backbone(fusion=False))
    with pytest.raises(UserError, match=r"no fusion block.*model\.fusion=true"):
        task(backbone("vit", fusion=False))


def test_data_without_classes_on_pixels_is_refused() -> None:
    from support.probe_run import images

    data: ImageDataModule = images()
    with pytest.raises(UserError, match="SegmentationTask trains on scenes"):
        task().training_data(data)


def test_training_mode_is_that_of_everything() -> None:
    tuned: SegmentationTask = task(backbone().eval())
    assert all(module.training for module in tuned.modules())


@pytest.mark.parametrize("fails", [False, True])
def test_cudnn_tries_convolutions_again_after_a_validation(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    seen = []
    predict = SegmentationModel.predict

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.backends.cudnn.benchmark)
        if fails:
            raise ZeroDivisionError
        return predict(*arguments, **options)

    monkeypatch.setattr(SegmentationModel, "predict", watched)
    try:
        fit(task(), tmp_path, max_steps=1, val_check_interval=1, benchmark=True)
    except ZeroDivisionError:
        assert fails
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.benchmark
