"""Training steps compiled to one graph each, and how many graphs there were."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, cast

import torch

from cast_exp.distributed import world_size
from cast_exp.ops.triton_there import triton_there

log = logging.getLogger(__name__)

Compile = bool | Literal["auto", "inductor", "aot_eager"]
"""Whether to compile: "auto" does on CUDA, by "inductor", as True does; "aot_eager" only traces."""

Method = TypeVar("Method", bound=Callable[..., Any])


class Compiler:
    """Compiles methods of a task to one graph each, all shapes fixed, when they are first called.

    Of several processes each may have more: one for each bucket of gradients.

    Args:
        compile: Whether, and by which backend of `torch.compile`.
        cuda: Whether they run on CUDA.

    Attributes:
        graphs: Graphs compiled so far. One for each kind of call; more mean that a shape or a
            branch depends on data.
    """

    def __init__(self, compile: Compile, cuda: bool) -> None:
        self.backend = _backend(compile, cuda)
        self.graphs = 0
        self._compiled: dict[str, Any] = {}

    def __call__(self, method: Method) -> Method:
        """The method of a task, compiled if that is wanted."""
        if self.backend is None:
            return method
        if not self._compiled:
            torch.compiler.reset()  # what was compiled for tasks before, and kept them alive
            # Older releases refuse the operator that makes weights of interpolation on the CPU.
            torch._dynamo.config.capture_dynamic_output_shape_ops = True
        name = method.__name__
        if name not in self._compiled:
            self._compiled[name] = torch.compile(
                getattr(type(method.__self__), name),  # type: ignore[attr-defined]
                fullgraph=world_size() == 1,
                dynamic=False,
                backend=self._count,
            )
        return cast(Method, partial(self._compiled[name], method.__self__))  # type: ignore[attr-defined]

    def release(self) -> None:
        """Let go of what is compiled, which keeps the task alive."""
        if self._compiled:
            self._compiled.clear()
            torch.compiler.reset()

    def _count(self, graph: Any, inputs: Any) -> Any:
        assert self.backend is not None
        self.graphs += 1
        log.debug("graph %d goes to %s", self.graphs, self.backend)
        return torch._dynamo.lookup_backend(self.backend)(graph, inputs)


def _backend(compile: Compile, cuda: bool) -> str | None:
    if compile != "auto":
        return compile if isinstance(compile, str) else ("inductor" if compile else None)
    if not cuda:
        return None
    if not triton_there():
        log.warning(
            "the steps are not compiled, which makes them slower: that needs triton and a C "
            "compiler (gcc); install them, or set compile=false"
        )
        return None
    return "inductor"
