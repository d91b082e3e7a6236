"""The precision that a device is fast in."""

import pytest
import torch

from cast_exp.run.precision import fast_precision


@pytest.mark.parametrize(
    ("accelerator", "gpu", "on_gpu", "on_cpu", "expected"),
    [
        ("auto", True, True, False, "bf16-mixed"),
        ("auto", True, False, True, "32-true"),
        ("gpu", True, True, False, "bf16-mixed"),
        ("cuda", False, False, True, "32-true"),
        ("auto", False, False, True, "bf16-mixed"),
        ("cpu", True, True, False, "32-true"),
        ("cpu", True, False, True, "bf16-mixed"),
        ("mps", False, False, True, "32-true"),
    ],
)
def test_bfloat16_is_taken_where_the_device_has_it(
    accelerator: str,
    gpu: bool,
    on_gpu: bool,
    on_cpu: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: on_gpu)
    told = {"avx2": True, "avx512_bf16": on_cpu}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert fast_precision(accelerator) == expected
