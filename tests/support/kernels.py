"""Triton kernels without a GPU: interpreted, compiled, and left out."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import Any

import pytest
import torch

Interpreted = Callable[..., Any]
"""Calls a function with arguments where Triton interprets kernels."""


@contextmanager
def interpreter() -> Iterator[Interpreted]:
    """Triton's interpreter, in a process that imports Triton anew to be in it."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(int).result()
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def compile_kernel(
    kernel: Any, pointers: Mapping[str, str], constants: Mapping[str, Any], **options: Any
) -> None:
    """Compile a kernel for an H100; the interpreter takes Python that the compiler does not.

    Args:
        kernel: What `triton.jit` made.
        pointers: Types of what pointers point to. Other arguments are numbers: `scale` float32, the
            rest int32.
        constants: Arguments known when compiling.
        options: Of the launch.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    def type_of(name: str) -> str:
        if name in constants:
            return "constexpr"
        return f"*{pointers[name]}" if name in pointers else "fp32" if name == "scale" else "i32"

    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: type_of(name) for name in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, constants)
    assert triton.compile(source, GPUTarget("cuda", 90, 32), options).asm["cubin"]


def leave_out(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[str]:
    """Zero what the kernels of a module are given; the names of those launched are collected."""
    import triton

    launched: list[str] = []

    class Launch:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            return self.launch

        def launch(self, *arguments: Any, **options: Any) -> None:
            launched.append(self.name)
            for argument in arguments:
                if isinstance(argument, torch.Tensor):
                    argument.zero_()

    for name, value in list(vars(module).items()):
        if isinstance(value, triton.runtime.JITFunction):
            monkeypatch.setattr(module, name, Launch(name))
    return launched
