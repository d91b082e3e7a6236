"""The precision that a device is fast in."""

from typing import Any

_CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def fast_precision(accelerator: str) -> str:
    """What Lightning calls mixed precision in bfloat16, where that is fast, or else full precision.

    Args:
        accelerator: Of the trainer; "auto" is a CUDA GPU if there is one, else the CPU.

    Returns:
        "bf16-mixed" or "32-true": the latter where products in bfloat16 would be emulated, on
        devices of other kinds, and on CPUs where an older torch does not tell the instructions.
    """
    import torch

    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        there = torch.cuda.is_available()
        fast = there and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        has = any(known.get(name) for name in _CPU_INSTRUCTIONS)
        fast = accelerator in ("auto", "cpu") and has
    return "bf16-mixed" if fast else "32-true"
