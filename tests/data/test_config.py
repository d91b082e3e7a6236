import inspect

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from cast_exp.cli.check import composed
from cast_exp.config import conf_dir
from cast_exp.data import RawDataModule, SceneDataModule
from cast_exp.data.transforms import TwoViews


def options(group: str) -> list[str]:
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml") if p.stem[0] != "_")


@pytest.mark.parametrize("name", options("data"))
def test_every_data_set_is_configured_as_its_code_wants(name: str) -> None:
    classes = ["data.dataset.classes=[a,b]"] * (name == "voc_folder")
    data = instantiate(composed([f"data={name}", "superpixel=grid", *classes]).data)
    assert isinstance(data, RawDataModule)
    if isinstance(data, SceneDataModule):
        return
    views = [transform(Image.new("RGB", (40, 30))) for transform in data.views.transforms]
    assert [view.shape[-1] for view in views] == [data.image_size] * 2


def test_the_published_crops_are_those_of_the_code() -> None:
    written = OmegaConf.to_container(composed(["data=voc_aug"]).data, resolve=False)
    parameters = inspect.signature(SceneDataModule).parameters
    for name in written.keys() - {"_target_", "dataset", "superpixel", "expected_images", "seed"}:
        default = parameters[name].default
        assert written[name] == (list(default) if isinstance(default, tuple) else default), name
    camvid = composed(["data=camvid"]).data
    assert len(camvid.dataset.classes) == 11


@pytest.mark.parametrize("name", options("augmentation"))
def test_every_augmentation_is_configured_as_its_code_wants(name: str) -> None:
    views = instantiate(composed(["data=imagenet", f"augmentation={name}"]).data).views
    for transform in views.transforms:
        view = transform(Image.new("RGB", (40, 30)))
        assert (view.shape, view.dtype) == ((3, 224, 224), torch.uint8)


def test_the_published_recipe_is_that_of_the_code() -> None:
    config = composed(["data=imagenet", "augmentation=byol"])
    written = OmegaConf.to_container(config, resolve=False)["augmentation"]
    parameters = inspect.signature(TwoViews).parameters
    assert written.pop("_target_") == "cast_exp.data.TwoViews"
    assert written.pop("size") == "${data.image_size}"
    assert config.data.image_size == parameters["size"].default == 224
    assert written == {
        name: list(p.default) if isinstance(p.default, tuple) else p.default
        for name, p in parameters.items()
        if name != "size"
    }
