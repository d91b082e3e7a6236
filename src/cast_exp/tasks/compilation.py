"""Training steps compiled to one graph each, and how many graphs there were."""

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from shutil import which
from typing import Any, Literal, TypeVar

import torch

from cast_exp.distributed import world_size

log = logging.getLogger(__name__)

Compile = bool | Literal["auto", "inductor", "aot_eager"]
"""Whether to compile: "auto" does on CUDA, by "inductor", as True does; "aot_eager" only traces."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Compiler:
    """Compiles functions to one graph each, all shapes fixed, when they are first called.

    Of several processes each has more graphs: one for each bucket of gradients, and breaks where
    batch norms exchange their statistics.

    Args:
        compile: Whether, and by which backend of `torch.compile`.
        cuda: Whether the functions run on CUDA.

    Attributes:
        graphs: Graphs compiled so far. One for each kind of call; more mean that a shape or a
            branch depends on data.
    """

    def __init__(self, compile: Compile, cuda: bool) -> None:
        self.backend = _backend(compile, cuda)
        self.graphs = 0
        self._compiled: dict[Any, Any] = {}

    def __call__(self, function: Function) -> Function:
        """The function, compiled if that is wanted."""
        if self.backend is None:
            return function
        if function not in self._compiled:
            # Older releases refuse the operator that makes weights of interpolation on the CPU.
            torch._dynamo.config.capture_dynamic_output_shape_ops = True
            self._compiled[function] = torch.compile(
                function, fullgraph=world_size() == 1, dynamic=False, backend=self._count
            )
        compiled: Function = self._compiled[function]
        return compiled

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
    compilers = (os.environ.get("CC"), "gcc", "clang", "cc")
    if find_spec("triton") is None or not any(which(name) for name in compilers if name):
        log.warning(
            "the steps are not compiled, which makes them slower: that needs triton and a C "
            "compiler (gcc); install them, or set compile=false"
        )
        return None
    return "inductor"
