"""What kind of job a run is, and what to find it by."""

from hydra.core.hydra_config import HydraConfig

from cast_exp.run.folder import sweep_name

_BY_TASK = {
    "moco": "pretrain",
    "linear_probe": "probe",
    "segmentation": "finetune",
    "segmenter": "finetune",
}
_TAGGED = ("experiment", "model", "pooling", "debug")


def job_type(checkpoint: str | None) -> str:
    """The kind of the job that Hydra is composing.

    Args:
        checkpoint: Weights that it starts from, None for none.

    Returns:
        "pretrain", "probe", "finetune" or "eval"; "train" for a task that is not ours.
    """
    settings = HydraConfig.get()
    if settings.job.name == "eval":
        return "eval"
    task = str(settings.runtime.choices.get("task"))
    if task == "classification":
        return "pretrain" if checkpoint is None else "finetune"
    return _BY_TASK.get(task, "train")


def run_tags() -> list[str]:
    """Recipe, model and pooling of the job that Hydra is composing; whether it is of a sweep."""
    choices = HydraConfig.get().runtime.choices
    tags = [str(choices[group]) for group in _TAGGED if choices.get(group)]
    return [*tags, "sweep"] if sweep_name() else tags
