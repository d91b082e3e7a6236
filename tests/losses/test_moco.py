import math

import pytest
import torch
from support.exchanges import contrast
from support.two_ranks import on_two_ranks
from torch import Tensor

from cast_exp.losses import moco_loss


def slow_loss(queries: Tensor, keys: Tensor, temperature: float) -> float:
    total = 0.0
    for i, query in enumerate(queries.tolist()):
        exponentials = []
        for key in keys.tolist():
            dot = sum(a * b for a, b in zip(query, key, strict=True))
            exponentials.append(math.exp(dot / math.hypot(*query) / math.hypot(*key) / temperature))
        total -= math.log(exponentials[i] / sum(exponentials))
    return 2 * temperature * total / len(queries)


@pytest.mark.parametrize(("count", "dim"), [(1, 4), (2, 3), (7, 5), (16, 2)])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_equals_the_slow_one(count: int, dim: int, temperature: float) -> None:
    queries, keys = torch.randn(2, count, dim)
    loss, accuracy = moco_loss(queries, keys, temperature)
    assert loss.item() == pytest.approx(slow_loss(queries, keys, temperature), rel=1e-5, abs=1e-6)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], keys[None], dim=-1)
    assert accuracy.item() == pytest.approx(
        sum(int(row.argmax() == i) for i, row in enumerate(cosines)) / count
    )


def test_only_queries_get_a_gradient() -> None:
    queries, keys = torch.randn(2, 6, 4).unbind()
    queries.requires_grad_()
    keys.requires_grad_()
    loss, accuracy = moco_loss(queries, keys, 0.2)
    loss.backward()
    assert keys.grad is None
    assert queries.grad is not None
    assert not accuracy.requires_grad


def test_is_computed_in_full_precision() -> None:
    queries, keys = torch.randn(2, 8, 64)
    exact, _ = moco_loss(queries, keys, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = moco_loss(queries, keys, 0.2)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, exact)


def test_two_processes_equal_one() -> None:
    queries, keys = torch.randn(2, 10, 6)
    parts = list(queries.split(5)), list(keys.split(5))
    results = on_two_ranks(contrast, *parts, 0.2)

    queries.requires_grad_()
    loss, accuracy = moco_loss(queries, keys, 0.2)
    loss.backward()
    for name, joint in (("loss", loss), ("accuracy", accuracy)):
        torch.testing.assert_close(sum(r[name] for r in results) / 2, joint.detach())
    # Each process has the gradient of the mean over its half.
    torch.testing.assert_close(torch.cat([r["gradient"] for r in results]) / 2, queries.grad)
