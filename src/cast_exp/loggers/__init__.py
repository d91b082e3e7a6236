"""Loggers as the config names them: a CSV file, W&B, TensorBoard."""

from cast_exp.loggers.metrics_file import MetricsFile
from cast_exp.loggers.tensorboard import tensorboard_logger
from cast_exp.loggers.wandb_run import WandbRun, end_wandb, wandb_logger

__all__ = ["MetricsFile", "WandbRun", "end_wandb", "tensorboard_logger", "wandb_logger"]
