from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from support import probe_run, segmentation_run
from support.moco_run import fit, tiny_cast, tiny_task, two_views
from support.tiny_run import tiny_data
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from cast_exp.callbacks import ExceptionCheckpoint
from cast_exp.errors import UserError
from cast_exp.models.flops import FlopCount
from cast_exp.optim import WarmupCosine, no_decay_on_norm_and_bias
from cast_exp.tasks import BaseTask, MoCoTask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize(
    ("options", "steps", "per_epoch"),
    [
        ({"max_epochs": 3}, 9, 3),
        ({"max_epochs": 3, "max_steps": 4}, 4, 3),
        ({"max_epochs": 4, "accumulate_grad_batches": 2}, 8, 2),
        ({"max_epochs": 2, "limit_train_batches": 2}, 4, 2),
    ],
)
def test_learning_rate_follows_the_fraction_of_an_epoch(
    options: dict[str, Any], steps: int, per_epoch: int
) -> None:
    rates = fit(tiny_task(), [two_views(4, s) for s in range(3)], **options).rates
    schedule = WarmupCosine(1)
    epochs = options["max_epochs"]
    wanted = [0.1 * schedule.factor(step / per_epoch, epochs) for step in range(steps)]
    assert rates == pytest.approx(wanted)


def test_without_epochs_the_steps_are_the_course() -> None:
    recorder = fit(tiny_task(), [two_views(4, 0)] * 2, max_epochs=-1, max_steps=5)
    schedule = WarmupCosine(1)
    assert recorder.rates == pytest.approx([0.1 * schedule.factor(s / 2, 3) for s in range(5)])
    with pytest.raises(UserError, match="max_epochs"):
        fit(tiny_task(), [two_views(4, 0)], max_epochs=-1)


def test_gradient_norm_is_over_all_parameters_and_before_clipping() -> None:
    recorder = fit(tiny_task(), [two_views(4, 0)], gradient_clip_val=1e-3)
    squares = sum(g.square().sum() for g in recorder.gradients[0].values())
    assert recorder.figures[0]["train/grad_norm"] == pytest.approx(squares.sqrt().item(), rel=1e-4)
    assert squares > 1e-4


