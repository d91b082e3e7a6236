from copy import deepcopy

import pytest
import torch
from support.exchanges import normed
from support.two_ranks import on_two_ranks
from torch import nn

from cast_exp.distributed import SyncBatchNorm, SyncBatchNormPlugin


@pytest.mark.parametrize(
    ("norm", "shape", "sizes"),
    [
        (nn.BatchNorm1d(5), (), (4, 4)),
        (nn.BatchNorm1d(3, affine=False), (), (1, 6)),
        (nn.BatchNorm1d(2, momentum=None), (7,), (2, 3)),
        (nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), (5, 6), (3, 2)),
        (nn.BatchNorm2d(4, track_running_stats=False), (3, 3), (2, 2)),
    ],
    ids=["rows", "one row", "sequences", "images", "untracked"],
)
def test_two_processes_equal_one(
    norm: nn.Module, shape: tuple[int, ...], sizes: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    # Far from zero, where a mean of squares less the square of the mean would lose all digits.
    batch = 300 + 3 * torch.randn(sum(sizes), norm.num_features, *shape)
    weight = torch.randn_like(batch)
    results = on_two_ranks(normed, norm, list(batch.split(sizes)), list(weight.split(sizes)))

    x = batch.double().requires_grad_()
    plain = nn.Sequential(deepcopy(norm).double())
    plain(x.detach() + 1)
    output = plain(x)
    (output * weight).sum().backward()
    gradients = [parameter.grad for parameter in plain.parameters()]
    plain.eval()

    close = {"rtol": 1e-3, "atol": 1e-3, "check_dtype": False}
    for i, found in enumerate(results):
        torch.testing.assert_close(found["output"], output.detach().split(sizes)[i], **close)
        torch.testing.assert_close(found["input gradient"], x.grad.split(sizes)[i], **close)
        torch.testing.assert_close(found["buffers"], dict(plain.state_dict()), **close)
        if norm.track_running_stats:
            evaluation = plain(x.detach()).split(sizes)[i]
            torch.testing.assert_close(found["evaluation"], evaluation, **close)
    summed = [sum(pair) for pair in zip(*(found["gradients"] for found in results), strict=True)]
    torch.testing.assert_close(summed, gradients, **close)


def test_half_precision_keeps_its_type_and_full_precision_statistics() -> None:
    batch = (100 + torch.randn(64, 2)).bfloat16()
    norm = nn.BatchNorm1d(2)
    parts = list(batch.split(32))
    first, _ = on_two_ranks(normed, norm, parts, [torch.ones_like(part) for part in parts])
    assert first["output"].dtype == torch.bfloat16
    wanted = nn.functional.batch_norm(batch.float(), None, None, training=True)[:32]
    torch.testing.assert_close(first["output"].float(), wanted, rtol=0.01, atol=0.01)


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
