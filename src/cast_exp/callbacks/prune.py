"""Ends trials of a search that fall behind."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from cast_exp.study import PRUNED, report


class Prune(Callback):
    """Ends a trial of `cast-exp sweep` whose curve is below the median of the others, on all ranks.

    See `cast_exp.study.report`. The run ends as if the epoch were its last; "pruned" among its
    figures says so.

    Args:
        monitor: The figure that is compared at the end of each epoch, such as "val/knn"; epochs
            before it is first logged do not count.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the figure; stop all processes if the first says so."""
        value = trainer.callback_metrics.get(self.monitor)
        whole = trainer.global_step == trainer.max_steps
        if value is None or whole or trainer.current_epoch + 1 == trainer.max_epochs:
            return
        behind = trainer.is_global_zero and report(
            Path(trainer.default_root_dir), trainer.current_epoch, float(value)
        )
        if trainer.strategy.broadcast(behind):
            trainer.should_stop = True
            pl_module.log(PRUNED, 1.0, logger=False, sync_dist=True)
