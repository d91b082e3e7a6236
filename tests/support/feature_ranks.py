"""What processes do with features together, and what becomes of them when one cannot."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch.strategies import DDPStrategy
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import LinearProbeMonitor, linear_probe_monitor
from cast_exp.data.features import CachedFeatures, Features
from cast_exp.distributed import rank, world_size
from cast_exp.tasks import knn


def encoded(count: int, seed: int) -> Features:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=draw)
    features = torch.eye(4)[labels] + torch.randn(count, 4, generator=draw)
    return Features(features, labels, torch.arange(count))


def searched(bad: int | None = None) -> tuple[dict[str, float] | str, int]:
    """Figures, or why there are none, and the queries that this process searched for.

    Args:
        bad: A query that is no number.
    """
    queries = encoded(41, 1)
    if bad is not None:
        queries.features[bad] = torch.nan
    with patch.object(knn, "knn_hits", wraps=knn.knn_hits) as search:
        try:
            device = torch.device("cpu")
            found: Any = knn.knn_accuracy(encoded(60, 0), queries, 4, 5, 0.07, device)
        except Exception as error:
            found = str(error)
    return found, len(search.call_args.args[2])


def trainer(folder: Path, *callbacks: Any, **options: Any) -> Any:
    gloo = DDPStrategy(process_group_backend="gloo")
    return tiny_trainer(folder, *callbacks, strategy=gloo, devices=world_size(), **options)


def cannot_save(folder: Path) -> str:
    """Why features are not kept: on the first process there is a file in the way."""
    data = CachedFeatures(tiny_data(), lambda batch: batch["images"].mean((2, 3)), str)
    data.trainer = trainer(folder / str(rank()))
    data.setup("fit")
    if rank() == 0:
        (folder / "0").mkdir()
        (folder / "0" / "features").touch()
    try:
        data.features("val")
    except Exception as error:
        return str(error)
    return "kept"


def classifier_fails(folder: Path, where: int) -> tuple[int, float | None]:
    """Steps, and the figure of a run whose monitor fails on one process."""
    real = linear_probe_monitor.fit_classifier

    def fit_classifier(*args: Any) -> Any:
        if rank() == where:
            raise RuntimeError("out of memory")
        return real(*args)

    run = trainer(folder, LinearProbeMonitor(every_n_epochs=1, epochs=2), max_epochs=2)
    with patch.object(linear_probe_monitor, "fit_classifier", fit_classifier):
        run.fit(TinyTask(), datamodule=tiny_data())
    figure = run.callback_metrics.get("val/probe")
    return run.global_step, None if figure is None else figure.item()
