from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from support.moco_run import fit, tiny_cast, two_views
from support.tiny_run import Blots
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW

from cast_exp.data import DeiT, ImageDataModule, Mixing
from cast_exp.distributed import SyncBatchNorm, SyncBatchNormPlugin
from cast_exp.errors import UserError
from cast_exp.optim import WarmupCosine
from cast_exp.superpixels import Grid
from cast_exp.tasks import ClassificationTask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLASSES = 7
PLAIN: dict[str, Any] = {"precision": "32-true"}


def tiny_task(**options: Any) -> ClassificationTask:
    settings: dict[str, Any] = {"classes": CLASSES, "ema_decay": 0.7} | options
    backbone = settings.pop("backbone", None) or tiny_cast()
    optimizer = settings.pop("optimizer", partial(SGD, lr=0.1))
    return ClassificationTask(backbone, optimizer, WarmupCosine(0), **settings)


def test_batch_norms_may_stay_those_of_each_process() -> None:
    for wanted in (True, False):
        task = SyncBatchNormPlugin().apply(tiny_task(sync_batch_norm=wanted))
        kinds = {type(m) for m in task.backbone.stem.modules() if isinstance(m, _BatchNorm)}
        assert kinds == {SyncBatchNorm if wanted else nn.BatchNorm2d}


def one_view(images: int, seed: int) -> dict[str, Any]:
    pair = two_views(images, seed)
    label = torch.randint(0, CLASSES, (images,), generator=torch.Generator().manual_seed(seed))
    return {
        "images": pair["images"][0],
        "superpixels": pair["superpixels"][0],
        "label": label,
        "index": pair["index"],
    }


def tiny_data(**options: Any) -> ImageDataModule:
    settings: dict[str, Any] = {"batch_size": 8, "image_size": 32, "eval_crop": 1, "workers": 0}
    return ImageDataModule(Blots, DeiT(32), Grid(16), **(settings | options))


