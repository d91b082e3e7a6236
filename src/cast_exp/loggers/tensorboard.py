"""Curves and pictures for TensorBoard."""

from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger

from cast_exp.extras import need_extra


def tensorboard_logger(save_dir: Path) -> TensorBoardLogger:
    """TensorBoard files in `<save_dir>/tensorboard`.

    Raises:
        UserError: tensorboard is not installed.
    """
    need_extra("tensorboard", "logger=tensorboard", "tensorboard", instead="use logger=csv")
    return TensorBoardLogger(save_dir, name="tensorboard", version="", default_hp_metric=False)
