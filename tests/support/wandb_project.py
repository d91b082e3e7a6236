"""Runs of a W&B project as `cast_exp` logs them, without the runs."""

import json
from typing import Any

from support.wandb_server import WandbServer

from cast_exp.dashboard.project import TrackedRun

TABLE = {"_type": "table-file", "nrows": 1}
PICTURES = {"_type": "images/separated", "count": 1}


def tracked(number: int, pooling: str, seed: int, knn: float, **more: Any) -> TrackedRun:
    """A pretraining; what is more belongs to its config."""
    config = {
        "experiment": "shapes_moco",
        "pooling": pooling,
        "model": "cast_tiny",
        "name": "shapes",
        "seed": seed,
        "variant": f"experiment=shapes_moco pooling={pooling}",
        "settings": {"optim": {"base_lr": 0.1 * (number + 1)}, "data": {"batch_size": 8}},
    }
    summary = {
        "train/loss": 2.0,
        "val/knn": knn,
        "retrieval/miou": 0.2,
        "retrieval/miou/level2": 0.3,
        "retrieval/miou/level10": 0.4,
        "retrieval/boundary_f/level2": 0.5,
        "hierarchy/covering/8": 0.6,
        "hierarchy/kmeans/covering/8": 0.1,
        "throughput/data_wait": 0.2,
        "throughput/images_per_second": 900,
        "model/gflops": 1.5,
        "retrieval/per_class": TABLE,
        "hierarchy": PICTURES,
        "artifact/name": f"model-run{number}",
        "val/undefined": "NaN",
        "_step": 9,
    }
    return TrackedRun(f"run{number}", f"name{number}", config | more, summary)


def upload(server: WandbServer, *runs: TrackedRun) -> None:
    """Put runs into a project."""
    for run in runs:
        config = json.dumps({key: {"value": value} for key, value in run.config.items()})
        server.runs[run.id] = {
            "displayName": run.name,
            "config": config,
            "tags": [],
            "groupName": None,
            "jobType": "pretrain",
        }
        server.summaries[run.id] = dict(run.summary)


FOUR = (
    tracked(0, "graph", 0, 0.50),
    tracked(1, "graph", 1, 0.70),
    tracked(2, "kmeans", 0, 0.40),
    tracked(3, "kmeans", 1, 0.45),
)
