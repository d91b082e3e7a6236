from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import Trainer
from support.exchanges import normed
from support.two_ranks import on_two_ranks
from torch import Tensor, nn

from cast_exp.distributed import SyncBatchNorm, SyncBatchNormPlugin

CONF = Path(__file__).parents[2] / "conf"
CLOSE = {"rtol": 1e-3, "atol": 1e-3, "check_dtype": False}


def example(norm: nn.Module, *shape: int) -> tuple[Tensor, Tensor]:
    """A batch for a norm whose parameters are drawn, and weights of its output.

    Far from zero, where a mean of squares less the square of the mean would lose all digits.
    """
    torch.manual_seed(0)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    batch = 300 + 3 * torch.randn(*shape)
    return batch, torch.randn_like(batch)


def reference(norm: nn.Module, batch: Tensor, weight: Tensor, mask: Tensor) -> dict[str, Any]:
    """What `normed` gives of torch's own layer in float64 on the entries where a mask is true."""
    plain = deepcopy(norm).double()
    x = batch.double().requires_grad_()

    def kept(tensor: Tensor) -> Tensor:  # pixels become images of one pixel
        if mask.all():
            return tensor
        return tensor.movedim(1, -1)[mask][(..., *[None] * (batch.ndim - 2))]

    plain(kept((batch + 1).double()))
    output = plain(kept(x))
    (output * kept(weight)).sum().backward()
    plain.eval()
    return {
        "output": output.detach(),
        "input gradient": x.grad,
        "gradients": [parameter.grad for parameter in plain.parameters()],
        "evaluation": plain(x.detach()),
        "buffers": dict(plain.state_dict()),
    }


@pytest.mark.parametrize(
    ("norm", "shape", "sizes", "compiled"),
    [
        (nn.BatchNorm1d(5), (), (4, 4), False),
        (nn.BatchNorm1d(3, affine=False), (), (1, 6), False),
        (nn.BatchNorm1d(2, momentum=None), (7,), (2, 3), False),
        (nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), (5, 6), (3, 2), False),
        (nn.BatchNorm2d(4), (5, 6), (3, 2), True),
        (nn.BatchNorm2d(4, track_running_stats=False), (3, 3), (2, 2), False),
    ],
    ids=["rows", "one row", "sequences", "images", "compiled", "untracked"],
)
def test_two_processes_equal_one(
    norm: nn.Module, shape: tuple[int, ...], sizes: tuple[int, int], compiled: bool
) -> None:
    batch, weight = example(norm, sum(sizes), norm.num_features, *shape)
    parts = list(batch.split(sizes)), list(weight.split(sizes))
    results = on_two_ranks(normed, norm, *parts, None, compiled)
    expected = reference(norm, batch, weight, torch.ones(sum(sizes), *shape).bool())
    for i, found in enumerate(results):
        for key in ("output", "input gradient"):
            torch.testing.assert_close(found[key], expected[key].split(sizes)[i], **CLOSE)
        torch.testing.assert_close(found["buffers"], expected["buffers"], **CLOSE)
        if norm.track_running_stats:
            evaluation = expected["evaluation"].split(sizes)[i]
            torch.testing.assert_close(found["evaluation"], evaluation, **CLOSE)
    summed = [sum(pair) for pair in zip(*(found["gradients"] for found in results), strict=True)]
    torch.testing.assert_close(summed, expected["gradients"], **CLOSE)


def test_two_processes_with_a_clamped_variance_have_the_official_formula() -> None:
    """max(var, eps) under the root, not var + eps; a clamped variance has no gradient."""
    norm = SyncBatchNorm(3, eps=0.5)
    norm.clamp = True
    batch, weight = example(norm, 8, 3)
    batch = (batch - batch.mean(0)) * torch.tensor([1.0, 0.01, 1.0])  # the second is clamped
    x = batch.double().requires_grad_()
    inverse = x.var(0, correction=0).clamp(min=0.5) ** -0.5
    output = (x - x.mean(0)) * inverse * norm.weight.double() + norm.bias.double()
    (output * weight).sum().backward()
    results = on_two_ranks(normed, norm, list(batch.split(4)), list(weight.split(4)), None, False)
    for key, expected in (("output", output.detach()), ("input gradient", x.grad)):
        found = torch.cat([result[key] for result in results])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, check_dtype=False)


@pytest.mark.parametrize(
    ("kept", "compiled"),
    [
        ([9, 3], False),
        ([7, 0], False),
        ([0, 1], False),
        pytest.param([9, 3], True, marks=pytest.mark.slow),
    ],
    ids=["both", "one rank", "one row", "compiled"],
)
def test_two_processes_with_masks_equal_one_with_the_rows_kept(
    kept: list[int], compiled: bool
) -> None:
    norm = nn.BatchNorm1d(5)
    batch, weight = example(norm, 20, 5)
    mask = torch.cat([torch.arange(10).flip(0) < count for count in kept])
    parts = [list(tensor.split(10)) for tensor in (batch, weight, mask)]
    results = on_two_ranks(normed, norm, *parts, compiled)
    output, gradient = (
        torch.cat([found[key] for found in results]) for key in ("output", "input gradient")
    )
    assert output.isfinite().all()
    assert not gradient[~mask].any()
    summed = [sum(pair) for pair in zip(*(found["gradients"] for found in results), strict=True)]
    if sum(kept) == 1:  # torch refuses this
        torch.testing.assert_close(output[mask], norm.bias[None].detach(), atol=0.02, rtol=0)
        assert all(tensor.isfinite().all() for tensor in (gradient, *summed))
        assert all(value.isfinite().all() for value in results[0]["buffers"].values())
        return
    expected = reference(norm, batch, weight, mask)
    torch.testing.assert_close(output[mask], expected["output"], **CLOSE)
    torch.testing.assert_close(gradient, expected["input gradient"], **CLOSE)
    torch.testing.assert_close(summed, expected["gradients"], **CLOSE)
    for found in results:
        torch.testing.assert_close(found["buffers"], expected["buffers"], **CLOSE)


