"""What two processes compute in tests of code that joins their batches."""

from typing import Any

import torch
from torch import Tensor, nn

from cast_exp.distributed import (
    SyncBatchNormPlugin,
    gather,
    gather_objects,
    rank,
    require_equal,
    together,
    world_size,
)
from cast_exp.errors import UserError
from cast_exp.losses import Regularizer, moco_loss
from cast_exp.models import Hierarchy, Level


def joined(parts: list[Tensor]) -> dict[str, Any]:
    """`parts[rank]` gathered, and its gradient if rows are weighted by number and rank."""
    mine = parts[rank()].requires_grad_()
    together = gather(mine)
    weights = torch.arange(1.0, 1 + together.numel()).view_as(together)
    (together * weights).sum().mul(1 + rank()).backward()
    return {"world": world_size(), "rows": together.detach(), "gradient": mine.grad}


def complaint(sizes: list[int]) -> str | None:
    try:
        require_equal(sizes[rank()], torch.device("cpu"))
    except UserError as error:
        return str(error)
    return None


def normed(
    norm: nn.Module,
    batches: list[Tensor],
    weights: list[Tensor],
    masks: list[Tensor] | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Two training steps' output, gradients and statistics of a synchronised batch norm."""
    model = SyncBatchNormPlugin().apply(norm)
    step = torch.compile(model, backend="aot_eager") if compiled else model
    mask = () if masks is None else (masks[rank()],)
    x = batches[rank()].requires_grad_()
    step(x.detach() + 1, *mask)
    output = step(x, *mask)
    (output * weights[rank()]).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.eval()
    return {
        "output": output.detach(),
        "input gradient": x.grad,
        "gradients": gradients,
        "evaluation": model(x).detach(),
        "buffers": dict(model.state_dict()),
    }


def contrast(queries: list[Tensor], keys: list[Tensor], temperature: float) -> dict[str, Any]:
    query = queries[rank()].requires_grad_()
    loss, accuracy = moco_loss(query, keys[rank()], temperature)
    loss.backward()
    return {"loss": loss.detach(), "accuracy": accuracy, "gradient": query.grad}


def segment_contrast(
    kind: type[Regularizer], tokens: list[Tensor], padding: list[Tensor]
) -> dict[str, Any]:
    segments = tokens[rank()].requires_grad_()
    views = [_grouped(view, padding[rank()]) for view in (segments, segments.flip(1) * 0.5 - 0.1)]
    loss = kind()(*views)
    loss.backward()
    return {"loss": loss.detach(), "gradient": segments.grad}


def _grouped(segments: Tensor, padding: Tensor) -> Hierarchy:
    fine = Level(segments, padding, segments @ segments.mT)
    return Hierarchy(
        segments.mean(1), torch.zeros(1, 1, 1).long(), (fine, Level(segments, padding, None))
    )


def told(where: int, error: str) -> tuple[list[Any], str, str]:
    """What all processes say, and what is raised here where one fails in a known or other way."""

    def fail() -> int:
        if rank() == where:
            raise UserError("mend it") if error == "UserError" else ValueError("no luck")
        return rank()

    said = ""
    try:
        together(fail)
    except Exception as caught:
        said = f"{type(caught).__name__}: {caught}"
    return gather_objects({"rank": rank()}), said, str(together(rank))
