from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.tiny_run import TinyTask, tiny_data, tiny_trainer

from cast_exp.callbacks import ModelCheckpoint
from cast_exp.config import conf_dir
from cast_exp.run.resolvers import register_resolvers

CHOICES = sorted(path.stem for path in Path(conf_dir(), "callbacks").glob("*.yaml"))
INTERVALS: list[dict[str, Any]] = [
    {"every_n_epochs": 1},
    {"every_n_epochs": 50},
    {"every_n_train_steps": 1},
    {"every_n_train_steps": 1000},
]


def nodes(folder: Path, choice: str = "default") -> dict[str, dict[str, Any]]:
    """Configs of the checkpoint callbacks in a file of conf/callbacks, by name."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = [f"callbacks={choice}", f"paths.run='{folder}'", "data=shapes"]
        config = compose("train", settings)
    found = {
        name: OmegaConf.to_container(node, resolve=True)
        for name, node in config.callbacks.items()
        if node is not None and "filename" in node
    }
    assert found
    return found  # type: ignore[return-value]


def built(
    configs: Mapping[str, dict[str, Any]],
    target: type[Any] = ModelCheckpoint,
    **changes: dict[str, Any],
) -> dict[str, Any]:
    path = f"{target.__module__}.{target.__qualname__}"
    return {
        name: instantiate(config | changes.get(name, {}) | {"_target_": path})
        for name, config in configs.items()
    }


@pytest.mark.parametrize("choice", CHOICES)
def test_any_two_checkpoints_may_have_the_same_interval(choice: str, tmp_path: Path) -> None:
    configs = nodes(tmp_path, choice)
    assert {config["_target_"] for config in configs.values()} == {
        "cast_exp.callbacks.ModelCheckpoint"
    }
    for pair in combinations(configs, 2):
        for interval in INTERVALS:
            # In all that Lightning tells them apart by, and in how many are kept.
            same = {"monitor": "step", "mode": "max", "save_top_k": 2} | interval
            neither = {"every_n_epochs": None, "every_n_train_steps": None}
            callbacks = built(configs, **dict.fromkeys(pair, neither | same))
            tiny_trainer(tmp_path, *callbacks.values())
            assert len({callback.state_key for callback in callbacks.values()}) == len(configs)


def test_the_same_file_in_two_folders(tmp_path: Path) -> None:
    one, other = (ModelCheckpoint(tmp_path / name, "last") for name in "ab")
    tiny_trainer(tmp_path, one, other)
    assert one.state_key != other.state_key


class Scored(TinyTask):
    """Has a score in each epoch."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores = scores

    def on_train_epoch_end(self) -> None:
        self.log("val/knn", self.scores[self.current_epoch])


@pytest.mark.parametrize(
    ("before", "archive"),
    [
        (ModelCheckpoint, {"every_n_epochs": 1}),
        (lightning.pytorch.callbacks.ModelCheckpoint, {}),
        (lightning.pytorch.callbacks.ModelCheckpoint, {"every_n_epochs": 1}),
        # Lightning's name for its state then is its name for that of `last` before.
        (lightning.pytorch.callbacks.ModelCheckpoint, {"every_n_epochs": 1, "save_top_k": 1}),
    ],
)
def test_a_resumed_run_knows_what_it_has_saved(
    before: type[Any], archive: dict[str, Any], tmp_path: Path
) -> None:
    """Also one that was begun with Lightning's own callbacks."""
    folder = tmp_path / "checkpoints"
    configs = nodes(tmp_path)
    own = {} if before is not ModelCheckpoint else {"archive": archive}
    steps = {"recent": {"every_n_train_steps": 4}}
    first = built(configs, before, **own, **steps)
    tiny_trainer(tmp_path, *first.values(), max_epochs=2).fit(Scored(0.2, 0.9), tiny_data())
    kept = ["epoch0000.ckpt", "epoch0001.ckpt"] if own else []
    recent = ["step0000008.ckpt", "step0000012.ckpt"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.ckpt",
        *kept,
        "last.ckpt",
        *recent,
    ]
    ours = built(configs, archive=archive, **steps)
    trainer = tiny_trainer(tmp_path, *ours.values(), max_epochs=3)
    # Lightning spares the file it goes on from; a copy shows what would be removed.
    checkpoint = tmp_path / "copy.ckpt"
    checkpoint.write_bytes((folder / "last.ckpt").read_bytes())
    trainer.fit(Scored(0, 0, 0.5), tiny_data(), ckpt_path=checkpoint)
    left = sorted(path.name for path in folder.iterdir())
    now = ["epoch0002.ckpt"] if archive else []
    assert left == ["best.ckpt", *kept, *now, "last.ckpt", "step0000012.ckpt", "step0000016.ckpt"]
    assert torch.load(folder / "best.ckpt", weights_only=True)["global_step"] == 12
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 18
    assert ours["best"].best_model_score == pytest.approx(0.9)
    assert ours["best"].best_model_path == str(folder / "best.ckpt")
    assert ours["last"].best_model_path == str(folder / "last.ckpt")
