import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from support import probe_run
from support.cli import cast_train, runs
from support.moco_run import tiny_task
from support.probe_run import LR, backbone, descended, encoded, fit, images, probe
from support.tiny_run import Blots
from support.two_ranks import on_two_ranks

from cast_exp.callbacks import KNNMonitor, ModelTable, Throughput
from cast_exp.data import TwoViews
from cast_exp.errors import UserError
from cast_exp.metrics import knn_hits
from cast_exp.run.folder import read_summary
from cast_exp.run.resume import checkpoint_to_resume
from cast_exp.run.trainer import attach
from cast_exp.tasks import LinearProbeTask


class Figures(Callback):
    """Keeps the figures of every validation."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seen.append({k: v.item() for k, v in trainer.callback_metrics.items()})


@pytest.mark.parametrize("features", ["online", "cached"])
def test_heads_go_where_the_formulas_say(features: str, tmp_path: Path) -> None:
    """Online without augmentation and cached both agree with momentum descent by hand."""
    rates = [0.3, 1.0]
    task, figures = probe(features=features, rates=rates), Figures()
    before = copy.deepcopy(task.backbone.state_dict())
    fit(task, tmp_path, images(), figures)

    vectors, labels = encoded(backbone(), images(), "train")
    asked, wanted = encoded(backbone(), images(), "val")
    for i, rate in enumerate(rates):
        weight, bias = descended(vectors, labels, LR * rate, 4, 10, i)
        head = task.heads[i]
        torch.testing.assert_close(head.weight, weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(head.bias, bias, rtol=1e-4, atol=1e-5)
        top1 = ((asked @ weight.T + bias).argmax(1) == wanted).float().mean().item()
        assert figures.seen[-1][f"val/top1_rate{rate:g}"] == pytest.approx(top1)
    last = figures.seen[-1]
    assert last["val/top1"] == last["val/top1_rate1"]
    assert last["val/top5"] == 1  # there are three classes
    assert last["val/top1_best_rate"] == max(last[f"val/top1_rate{r:g}"] for r in rates)
    course = [epoch["val/top1"] for epoch in figures.seen]
    assert [e["val/best_top1"] for e in figures.seen] == [max(course[: i + 1]) for i in range(4)]
    assert all(torch.equal(v, before[k]) for k, v in task.backbone.state_dict().items())
    assert ("val/knn" in last) == (features == "cached")


def test_the_backbone_is_never_in_training(tmp_path: Path) -> None:
    class Looks(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            assert pl_module.training
            assert not any(part.training for part in pl_module.backbone.modules())

        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            assert all(p.grad is None for p in pl_module.backbone.parameters())
            assert all(p.grad is not None for p in pl_module.heads.parameters())

    task = probe()
    before = copy.deepcopy(task.backbone.state_dict())
    trainer = fit(task, tmp_path, images(augment=True), Looks(), max_epochs=2)
    assert trainer.global_step == 10
    assert all(torch.equal(v, before[k]) for k, v in task.backbone.state_dict().items())
    assert not any(p.requires_grad for p in task.backbone.parameters())
    optimizer = trainer.optimizers[0]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in task.heads.parameters()}


def test_the_best_accuracy_is_not_the_last(tmp_path: Path) -> None:
    class Forgets(Callback):
        """Lets the classifier say a class that a third of the images has, then one of none."""

        def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            said = 0 if trainer.current_epoch == 0 else 3
            with torch.no_grad():
                pl_module.heads[0].bias[said] += 1e6

    figures = Figures()
    quiet = {"max_epochs": 2, "num_sanity_val_steps": 0}
    fit(probe(classes=4), tmp_path, images(), Forgets(), figures, **quiet)
    fell = [(epoch["val/top1"], epoch["val/best_top1"]) for epoch in figures.seen]
    assert fell == [(pytest.approx(1 / 3), pytest.approx(1 / 3)), (0, pytest.approx(1 / 3))]


def test_a_new_classifier_is_that_of_the_protocol(tmp_path: Path) -> None:
    task = probe(classes=1000)
    task.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    task.trainer.datamodule = images()
    task.configure_model()
    (head,) = task.heads
    assert head.weight.shape == (1000, 24)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert not head.bias.any()
    task.configure_model()  # Lightning does so again
    assert task.heads[0] is head


def test_cached_features_vote(tmp_path: Path) -> None:
    """Also with more neighbours than there are images."""
    for neighbours in (20, 1000):
        trainer = fit(probe(features="cached", neighbours=neighbours), tmp_path, images())
        voting, asked = (encoded(backbone(), images(), split) for split in ("train", "val"))
        expected = knn_hits(*voting, *asked, 3, neighbours)[0].item() / len(asked[1])
        assert trainer.callback_metrics["val/knn"].item() == pytest.approx(expected)


@pytest.mark.parametrize("features", ["online", "cached"])
def test_a_run_stopped_in_mid_epoch_ends_like_one_that_was_not(
    features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped, resumed = (probe(features=features) for _ in range(3))
    whole = fit(straight, tmp_path / "whole", images(augment=True), Figures())
    keep = ModelCheckpoint(tmp_path, "step{step}", every_n_train_steps=1, save_top_k=-1)
    fit(stopped, tmp_path / "part", images(augment=True), keep, max_steps=8)
    if features == "cached":  # they are there already
        monkeypatch.setattr(resumed, "_encode", lambda batch: 1 / 0)
    checkpoint = tmp_path / "stepstep=7.ckpt"
    again = fit(resumed, tmp_path / "part", images(augment=True), Figures(), checkpoint=checkpoint)
    assert again.global_step == whole.global_step == 20
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for name in ("val/top1", "val/best_top1"):
        assert again.callback_metrics[name] == whole.callback_metrics[name]


def test_features_of_other_weights_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(probe(features="cached"), tmp_path, images(), max_epochs=1)
    other = backbone()
    with torch.no_grad():
        other.cls_token += 1
    with caplog.at_level(logging.WARNING):
        trainer = fit(probe(features="cached", backbone=other), tmp_path, images(), max_epochs=1)
    assert "another backbone" in caplog.text
    expected, _ = encoded(other, images(), "train")
    torch.testing.assert_close(trainer.datamodule.features("train").features, expected)


@pytest.mark.parametrize("features", ["online", "cached"])
def test_two_processes_do_what_one_does(features: str, tmp_path: Path) -> None:
    one = probe_run.shares(tmp_path / "one", features, [1.0, 3.0])
    for two in on_two_ranks(probe_run.shares, tmp_path / "two", features, [1.0, 3.0]):
        assert (one["processes"], two["processes"]) == (1, 2)
        torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-4, atol=1e-5)
        for name, value in one["figures"].items():
            if name.startswith("val/"):
                assert two["figures"][name] == pytest.approx(value), name


def test_callbacks_cope_with_features(tmp_path: Path) -> None:
    callbacks = ModelTable(), KNNMonitor(queries=10), Throughput()
    trainer = fit(probe(features="cached"), tmp_path, images(), *callbacks, max_epochs=1)
    assert {"val/knn", "throughput/images_per_second"} <= trainer.callback_metrics.keys()
    assert "heads" in (tmp_path / "model.txt").read_text()


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [[], [0.1, 3.0], [1.0, 1.0]])
def test_rates_are_checked(rates: list[float]) -> None:
    with pytest.raises(UserError, match="1 among them"):
        probe(rates=rates)


@pytest.mark.parametrize("features", ["online", "cached"])
def test_data_must_have_classes_that_fit(
    features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="less than the 3 classes of the data"):
        fit(probe(features=features, classes=2), tmp_path, images())
    monkeypatch.setattr(Blots, "classes", ())
    with pytest.raises(UserError, match="no classes to tell apart"):
        fit(probe(features=features), tmp_path, images())


def test_a_checkpoint_of_other_classes_is_refused(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path / "checkpoints", "last")
    fit(probe(classes=1000), tmp_path, images(), keep, max_epochs=1)
    task = probe()
    attach(Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), task, images())
    with pytest.raises(UserError, match=r"heads.0.weight: \(1000, 24\) instead of \(3, 24\)"):
        checkpoint_to_resume(tmp_path, None, task)


def test_the_augmentation_must_make_the_views_of_the_task() -> None:
    with pytest.raises(UserError, match=r"LinearProbeTask trains on 1 view of .* makes 2"):
        probe().training_data(images(views=TwoViews(32)))
    with pytest.raises(UserError, match=r"MoCoTask trains on 2 views of .* makes 1"):
        tiny_task().training_data(images())


# -- the command -------------------------------------------------------------------------------

DATA = (
    "data.dataset.train=32",
    "data.dataset.val=16",
    "data.image_size=32",
    "data.batch_size=8",
    "data.workers=0",
    "superpixel.count=16",
    "callbacks.progress=null",
    "+trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
)
MODEL = (
    "pooling.levels=[8,4]",
    "model.name={_target_:cast_exp.models.Size,dim:24,depths:[1,1],heads:2}",
)
PRETRAIN = ("experiment=shapes_moco", "task.hidden_dim=32", "task.projection_dim=16")


@pytest.mark.slow
def test_pretrain_then_probe_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cast_train(*PRETRAIN, *DATA, *MODEL, "callbacks.knn=null", "callbacks.best=null") == 0
    (pretrained,) = runs()
    checkpoint = pretrained / "checkpoints" / "last.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]

    capsys.readouterr()
    assert cast_train("experiment=shapes_linear", *DATA, f"checkpoint={checkpoint}") == 0
    shown = capsys.readouterr().out
    for text in ("accuracy, top-1 and top-5", "top-1 at 0.3 x", "seconds of preparation", "kNN"):
        assert text in shown
    (run,) = runs(Path("runs/shapes_linear"))
    assert read_summary(run)["metrics"].keys() >= {"val/top1", "val/top5", "val/best_top1"}
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in best.items():
        if name.startswith("backbone."):
            assert torch.equal(value, weights[name]), name
    assert best["heads.0.weight"].shape == (10, 24)

    assert cast_train(f"resume={run}", "trainer.max_epochs=3") == 0
    changed = "experiment=shapes_linear", "task.classes=11", "resume_changes=accept"
    assert cast_train(f"resume={run}", *changed) == 2
    assert "instead of (11, 24)" in read_summary(run)["error"]


def test_a_look_at_it_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cast_train("experiment=shapes_linear", "debug=fast", *DATA) == 0


def test_the_official_head_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    choice = ("experiment=shapes_linear", "model=cast_tiny", "compat=official")
    assert cast_train(*choice, *DATA, *MODEL, "task.features=online") == 0
    (run,) = runs()
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["state_dict"]["heads.0.weight"].shape == (1000, 24)


def test_reads_what_the_readout_says(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fused_mean needs a fusion block"):
        probe(readout="fused_mean")
    assert isinstance(probe(), LinearProbeTask)