class Weights(Callback):
    """Keeps the weights before the first step and after each."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def _keep(self, task: ClassificationTask) -> None:
        state = task.state_dict().items()
        self.kept.append({k: v.clone() for k, v in state if k.startswith(("backbone", "head"))})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._keep(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == len(self.kept):
            self._keep(pl_module)


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(mixup=0), Mixing(cutmix=0), None])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_that_of_timms_soft_targets(mixing: Mixing | None, smoothing: float) -> None:
    torch.manual_seed(0)
    task, batch = tiny_task(mixing=mixing, label_smoothing=smoothing), one_view(6, 0)
    task.configure_model()
    seen: dict[str, Tensor] = {}

    def look(module: Any, args: Any, output: Any) -> None:
        seen.update(images=args[0], superpixels=args[1], cls=output.cls)

    task.backbone.register_forward_hook(look)
    states: list[Tensor] = []
    start = task.on_train_batch_start

    def seeded(*args: Any) -> None:
        start(*args)
        states.append(torch.get_rng_state())

    task.on_train_batch_start = seeded  # type: ignore[method-assign]
    before = task.head.weight.clone(), task.head.bias.clone()
    recorder = fit(task, [batch], **PLAIN)

    timm = {"num_classes": CLASSES, "label_smoothing": smoothing}
    if mixing is None:
        reference = Mixup(prob=0, **timm)
    else:
        reference = Mixup(mixing.draws.mixup_alpha, mixing.draws.cutmix_alpha, **timm)
    torch.set_rng_state(states[0])
    np.random.seed(int(torch.randint(2**32, ())))  # noqa: NPY002
    images, targets = reference(batch["images"].clone(), batch["label"])
    torch.testing.assert_close(seen["images"], images)
    maps = batch["superpixels"]
    if mixing is not None:
        torch.set_rng_state(states[0])
        maps = mixing(batch["images"], maps)[1]
    assert torch.equal(seen["superpixels"].map, maps.map)
    logits = torch.nn.functional.linear(seen["cls"], *before)
    wanted = SoftTargetCrossEntropy()(logits, targets)
    assert recorder.figures[0]["train/loss"] == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_follows_every_step(accumulate: int) -> None:
    """Against a loop by hand over the weights that were there after each step."""
    weights, task = Weights(), tiny_task()
    batches = [one_view(4, seed) for seed in range(4)]
    options = PLAIN | {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    fit(task, batches, weights, enable_checkpointing=False, **options)
    assert len(weights.kept) == 1 + 8 // accumulate
    average = {name: value.clone() for name, value in weights.kept[0].items()}
    for step in weights.kept[1:]:
        for name, value in step.items():
            if value.is_floating_point():
                average[name] = 0.7 * average[name] + 0.3 * value
            else:
                average[name] = value
    torch.testing.assert_close(dict(task.average.module.state_dict()), average)
    moved = [not torch.equal(average[n], v) for n, v in weights.kept[-1].items() if v.ndim]
    assert sum(moved) > len(moved) / 2


def test_batch_statistics_are_averaged_too() -> None:
    task = tiny_task()
    fit(task, [one_view(4, 0)], **PLAIN)
    mine, averaged = dict(task.backbone.named_buffers()), task.average.module["backbone"]
    names = [name for name in mine if name.endswith("running_mean")]
    assert names
    for name in names:
        torch.testing.assert_close(dict(averaged.named_buffers())[name], 0.3 * mine[name])


def test_validation_scores_the_model_and_its_average_on_all_images() -> None:
    torch.manual_seed(0)
    task, data = tiny_task(classes=None, optimizer=partial(SGD, lr=1.0)), tiny_data(batch_size=10)
    recorder = fit(task, data, max_epochs=2, **PLAIN)
    assert task.head.out_features == 3
    figures = task.trainer.callback_metrics
    task.eval()
    hits: dict[str, list[bool]] = {"val/top1": [], "val/ema_top1": []}
    with torch.no_grad():
        for loaded in data.plain_dataloader("val"):
            batch = data.prepare(loaded, "cpu")
            inputs = batch["images"], batch["superpixels"]
            average = task.average.module
            logits = {
                "val/top1": task.head(task.backbone(*inputs).cls),
                "val/ema_top1": average["head"](average["backbone"](*inputs).cls),
            }
            for name, scores in logits.items():
                hits[name] += (scores.argmax(1) == batch["label"]).tolist()
    for name, found in hits.items():
        assert len(found) == 48
        assert figures[name].item() == pytest.approx(sum(found) / 48)
    assert figures["val/top5"] == 1, "there are three classes"
    assert len(recorder.rates) == 2 * 4


def test_best_and_best_five_of_the_model_and_best_of_the_average() -> None:
    """Against ranks counted by hand; the average is made to see it the other way round."""
    torch.manual_seed(0)
    task, batch = tiny_task(), one_view(16, 0)
    task.configure_model()
    task.average.module["head"].weight.neg_()
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    task.eval()
    with torch.no_grad():
        task.validation_step(batch, 0)
        scores = task.head(task.features(batch))
    for name, k, sign in (("top1", 1, 1), ("top5", 5, 1), ("ema_top1", 1, -1)):
        mine = sign * scores
        better = (mine > mine.gather(1, batch["label"][:, None])).sum(1)
        assert task.accuracy[name].compute().item() == pytest.approx((better < k).float().mean())
    assert task.accuracy["top1"].compute() != task.accuracy["ema_top1"].compute()


@pytest.mark.parametrize("stop", [4, 6, 9])  # of 6 steps in an epoch
def test_a_resumed_run_equals_the_straight_one(stop: int, tmp_path: Path) -> None:
    def task() -> ClassificationTask:
        torch.manual_seed(3)
        return tiny_task(
            backbone=tiny_cast(dropout=True), optimizer=AdamW, mixing=Mixing(), classes=None
        )

    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=stop, save_top_k=-1)
    straight, resumed = task(), task()
    fit(straight, tiny_data(repeats=3), saver, max_epochs=2, **PLAIN)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    checkpoint = tmp_path / f"step={stop}.ckpt"
    fit(resumed, tiny_data(repeats=3), checkpoint=checkpoint, max_epochs=2, **PLAIN)
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


def test_what_is_trained_and_what_decays() -> None:
    task = tiny_task(backbone=tiny_cast(positions="learned"), optimizer=AdamW)
    fit(task, [one_view(4, 0)], **PLAIN)
    decayed, spared = task.optimizers().param_groups
    trained = {n for n, p in task.named_parameters() if p.requires_grad}
    assert not any(name.startswith("average") for name in trained)
    assert not any(name.startswith("backbone.groupings.3") for name in trained)
    named = dict(task.named_parameters())
    assert {named[n] for n in trained} == {*decayed["params"], *spared["params"]}
    assert spared["weight_decay"] == 0
    assert decayed["weight_decay"] > 0
    assert named["head.weight"] in set(decayed["params"])
    for name in ("head.bias", "backbone.cls_token", "backbone.tokens.positions.grid"):
        assert named[name] in set(spared["params"]), name


def test_the_head_is_made_once() -> None:
    task = tiny_task()
    task.configure_model()
    head = task.head
    task.configure_model()
    assert task.head is head
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert not head.bias.any()


def test_a_grouping_that_nothing_trains_is_refused() -> None:
    with pytest.raises(UserError, match="train_last_grouping=true"):
        tiny_task(backbone=tiny_cast(train_last_grouping=True))
