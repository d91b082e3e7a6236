import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from cast_exp.cli.check import composed
from cast_exp.config import conf_dir
from cast_exp.data import RawDataModule, SceneDataModule


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


def test_the_eleven_classes_of_camvid() -> None:
    assert len(composed(["data=camvid", "superpixel=grid"]).data.dataset.classes) == 11


@pytest.mark.parametrize("name", options("augmentation"))
def test_every_augmentation_is_configured_as_its_code_wants(name: str) -> None:
    views = instantiate(composed(["data=imagenet", f"augmentation={name}"]).data).views
    for transform in views.transforms:
        view = transform(Image.new("RGB", (40, 30)))
        assert (view.shape, view.dtype) == ((3, 224, 224), torch.uint8)
