"""Builds the trainer, data, and task or model of a command for a try: that shows more mistakes."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cast_exp.checkpoints.hub import PREFIX
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.errors import UserError
from cast_exp.run.build import build
from cast_exp.run.trainer import build_trainer, evaluation_trainers

_OF_THE_PROCESS = dict.fromkeys(("deterministic", "benchmark"))  # trainers set them for all


def refusals(config: DictConfig, trains: bool) -> list[str]:
    """What the trainer, data, and task or model of a run say against its config, a line each.

    These are devices that do not exist, superpixels that cannot be made on the device, levels that
    a model does not have, a file that is no checkpoint. No data are opened. Weights that would be
    downloaded are left to the run.

    Args:
        config: Composed config without mistakes.
        trains: Whether the run is a training.
    """
    written: Any = OmegaConf.to_container(config.trainer, resolve=True)
    trainer = {**written, **_OF_THE_PROCESS}
    attempts: list[Callable[[], Any]] = [
        lambda: build_trainer(trainer, [], {}) if trains else evaluation_trainers(trainer)()
    ]
    served = ("data",) if trains else ("data", "scenes")  # of an evaluation only what it reads
    nodes = [config[key] for key in served if config.get(key) and "_target_" in config[key]]
    attempts += [partial(build, node) for node in nodes]
    checkpoint = str(config.model.get("checkpoint"))
    if checkpoint not in PUBLISHED and not checkpoint.startswith(PREFIX):
        attempts.append(lambda: build(config.task if trains else config.model))
    lines = []
    for attempt in attempts:
        try:
            with _quietly(), torch.device("meta"):  # no memory, no random numbers
                attempt()
        except UserError as error:
            lines.append(str(error))
        except Exception:  # of a part that does not know this device, or has a fault: the run tells
            pass
    return lines


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back logs and warnings, which the run repeats."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