@pytest.mark.parametrize(
    "norm",
    [SyncBatchNorm(4), SyncBatchNorm(4, momentum=None), SyncBatchNorm(4, affine=False)],
    ids=["usual", "cumulative", "not affine"],
)
@pytest.mark.parametrize("shape", [(30, 4), (6, 4, 5, 7)], ids=["rows", "images"])
def test_a_mask_selects_what_counts(norm: nn.Module, shape: tuple[int, ...]) -> None:
    norm = deepcopy(norm)  # both shapes start from it
    batch, weight = example(norm, *shape)
    mask = torch.rand(shape[0], *shape[2:]) < 0.7
    batch.movedim(1, -1)[~mask] = 1e4
    plain = (nn.BatchNorm1d if batch.ndim == 2 else nn.BatchNorm2d)(
        4, momentum=norm.momentum, affine=norm.affine
    )
    plain.load_state_dict(norm.state_dict())
    expected = reference(plain, batch, weight, mask)

    batch.requires_grad_()
    norm(batch.detach() + 1, mask)
    output = norm(batch, mask)
    output.backward(weight.where(mask.unsqueeze(1), torch.inf))
    kept = output.movedim(1, -1)[mask].detach()
    torch.testing.assert_close(kept, expected["output"].flatten(1), **CLOSE)
    torch.testing.assert_close(batch.grad, expected["input gradient"], **CLOSE)
    found = [parameter.grad for parameter in norm.parameters()]
    torch.testing.assert_close(found, expected["gradients"], **CLOSE)
    torch.testing.assert_close(dict(norm.state_dict()), expected["buffers"], **CLOSE)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type_and_full_precision_statistics(kind: torch.dtype) -> None:
    norm = nn.BatchNorm1d(2)
    batch, weight = (tensor.to(kind) for tensor in example(norm, 64, 2))
    expected = reference(norm, batch, weight, torch.ones(64).bool())
    parts = list(batch.split(32)), list(weight.split(32))
    kept = [torch.ones(32).bool()] * 2
    for results in (on_two_ranks(normed, norm, *parts), on_two_ranks(normed, norm, *parts, kept)):
        for i, found in enumerate(results):
            for key in ("output", "input gradient"):
                assert found[key].dtype == kind
                torch.testing.assert_close(
                    found[key].double(), expected[key].split(32)[i], rtol=0.02, atol=0.02
                )
            torch.testing.assert_close(found["buffers"], expected["buffers"], **CLOSE)


@pytest.mark.parametrize("shape", [(30, 4), (6, 4, 5, 7)], ids=["rows", "images"])
@pytest.mark.parametrize("masked", [False, True])
def test_one_graph_in_a_single_process(shape: tuple[int, ...], masked: bool) -> None:
    norm = SyncBatchNorm(4)
    batch, weight = example(norm, *shape)
    eager, compiled = batch.clone().requires_grad_(), batch.clone().requires_grad_()
    mask = torch.rand(shape[0], *shape[2:]) < 0.7 if masked else None
    expected = deepcopy(norm)(eager, mask)
    found = torch.compile(norm, fullgraph=True, backend="aot_eager")(compiled, mask)
    torch.testing.assert_close(found, expected)
    for output in (expected, found):
        output.backward(weight)
    torch.testing.assert_close(compiled.grad, eager.grad)


@pytest.mark.parametrize("strategy", ["ddp", "ddp_cpu"])
def test_trainers_of_several_processes_have_the_plugin(strategy: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = compose(overrides=[f"+strategy={strategy}"]).trainer
    options = instantiate(chosen, _convert_="all") | {"accelerator": "cpu", "devices": 1}
    trainer = Trainer(**options, logger=False)
    assert isinstance(trainer.strategy._layer_sync, SyncBatchNormPlugin)


def test_plugin_exchanges_and_restores() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm1d(4)))
    model[1][1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = list(model.parameters())
    plugin = SyncBatchNormPlugin()

    synchronised = plugin.apply(model)
    assert [type(norm) for norm in synchronised[1]] == [SyncBatchNorm, SyncBatchNorm]
    assert [norm.training for norm in synchronised[1]] == [True, False]
    assert all(a is b for a, b in zip(synchronised.parameters(), parameters, strict=True))
    x = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(
        synchronised[1][0](x.repeat(1, 2, 1, 1)[:, :4]),
        nn.BatchNorm2d(4)(x.repeat(1, 2, 1, 1)[:, :4]),
    )

    restored = plugin.revert(synchronised)
    assert [type(norm) for norm in restored[1]] == [nn.BatchNorm2d, nn.BatchNorm1d]
    assert restored.state_dict().keys() == before.keys()
