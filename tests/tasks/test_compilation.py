"""Training steps as one graph each, and what they wait for."""

import gc
import logging
import pickle
import weakref
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from support import moco_run, probe_run, segmentation_run
from support.waits import Waits
from torch.optim import SGD

from cast_exp.data import Mixing
from cast_exp.losses import CentroidContrastive, Clustering
from cast_exp.optim import WarmupCosine
from cast_exp.tasks import ClassificationTask, compilation
from cast_exp.tasks.compilation import Compiler

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Run = Callable[..., LightningModule]


class Steps(Callback):
    """Keeps the losses, and what steps wait for up to the end of the backward pass."""

    def __init__(self, watch: bool = False) -> None:
        self.losses: list[float] = []
        self.waits = Waits() if watch else None

    def on_train_batch_start(self, *args: Any) -> None:
        if self.waits:
            self.waits.__enter__()

    def on_after_backward(self, *args: Any) -> None:
        if self.waits:
            self.waits.__exit__(None, None, None)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        self.losses.append(outputs["loss"].item())


def moco(folder: Path, steps: Steps, compile: Any, **options: Any) -> LightningModule:
    torch.manual_seed(0)
    task = moco_run.tiny_task(compile=compile, **options)
    batches = [moco_run.two_views(4, seed) for seed in range(2)]
    moco_run.fit(task, batches, steps, max_epochs=3, enable_checkpointing=False)
    return task


def regularized(folder: Path, steps: Steps, compile: Any) -> LightningModule:
    losses = {"clustering": Clustering(), "centroids": CentroidContrastive()}
    return moco(folder, steps, compile, regularizers=losses)


def classification(folder: Path, steps: Steps, compile: Any) -> LightningModule:
    torch.manual_seed(0)
    rate = partial(SGD, lr=0.1)
    task = ClassificationTask(
        moco_run.tiny_cast(), rate, WarmupCosine(0), mixing=Mixing(), classes=3, compile=compile
    )
    batch = moco_run.two_views(4, 0)
    batch |= {"images": batch["images"][0], "superpixels": batch["superpixels"][0]}
    options = {"max_epochs": 4, "enable_checkpointing": False, "precision": "32-true"}
    moco_run.fit(task, [batch] * 2, steps, **options)  # type: ignore[arg-type]
    return task


def segmentation(folder: Path, steps: Steps, compile: Any) -> LightningModule:
    task = segmentation_run.task(compile=compile)
    segmentation_run.fit(task, folder, steps, max_epochs=3, max_steps=-1)
    return task


def probe(folder: Path, steps: Steps, compile: Any) -> LightningModule:
    task = probe_run.probe(compile=compile)
    probe_run.fit(task, folder, probe_run.images(drop_last=True), steps, max_epochs=3)
    return task


@pytest.mark.parametrize(
    ("run", "graphs"),
    [
        pytest.param(moco, 2, marks=pytest.mark.slow),  # with and without gradients
        pytest.param(regularized, 2, marks=pytest.mark.slow),
        (classification, 2),  # cutmix makes room for more superpixels
        pytest.param(segmentation, 1, marks=pytest.mark.slow),
        pytest.param(probe, 1, marks=pytest.mark.slow),
    ],
)
def test_steps_are_compiled_once_and_compute_the_same(
    run: Run, graphs: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, compiled = Steps(), Steps()
    assert run(tmp_path, plain, False).compiled.graphs == 0
    task = run(tmp_path, compiled, "aot_eager")
    assert task.compiled.graphs == graphs
    torch.testing.assert_close(compiled.losses, plain.losses, rtol=1e-4, atol=1e-5)
    assert "compiled anew" not in caplog.text
    assert not any("_orig_mod" in name for name in task.state_dict())


@pytest.mark.parametrize("run", [moco, regularized, classification, segmentation, probe])
def test_a_step_waits_for_nothing(run: Run, tmp_path: Path) -> None:
    steps = Steps(watch=True)
    run(tmp_path, steps, False)
    assert steps.waits
    seeds = run is classification  # timm's generators get theirs from that of the CPU
    assert steps.waits.found == ["aten._local_scalar_dense.default"] * len(steps.losses) * seeds


def test_it_tells_of_a_graph_too_many(caplog: pytest.LogCaptureFixture) -> None:
    task = moco_run.tiny_task()
    moco_run.fit(task, [moco_run.two_views(4, 0)])
    task.compiled.graphs += 1
    with caplog.at_level(logging.WARNING):
        task.on_train_epoch_end()
        assert "(graph 1)" in caplog.text
        caplog.clear()
        task.on_train_epoch_end()
    assert not caplog.text


@pytest.mark.slow
def test_a_compiled_task_can_be_copied_and_goes_when_it_is_done(tmp_path: Path) -> None:
    task = moco(tmp_path, Steps(), "aot_eager")
    again = pickle.loads(pickle.dumps(deepcopy(task)))
    assert again.compiled is not task.compiled
    assert again.compiled.graphs == 0
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None


def test_what_is_compiled(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    assert Compiler("auto", cuda=False).backend is None
    assert Compiler(False, cuda=True).backend is None
    assert Compiler(True, cuda=False).backend == "inductor"
    assert Compiler("aot_eager", cuda=False).backend == "aot_eager"
    monkeypatch.setattr(compilation, "triton_there", lambda: True)
    assert Compiler("auto", cuda=True).backend == "inductor"
    monkeypatch.setattr(compilation, "triton_there", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert Compiler("auto", cuda=True).backend is None
    assert "needs triton and a C compiler" in caplog.text
    function = Compiler("auto", cuda=False)(len)
    assert function is len
