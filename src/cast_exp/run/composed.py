"""What the overrides of a command compose to, and those that follow from them."""

from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cast_exp.config import explain, key_of, listed, options, swept
from cast_exp.errors import UserError
from cast_exp.run.follow import following
from cast_exp.run.misfits import own_evaluation
from cast_exp.run.tree import EVAL, compose
from cast_exp.run.unread import for_evaluation
from cast_exp.run.weights import model_overrides, with_checkpoint


def composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of what in the overrides is not swept.

    Raises:
        UserError: They are no overrides, or compose to nothing.
    """
    try:
        several = swept(overrides)
    except HydraException as error:
        raise UserError(listed(explain(config_name, overrides, error))) from error
    return compose(config_name, [text for text in overrides if text not in several])


def with_evaluations(config_name: str, overrides: list[str]) -> tuple[DictConfig, list[str]]:
    """What the overrides compose to, and they, with the evaluations that they are about.

    Where none is named, `cast_exp.eval` takes that of what the experiment trains. Every file in the
    group is an evaluation; Hydra's lists of defaults have no word for all of them. Those that are
    asked for, by `evaluate` or by a key of theirs, and that the root config does not list, are
    added.
    """
    own = [text for text in overrides if not key_of(text).startswith("evaluation.")]
    try:
        config = composed(config_name, own)
    except UserError:
        return composed(config_name, overrides), overrides  # raises with the mistakes of all
    asked = {key_of(text).split(".")[1] for text in overrides if text not in own}
    left_open = config_name == EVAL and "evaluate" not in map(key_of, overrides)
    if left_open and not config.get("evaluate") and (name := own_evaluation(config)):
        overrides = [*overrides, f"evaluate=[{name}]"]
        asked.add(name)
    if OmegaConf.is_list(config.get("evaluate")):
        asked |= set(config.evaluate)
    known = list(config.get("evaluation") or [])
    unlisted = [name for name in options("evaluation") if name in asked and name not in known]
    if unlisted:
        overrides = [f"evaluation=[{','.join([*known, *unlisted])}]", *overrides]
    return (config if overrides == own else composed(config_name, overrides)), overrides


def completed(
    config_name: str, config: DictConfig, overrides: list[str]
) -> tuple[DictConfig, list[str]]:
    """What the overrides and those that follow from them compose to, and all of them."""
    several = {key_of(text) for text in swept(overrides)}
    several |= set(config.hydra.sweeper.get("params") or {})
    chosen = with_checkpoint(config_name, config, overrides, several)
    if chosen != overrides:
        config = composed(config_name, chosen)
    added = for_evaluation(config, chosen) if config_name == EVAL else []
    added += model_overrides(config, chosen, evaluates=config_name == EVAL)
    added += following(config, chosen, several)
    return composed(config_name, [*chosen, *added]) if added else config, [*chosen, *added]
