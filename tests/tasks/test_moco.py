from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support.moco_run import fit, tiny_cast, tiny_task, two_views
from support.tiny_run import tiny_data
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from cast_exp.errors import UserError
from cast_exp.losses import CentroidContrastive, Clustering
from cast_exp.optim import cosine_momentum
from cast_exp.tasks import MoCoTask
from cast_exp.tasks.moco import feature_spread

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def slow_term(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    logits = F.normalize(queries) @ F.normalize(keys).T / temperature
    return -2 * temperature * logits.log_softmax(1).diagonal().mean()


def slow_step(parts: dict[str, nn.Module], batch: dict[str, Any], momentum: float) -> Tensor:
    """A training step written down in the order of the paper's algorithm."""
    views = list(zip(batch["images"], batch["superpixels"], strict=True))
    q1, q2 = (parts["predictor"](parts["projector"](parts["backbone"](*v).cls)) for v in views)
    with torch.no_grad():
        for name in ("backbone", "projector"):
            followers = parts[f"momentum_{name}"].named_parameters()
            for key, follower in followers:
                leader = parts[name].get_parameter(key)
                follower.copy_(momentum * follower + (1 - momentum) * leader)
        k1, k2 = (parts["momentum_projector"](parts["momentum_backbone"](*v).cls) for v in views)
    return slow_term(q1, k2, 0.2) + slow_term(q2, k1, 0.2)


def test_steps_equal_the_slow_ones() -> None:
    torch.manual_seed(0)
    task = tiny_task(momentum=0.5)
    slow = {name: deepcopy(part).double() for name, part in task.named_children()}
    batches = [two_views(6, s) for s in range(2)]
    recorder = fit(task, batches, max_epochs=2)
    for batch in batches:
        batch["images"] = [images.double() for images in batch["images"]]

    trained = [p for part in slow.values() for p in part.parameters() if p.requires_grad]
    for step, rate in enumerate(recorder.rates):
        momentum = cosine_momentum(0.5, step / 4)
        loss = slow_step(slow, batches[step % 2], momentum)
        figures = recorder.figures[step]
        assert figures["train/loss"] == pytest.approx(loss.item(), rel=1e-6)
        assert figures["train/momentum"] == pytest.approx(momentum)
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter -= rate * gradient
    for name, part in slow.items():
        torch.testing.assert_close(
            dict(getattr(task, name).state_dict()),
            dict(part.state_dict()),
            rtol=1e-6,
            atol=1e-9,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("decays", [False, True])
def test_what_shapes_the_last_grouping_of_a_dense_model_may_decay(decays: bool) -> None:
    """By the factor of AdamW for a gradient of zero, as in the official release."""
    task = tiny_task(
        tiny_cast(fusion=True),
        readout="fused_mean",
        optimizer=partial(AdamW, lr=0.1, weight_decay=0.5),
        decay_last_grouping=decays,
    )
    last = task.backbone.groupings[-1]
    before = {name: value.clone() for name, value in last.named_parameters()}
    recorder = fit(task, [two_views(6, s) for s in range(2)], max_epochs=2)
    factor = np.prod([1 - rate * 0.5 for rate in recorder.rates]) if decays else 1.0
    assert factor < 0.95 or not decays
    shaping = {id(parameter) for parameter in last.shaping()}
    checked = 0
    for name, parameter in last.named_parameters():
        if id(parameter) in shaping:
            torch.testing.assert_close(parameter.detach(), before[name].double() * factor)
            checked += 1
    assert checked > 4


def test_momentum_encoder_has_statistics_of_its_own() -> None:
    task = tiny_task(momentum=1.0)
    before = deepcopy(task.momentum_backbone.state_dict())
    fit(task, [two_views(6, s) for s in range(2)])
    after = task.momentum_backbone.state_dict()
    for name, _ in task.momentum_backbone.named_parameters():
        assert torch.equal(after[name], before[name])
    mean = "tokens.stem.convs.0.norm.running_mean"
    assert not torch.equal(after[mean], before[mean])
    assert int(after["tokens.stem.convs.0.norm.num_batches_tracked"]) == 4


def test_momentum_encoder_moves_once_per_optimizer_step() -> None:
    class Counts(MoCoTask):
        moves = 0

        def _follow(self, momentum: float) -> None:
            self.moves += 1

    task = tiny_task()
    task.__class__ = Counts
    fit(task, [two_views(6, s) for s in range(4)], accumulate_grad_batches=2)
    assert (task.moves, task.global_step) == (2, 2)


def test_a_frozen_stem_stays_as_it_is() -> None:
    task = tiny_task(freeze_stem=True)
    stems = task.backbone.stem, task.momentum_backbone.stem
    before = [deepcopy(stem.state_dict()) for stem in stems]
    blocks = deepcopy(task.backbone.stages.state_dict())
    fit(task, [two_views(6, s) for s in range(2)], max_epochs=2)
    for stem, state in zip(stems, before, strict=True):
        torch.testing.assert_close(stem.state_dict(), state, rtol=0, atol=0, check_dtype=False)
    after = task.backbone.stages.state_dict()
    assert not torch.equal(after["0.0.mlp.fc1.weight"], blocks["0.0.mlp.fc1.weight"])
    task.eval().train()
    assert task.predictor.training
    assert not any(module.training for stem in stems for module in stem.modules())


def test_an_unfrozen_stem_is_trained() -> None:
    task = tiny_task()
    before = deepcopy(task.backbone.stem.state_dict())
    fit(task, [two_views(6, s) for s in range(2)], max_epochs=2)
    after = task.backbone.stem.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("readout", ["cls", "fused_mean"])
def test_every_trained_parameter_gets_a_gradient(readout: Any) -> None:
    task = tiny_task(tiny_cast(fusion=readout == "fused_mean"), readout=readout)
    (gradients,) = fit(task, [two_views(6, 0)]).gradients
    assert gradients.keys() == {n for n, p in task.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("regularizer", [Clustering(), CentroidContrastive()])
@pytest.mark.parametrize("fusion", [False, True])
def test_regularizers_are_added_and_train_the_last_grouping(
    regularizer: Clustering | CentroidContrastive, fusion: bool
) -> None:
    def run(**options: Any) -> tuple[dict[str, float], dict[str, Tensor], MoCoTask]:
        torch.manual_seed(0)
        task = tiny_task(tiny_cast(fusion=fusion, train_last_grouping=bool(options)), **options)
        recorder = fit(task, [two_views(6, 0)])
        return recorder.figures[0], recorder.gradients[0], task

    plain, _, _ = run()
    figures, gradients, task = run(regularizers={"extra": regularizer})
    total = plain["train/loss"] + figures["train/extra"]
    assert figures["train/loss"] == pytest.approx(total, rel=1e-4)
    assert gradients.keys() == {n for n, p in task.named_parameters() if p.requires_grad}
    shaping = {id(p) for p in task.backbone.groupings[-1].shaping()}
    named = {n for n, p in task.named_parameters() if id(p) in shaping}
    assert any(gradients[name].abs().sum() > 0 for name in named)


def test_a_last_grouping_that_no_loss_trains_is_refused() -> None:
    with pytest.raises(UserError, match="train_last_grouping=true"):
        tiny_task(tiny_cast(train_last_grouping=True))


def test_figures_of_a_step() -> None:
    (figures,) = fit(tiny_task(), [two_views(6, 0)]).figures
    assert figures.keys() == {
        f"train/{name}"
        for name in (
            "loss",
            "momentum",
            "contrast_accuracy",
            "feature_spread",
            "query_spread",
            "grad_norm",
        )
    }
    assert 0 <= figures["train/contrast_accuracy"] <= 1


def test_spread_tells_collapse() -> None:
    torch.manual_seed(0)
    assert feature_spread(torch.randn(512, 64)).item() == pytest.approx(1, abs=0.01)
    assert feature_spread(torch.randn(1, 64).expand(32, -1)).item() == pytest.approx(0, abs=1e-4)
    axis = torch.randn(512, 1) * torch.eye(64)[0]
    assert feature_spread(axis).item() == pytest.approx(1 / 8, abs=0.01)  # one of 64 directions
    assert feature_spread(7 * axis).item() == pytest.approx(feature_spread(axis).item())
    assert feature_spread(torch.randn(1, 64)).item() == 0


@pytest.mark.parametrize(("batch_size", "drop_last"), [(1, True), (47, False)])
def test_a_batch_of_one_image_is_refused(batch_size: int, drop_last: bool) -> None:
    data = tiny_data(batch_size)  # of 48 images
    data.drop_last = drop_last
    with pytest.raises(UserError, match="MoCo contrasts images of a batch"):
        tiny_task().training_data(data)
