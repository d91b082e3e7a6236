"""Builds the trainer, and the task or model, of a command for a try: that shows more mistakes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cast_exp.checkpoints.hub import PREFIX
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.trainer import build_trainer, evaluation_trainers

_OF_THE_PROCESS = {
    "deterministic": None,
    "benchmark": None,
}  # what trainers change beside themselves


def refusals(config: DictConfig, trains: bool) -> list[str]:
    """What the trainer, and the task or model, of a run say against its config, a line each.

    These are devices that do not exist, levels that a model does not have, a file that is no
    checkpoint. No data are opened. Weights that would be downloaded are left to the run.

    Args:
        config: Composed config without mistakes.
        trains: Whether the run is a training.
    """
    written: Any = OmegaConf.to_container(config.trainer, resolve=True)
    trainer = {**written, **_OF_THE_PROCESS}
    lines = []
    with _quietly():
        try:
            build_trainer(trainer, [], {}) if trains else evaluation_trainers(trainer)()
        except UserError as error:
            lines.append(str(error))
        checkpoint = str(config.model.get("checkpoint"))
        if checkpoint in PUBLISHED or checkpoint.startswith(PREFIX):
            return lines
        try:
            with torch.device("meta"):  # no memory, no random numbers
                build(config.task if trains else config.model)
        except UserError as error:
            lines.append(str(error))
        except Exception:  # a part of the user's may not know this device
            pass
    return lines


@contextmanager
def _quietly() -> Iterator[None]:
    """The run says all of it again."""
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
