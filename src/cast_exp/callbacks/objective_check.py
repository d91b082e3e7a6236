"""Ends a run that will not have its objective."""

from lightning.pytorch import Callback, LightningModule, Trainer

from cast_exp.config import nearest
from cast_exp.errors import UserError


class ObjectiveCheck(Callback):
    """Ends a run after its first epoch if its objective is none of the figures logged by then.

    Args:
        metric: Name of the objective, a figure of training.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self._checked = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for it.

        Raises:
            UserError: It is not there.
        """
        if not self._checked and self.metric not in trainer.callback_metrics:
            hint = nearest(self.metric, sorted(trainer.callback_metrics))
            raise UserError(f"objective={self.metric}: nothing in this run logs it; {hint}")
        self._checked = True
