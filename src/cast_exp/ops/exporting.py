"""Whether `torch.export` is looking."""

import torch


def exporting() -> bool:
    """Whether `torch.export.export(..., strict=False)` traces what is computed.

    Its graph is to hold standard operators only, so that nothing of ours is needed to run it.
    `torch.compile` takes our operators as they are.
    """
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
