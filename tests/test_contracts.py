"""Every choice of the config tree can be composed, built and used."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf

from cast_exp.config import conf_dir, mistakes
from cast_exp.data import ImageDataModule, SceneDataModule
from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.run.build import build
from cast_exp.run.resolvers import register_resolvers
from cast_exp.run.unread import only_asked
from cast_exp.train import train


def options(group: str) -> list[str]:
    return sorted(p.stem for p in Path(conf_dir(), group).glob("*.yaml") if p.stem[0] != "_")


def composed(tmp_path: Path, *overrides: str, config_name: str = "train") -> DictConfig:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(config_name, list(overrides), return_hydra_config=True)
    OmegaConf.set_struct(config, False)
    config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(config)
    del config["hydra"]
    return config


def small(tmp_path: Path, *overrides: str) -> DictConfig:
    heads = ("task.hidden_dim=16", "task.projection_dim=8")
    return composed(tmp_path, "data=shapes", "model=cast_tiny", *heads, *overrides)


def is_evaluation(name: str) -> bool:
    return "override /task: none" in Path(conf_dir(), "experiment", f"{name}.yaml").read_text()


@pytest.mark.parametrize(
    "name", sorted(filter(lambda x: not is_evaluation(x), options("experiment")))
)
def test_every_experiment(name: str, tmp_path: Path) -> None:
    text = Path(conf_dir(), "experiment", f"{name}.yaml").read_text()
    assert f"python -m cast_exp.train experiment={name}" in text.split("defaults:")[0]
    root = [] if name.startswith("shapes") else [f"data.root={tmp_path}"]
    config = composed(tmp_path, f"experiment={name}", *root, "checkpoint=last.ckpt")
    assert mistakes(only_asked(config), train) == []
    if config.model._target_.endswith("load_pretrained"):
        root += ["model=cast_tiny", "model.fusion=true"]  # the untrained control
    config = composed(tmp_path, f"experiment={name}", *root)
    assert mistakes(only_asked(config), train) == []
    dense = name.endswith(("finetune", "segmenter"))
    assert isinstance(build(config.data), SceneDataModule if dense else ImageDataModule)
    assert isinstance(build(config.task), LightningModule)
    for group in ("callbacks", "logger"):
        for part in config[group].values():
            if part is not None:
                build(part)


@pytest.mark.parametrize("name", sorted(filter(is_evaluation, options("experiment"))))
def test_every_evaluation(name: str, tmp_path: Path) -> None:
    text = Path(conf_dir(), "experiment", f"{name}.yaml").read_text()
    assert (
        f"python -m cast_exp.eval experiment={name} checkpoint=CKPT" in text.split("defaults:")[0]
    )
    root = [] if name.startswith("shapes") else [f"data.root={tmp_path}"]
    settings = (f"experiment={name}", *root, "checkpoint=last.ckpt")
    config = only_asked(composed(tmp_path, *settings, config_name="eval"))
    assert mistakes(config, evaluate_model) == []
    assert config.name == name
    assert config.evaluate
    for node in config.evaluation.values():
        evaluation = build(node)
        assert isinstance(evaluation.scenes, SceneDataModule)
        if root:
            with pytest.raises(UserError):  # the folder is empty
                evaluation.check()


@pytest.mark.parametrize("name", sorted({*options("model")} - {"pretrained", "pretrained_dense"}))
@torch.no_grad()
def test_every_model(name: str, tmp_path: Path) -> None:
    model = build(composed(tmp_path, "data=shapes", f"model={name}").model).eval()
    maps = torch.arange(196).view(1, 14, 14).repeat_interleave(16, 1).repeat_interleave(16, 2)
    hierarchy = model(torch.randn(1, 3, 224, 224), maps)
    assert hierarchy.cls.shape == (1, model.dim)
    counts = [level.tokens.size(1) for level in hierarchy.levels]
    if name.startswith("vit"):
        assert counts == [196]
    elif name.startswith("tome"):
        merged = 4 if name == "tome_tiny" else 16
        assert counts == [196 - merged * block for block in range(len(counts))]
    else:
        assert counts == [196, 64, 32, 16, 8]


@pytest.mark.parametrize("pooling", options("pooling"))
@pytest.mark.parametrize("superpixel", options("superpixel"))
@torch.no_grad()
def test_every_superpixel_method_with_every_pooling(
    superpixel: str, pooling: str, tmp_path: Path
) -> None:
    if superpixel == "fast_slic":
        pytest.importorskip("fast_slic", reason="needs the optional package fast-slic")
    choice = (f"superpixel={superpixel}", f"pooling={pooling}")
    config = small(tmp_path, *choice, "superpixel.count=49", "data.workers=0")
    data: ImageDataModule = build(config.data)
    loader = data.plain_dataloader("val", limit=2)
    batch = data.prepare(next(iter(loader)), "cpu")
    hierarchy = build(config.model).eval()(batch["images"], batch["superpixels"])
    assert hierarchy.depth == len(config.pooling.levels)
    for level in range(hierarchy.depth + 1):
        segments = hierarchy.segmentation(level)
        assert segments.shape == (2, 64, 64)
        if level:
            assert segments.max() < hierarchy.levels[level].tokens.size(1)
    assert torch.isfinite(hierarchy.cls).all()


@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_leaves_pooling_and_superpixels_to_be_chosen(
    name: str, tmp_path: Path
) -> None:
    chosen = composed(tmp_path, f"experiment={name}", "pooling=none", "superpixel=grid")
    assert chosen.pooling.levels == []
    assert chosen.superpixel._target_.endswith("Grid")
    assert not [line for line in mistakes(chosen, train) if line.startswith("superpixel")]


@pytest.mark.parametrize("name", options("sweep"))
def test_every_sweep_has_values_that_there_are(name: str, tmp_path: Path) -> None:
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        chosen = compose("train", [f"sweep={name}"], return_hydra_config=True)
    assert chosen.hydra.mode.name == "MULTIRUN"
    for group, values in chosen.hydra.sweeper.params.items():
        if group != "seed":
            assert set(values.split(",")) <= set(options(group))
    assert f"sweep={name}" in Path(conf_dir(), "sweep", f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", options("regularizer"))
def test_every_regularizer(name: str, tmp_path: Path) -> None:
    task = build(small(tmp_path, f"regularizer={name}").task)
    maps = torch.arange(64).view(1, 8, 8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    views = [task.backbone(torch.randn(2, 3, 64, 64), maps.repeat(2, 1, 1)) for _ in range(2)]
    for regularizer in task.regularizers.values():
        loss = regularizer(*views)
        assert loss.ndim == 0
        assert torch.isfinite(loss)


@pytest.mark.parametrize(
    "group", ["strategy", "precision", "compat", "logger", "callbacks", "debug"]
)
def test_every_other_choice_has_no_mistake(group: str, tmp_path: Path) -> None:
    for name in options(group):
        assert mistakes(only_asked(small(tmp_path, f"{group}={name}")), train) == []
