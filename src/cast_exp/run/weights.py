"""Which weights an evaluation is of, in terms of its overrides."""

import inspect
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cast_exp.errors import UserError
from cast_exp.models import load_pretrained
from cast_exp.models.files import best_weights
from cast_exp.run.folder import RUN

# Of a run's overrides, those that say what it trained and how, not on what.
_OF_TRAINING = (
    *("model", "pooling", "optim", "regularizer", "task", "trainer", "strategy", "precision"),
    *("callbacks", "logger", "debug", "sweep", "hydra"),
    *("name", "seed", "checkpoint", "resume", "evaluate", "evaluate_untrained"),
)
_DATA = ("experiment", "data", "data@scenes")


def with_weights(overrides: Sequence[str]) -> list[str]:
    """The overrides of an evaluation, with the model that `checkpoint` or `run` names.

    `run=FOLDER` stands for the best checkpoint of that run and for the data it was trained on; if
    an experiment or data are chosen, for the checkpoint only.

    Raises:
        UserError: `run` is not the folder of a run with weights.
    """
    given = {text.partition("=")[0].lstrip("+~"): text.partition("=")[2] for text in overrides}
    kept: list[str] = []
    added: list[str] = []
    if (run := given.get("run")) not in (None, "null") and "checkpoint" not in given:
        folder = Path(str(run).strip("'\"")).expanduser().resolve()
        if not (folder / RUN).is_file():
            raise UserError(f"run={run} is not the folder of a run: it has no {RUN}")
        if not any(key in given for key in _DATA):
            kept = [
                text
                for text in map(str, OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
                if (key := text.partition("=")[0].lstrip("+~")) not in given
                and key.partition(".")[0] not in _OF_TRAINING
            ]
        added.append(f"checkpoint='{_escaped(best_weights(folder))}'")
    if ("checkpoint" in given or added) and "model" not in given:
        added.append("model=pretrained")
    return [*kept, *overrides, *added]


def told_by_checkpoint(config: DictConfig) -> list[str]:
    """Overrides that take from `model` what an experiment says of one to be trained.

    Weights bring it along: `load_pretrained` has no such options.
    """
    model = config.get("model") or {}
    if not str(model.get("_target_")).endswith(load_pretrained.__name__):
        return []
    options = inspect.signature(load_pretrained).parameters
    return [f"~model.{key}" for key in model if key != "_target_" and key not in options]


def _escaped(path: Path) -> str:
    return str(path).replace("'", "\\'")
