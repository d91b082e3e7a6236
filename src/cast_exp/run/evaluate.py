"""The evaluations that a run ends with."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch.distributed
from lightning.pytorch import Trainer

from cast_exp.data import ImageDataModule
from cast_exp.errors import UserError
from cast_exp.models import Backbone, load_pretrained
from cast_exp.run.folder import rank

log = logging.getLogger(__name__)

Evaluation = Callable[[Backbone, ImageDataModule, torch.device, Path], dict[str, float]]
"""(backbone, images, device, folder to work in) -> figures by name."""


def run_evaluations(
    evaluations: Mapping[str, Evaluation], images: ImageDataModule, trainer: Trainer, folder: Path
) -> dict[str, float]:
    """Evaluate the best backbone of a run that has ended (the last one if none was the best).

    The first process works alone, on one device. An evaluation that fails takes nothing along: it
    is logged, and the others go on.

    Args:
        evaluations: By name.
        images: What the run was trained on.
        trainer: What trained it.
        folder: Folder of the run.

    Returns:
        Figures as "<evaluation>/<name>"; empty in another process than the first.

    Raises:
        UserError: An evaluation failed, after all have had their turn and with the figures of the
            others logged.
    """
    device = trainer.strategy.root_device
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if rank() != 0 or not evaluations:
        return {}
    checkpoints = folder / "checkpoints"
    best = next(p for name in ("best", "last") if (p := checkpoints / f"{name}.ckpt").is_file())
    figures: dict[str, float] = {}
    failed = []
    for name, evaluation in evaluations.items():
        log.info("evaluation: %s of %s", name, best.name)
        try:
            found = evaluation(load_pretrained(best), images, device, folder / name)
        except Exception as error:
            log.exception("%s failed", name)
            failed.append(f"{name} ({error})")
        else:
            figures |= {f"{name}/{key}": value for key, value in found.items()}
            log.info("%s: %s", name, "  ".join(f"{k} {v:.4f}" for k, v in found.items()))
    if failed:
        raise UserError(
            f"trained, but these evaluations failed: {'; '.join(failed)}; the weights are in "
            f"{checkpoints}"
        )
    return figures