def test_gradient_norm_is_free_of_the_loss_scale() -> None:
    norms = []
    for scale in (1.0, 16.0):
        torch.manual_seed(0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        mixed = MixedPrecision("16-mixed", "cpu", scaler)
        recorder = fit(tiny_task(), [two_views(4, 0)], precision=None, plugins=mixed)
        norms.append(recorder.figures[0]["train/grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_parameter_groups_are_chosen_on_the_whole_task() -> None:
    task = tiny_task(parameter_groups=no_decay_on_norm_and_bias)
    fit(task, [two_views(4, 0)])
    decayed, spared = task.optimizers().param_groups
    trained = {p for p in task.parameters() if p.requires_grad}
    assert {*decayed["params"], *spared["params"]} == trained
    assert spared["weight_decay"] == 0
    assert task.predictor[0].weight in set(decayed["params"])


class Draws(MoCoTask):
    """Keeps a random number of every step."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.drawn = [*getattr(self, "drawn", []), torch.rand(()).item()]
        return super().training_step(batch, batch_idx)


def test_randomness_depends_on_seed_step_and_batch_only() -> None:
    def drawn(seed: int, **options: Any) -> list[float]:
        torch.manual_seed(int(torch.randint(1000, ())))
        task = Draws(tiny_cast(), AdamW, WarmupCosine(0), hidden_dim=8, seed=seed)
        fit(task, [two_views(4, s) for s in range(4)], **options)
        return task.drawn

    first = drawn(seed=0)
    assert len(set(first)) == 4
    assert drawn(seed=0) == first
    assert set(drawn(seed=1)).isdisjoint(first)
    assert len(set(drawn(seed=0, accumulate_grad_batches=2))) == 4


@pytest.mark.parametrize("stop", [4, 6, 9])  # of 6 steps in an epoch
def test_a_resumed_run_equals_the_straight_one(stop: int, tmp_path: Path) -> None:
    def task() -> MoCoTask:
        torch.manual_seed(3)
        return tiny_task(tiny_cast(dropout=True), optimizer=AdamW)

    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=stop, save_top_k=-1)
    straight, resumed = task(), task()
    options: dict[str, Any] = {"max_epochs": 2, "precision": "32-true"}
    recorder = fit(straight, tiny_data(), saver, **options)
    torch.manual_seed(99)
    checkpoint = tmp_path / f"step={stop}.ckpt"
    again = fit(resumed, tiny_data(), checkpoint=checkpoint, **options)
    assert again.rates == recorder.rates[stop:]
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


class StopsAfter(Callback):
    """Ends a run between two batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            raise KeyError("stop")


@pytest.mark.parametrize("stop", [4, 5, 9])  # steps are of 4 and of 2 batches
def test_a_run_that_stops_within_a_step_keeps_its_gradients(stop: int, tmp_path: Path) -> None:
    def task() -> MoCoTask:
        torch.manual_seed(3)
        return tiny_task(tiny_cast(dropout=True), optimizer=AdamW)

    options: dict[str, Any] = {"max_epochs": 2, "precision": "32-true"}
    options["accumulate_grad_batches"] = 4
    straight, resumed = task(), task()
    fit(straight, tiny_data(), **options)
    with pytest.raises(KeyError, match="stop"):
        fit(task(), tiny_data(), StopsAfter(stop), ExceptionCheckpoint(tmp_path), **options)
    checkpoint = tmp_path / "exception.ckpt"
    torch.manual_seed(99)
    fit(resumed, tiny_data(), checkpoint=checkpoint, **options)
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


def test_image_vectors_are_what_the_readout_says() -> None:
    model = tiny_cast(fusion=True).eval()
    views = two_views(4, 0)
    batch = {"images": views["images"][0], "superpixels": views["superpixels"][0]}
    hierarchy = model(batch["images"], batch["superpixels"])
    for readout, wanted in (("cls", hierarchy.cls), ("fused_mean", hierarchy.fused_mean())):
        task = BaseTask(model, AdamW, WarmupCosine(1), readout=readout)
        torch.testing.assert_close(task.features(batch), wanted)
    with pytest.raises(UserError, match=r"model\.fusion=true"):
        BaseTask(tiny_cast(), AdamW, WarmupCosine(1), readout="fused_mean")


class Operations(Callback):
    """Counts the arithmetic of the first training step, and that of one image in its backbone."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        self.mode = FlopCounterMode(display=False)
        self.math = sdpa_kernel(SDPBackend.MATH)
        self.math.__enter__()
        self.mode.__enter__()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, _: Any, batch: Any, *__: Any
    ) -> None:
        self.mode.__exit__(None, None, None)
        self.math.__exit__(None, None, None)
        views = batch["images"], batch["superpixels"]
        images, maps = views if isinstance(views[0], Tensor) else (views[0][0], views[1][0])
        model: nn.Module = pl_module.backbone.eval()
        with torch.no_grad():
            once = FlopCount(model, images, maps, last_grouping=False).total
        self.passes = self.mode.get_total_flops() / once


@pytest.mark.parametrize("task", ["moco", "probe", "segmentation"])
def test_a_step_costs_so_many_forward_passes(task: str, tmp_path: Path) -> None:
    counted, one_step = Operations(), {"limit_train_batches": 1, "limit_val_batches": 0}
    if task == "moco":
        trained: BaseTask = tiny_task()
        fit(trained, [two_views(4, 0)], counted)  # type: ignore[arg-type]
    elif task == "probe":
        trained = probe_run.probe()
        probe_run.fit(trained, tmp_path, probe_run.images(), counted, max_epochs=1, **one_step)
    else:
        trained = segmentation_run.task()
        segmentation_run.fit(trained, tmp_path, counted, max_steps=1, **one_step)
    # The first layer needs no gradient of its input, and heads count here.
    assert counted.passes == pytest.approx(trained.forward_passes, rel=0.06)
