"""Loss, gradients and weights of two processes equal those of one with the joined batches."""

import pytest
import torch
from support.moco_run import Variant, joint_run, two_views, unequal_run
from support.two_ranks import on_two_ranks


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "variant",
    ["cls", "fused_mean", "regularized", pytest.param("compiled", marks=pytest.mark.slow)],
)
def test_two_processes_equal_one(variant: Variant) -> None:
    batches = [two_views(8, seed) for seed in (1, 2)]
    results = on_two_ranks(joint_run, variant, batches)
    wanted = joint_run(variant, batches)
    assert len(wanted["figures"]) == 4
    for found in results:
        assert found["graphs"] == wanted["graphs"] == (2 if variant == "compiled" else 0)
        for mine, theirs in zip(found["figures"], wanted["figures"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-9)
        for key in ("gradients", "weights"):
            torch.testing.assert_close(found[key], wanted[key], rtol=1e-6, atol=1e-9)
    first, second = results
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_batches_of_different_sizes_stop_the_run() -> None:
    for message in on_two_ranks(unequal_run, [two_views(8, 1)]):
        assert "batches of 3, 4 images" in message
