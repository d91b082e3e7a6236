"""The weights that the official release publishes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cast_exp.download.hub import download_from_hub, hub_url
from cast_exp.download.records import cache_dir

REPOSITORY = "twke/CAST"
ARCHIVE = "snapshots.zip"
"""The archive of most of its weights, as its README links it."""
SNAPSHOTS = "snapshots"
"""Folder of all weights, in the repository and in its archive."""


@dataclass(frozen=True)
class Figure:
    """A figure that the official README reports.

    Attributes:
        reported: In %, with what it is of.
        data: Data set that it is measured on: the option of `data` that a `--root` is of.
        entry: What measures it, "train" or "eval".
        experiment: By which recipe.
        metric: Its name there, of a share in 0..1.
    """

    reported: str
    data: Literal["imagenet", "voc"] = "imagenet"
    entry: Literal["train", "eval"] = "train"
    experiment: str = "in1k_linear"
    metric: str = "val/top1"

    def of_trained(self) -> "Figure":
        """The same of weights that the recipe has trained already, which are only evaluated."""
        metric = "classification/top1" if self.data == "imagenet" else "segmentation/miou"
        return replace(self, entry="eval", metric=metric)


@dataclass(frozen=True)
class Published:
    """A file of the official release.

    Attributes:
        file: Its path in the release.
        trained: On what and how.
        figure: What it is published with.
    """

    file: str
    trained: str
    figure: Figure

    @property
    def url(self) -> str:
        """Where it is; $HF_ENDPOINT names a mirror of Hugging Face."""
        return hub_url(REPOSITORY, f"{SNAPSHOTS}/{self.file}")

    @property
    def path(self) -> Path:
        """Where it is downloaded to."""
        return zoo_dir() / self.file

    def fetch(self) -> Path:
        """Download it unless it is there, and check it.

        Raises:
            UserError: See `download_from_hub`.
        """
        return download_from_hub(REPOSITORY, f"{SNAPSHOTS}/{self.file}", self.path)


def zoo_dir() -> Path:
    """Folder of the files of the release on this machine."""
    return cache_dir() / "zoo"


def fetch_archive() -> Path:
    """Download the release's archive of weights unless it is there, and check it.

    Raises:
        UserError: See `download_from_hub`.
    """
    return download_from_hub(REPOSITORY, ARCHIVE, zoo_dir() / ARCHIVE)


_IN1K = "ImageNet-1k, MoCo-v3, 100 epochs"
_PROBE = "% top-1, ImageNet-1k linear probe"
_LAST = "checkpoint_0099.pth.tar"


def _probed(model: str, top1: float) -> Published:
    file = f"moco/imagenet1k/{model}/{_LAST}"
    return Published(file, _IN1K, Figure(f"{top1} {_PROBE}"))


PUBLISHED: dict[str, Published] = {
    "vit_small_in1k_moco": _probed("vit_small", 67.9),
    "cast_small_in1k_moco": _probed("cast_small", 68.1),
    "cast_small_deep_in1k_moco": _probed("cast_small_deep", 69.1),
    "vit_base_in1k_moco": _probed("vit_base", 72.5),
    "cast_base_in1k_moco": _probed("cast_base", 72.4),
    "cast_small_coco_moco_150": Published(
        "moco/coco/cast_small/checkpoint_0149.pth.tar",
        "COCO, MoCo-v3, 150 of 400 epochs",
        Figure(
            "38.4 % mIoU, VOC segment retrieval", "voc", "eval", "voc_retrieval", "retrieval/miou"
        ),
    ),
    "cast_small_coco_moco_400": Published(
        "moco/coco/cast_small/checkpoint_0399.pth.tar",
        "COCO, MoCo-v3, 400 epochs",
        Figure("67.6 % mIoU, VOC after fine-tuning", "voc", "train", "voc_finetune", "val/miou"),
    ),
    "cast_small_in1k_deit": Published(
        "deit/imagenet1k/cast_small/best_checkpoint.pth",
        "ImageNet-1k, supervised (DeiT)",
        Figure(
            "80.4 % top-1, ImageNet-1k; after fine-tuning 43.1 % mIoU on ADE20K and 49.1 % on "
            "Pascal Context",
            "imagenet",
            "eval",
            "in1k_supervised",
            "classification/top1",
        ),
    ),
}
"""By name, as `load_pretrained` takes it."""
