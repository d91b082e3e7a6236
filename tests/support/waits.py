"""Operators that make the host wait for a GPU, found without one.

    with Waits() as waits:
        model(images).sum().backward()
    assert not waits.found

What a custom operator does inside is not seen, nor are copies between devices that no method of a
tensor asks for by name.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

# The host reads a value, or the shape of the result depends on values.
WAITING = {
    aten._local_scalar_dense,  # item, int, float, bool, if
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.unique_dim_consecutive,
}
# On the CPU these read memory without calling an operator.
READING = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.cpu}


class Waits(TorchDispatchMode):
    """Records the calls that would wait, forward and backward, as long as it is entered.

    Attributes:
        found: Names of the calls, in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._reads = _Reads(self.found)

    def __enter__(self) -> Self:
        self._reads.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._reads.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if waits(func, args, kwargs):
            self.found.append(str(func))
        return func(*args, **kwargs)


class _Reads(TorchFunctionMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in READING:
            self.found.append(f"Tensor.{func.__name__}")
        return func(*args, **(kwargs or {}))


def waits(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of an operator waits for a GPU."""
    operator = func.overloadpacket
    if operator in {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}:
        indices = args[1]
        return any(i is not None and i.dtype in {torch.bool, torch.uint8} for i in indices)
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    return operator in WAITING
