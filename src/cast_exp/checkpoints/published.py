"""The weights that the official release publishes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cast_exp.download.hub import download_from_hub, hub_url
from cast_exp.download.records import cache_dir

REPOSITORY = "twke/CAST"


@dataclass(frozen=True)
class Published:
    """A file of the official release.

    Attributes:
        file: Its path in the release.
        trained: On what and how.
        reported: Figure that the official README reports, in %, with what it is of.
        entry: What measures it, "train" or "eval".
        experiment: By which recipe.
        metric: The name of the figure there, of a share in 0..1.
    """

    file: str
    trained: str
    reported: str
    entry: Literal["train", "eval"] = "train"
    experiment: str = "in1k_linear"
    metric: str = "val/top1"

    @property
    def url(self) -> str:
        """Where it is; $HF_ENDPOINT names a mirror of Hugging Face."""
        return hub_url(REPOSITORY, f"snapshots/{self.file}")

    @property
    def path(self) -> Path:
        """Where it is downloaded to."""
        return cache_dir() / "zoo" / self.file

    def fetch(self) -> Path:
        """Download it unless it is there, and check it.

        Raises:
            UserError: See `download_from_hub`.
        """
        return download_from_hub(REPOSITORY, f"snapshots/{self.file}", self.path)


_IN1K = "ImageNet-1k, MoCo-v3, 100 epochs"
_PROBE = "% top-1, ImageNet-1k linear probe"
_LAST = "checkpoint_0099.pth.tar"

PUBLISHED: dict[str, Published] = {
    "vit_small_in1k_moco": Published(f"moco/imagenet1k/vit_small/{_LAST}", _IN1K, f"67.9 {_PROBE}"),
    "cast_small_in1k_moco": Published(
        f"moco/imagenet1k/cast_small/{_LAST}", _IN1K, f"68.1 {_PROBE}"
    ),
    "cast_small_deep_in1k_moco": Published(
        f"moco/imagenet1k/cast_small_deep/{_LAST}", _IN1K, f"69.1 {_PROBE}"
    ),
    "vit_base_in1k_moco": Published(f"moco/imagenet1k/vit_base/{_LAST}", _IN1K, f"72.5 {_PROBE}"),
    "cast_base_in1k_moco": Published(f"moco/imagenet1k/cast_base/{_LAST}", _IN1K, f"72.4 {_PROBE}"),
    "cast_small_coco_moco_150": Published(
        "moco/coco/cast_small/checkpoint_0149.pth.tar",
        "COCO, MoCo-v3, 150 of 400 epochs",
        "38.4 % mIoU, VOC segment retrieval",
        "eval",
        "voc_retrieval",
        "retrieval/miou",
    ),
    "cast_small_coco_moco_400": Published(
        "moco/coco/cast_small/checkpoint_0399.pth.tar",
        "COCO, MoCo-v3, 400 epochs",
        "67.6 % mIoU, VOC after fine-tuning",
        "train",
        "voc_finetune",
        "val/miou",
    ),
    "cast_small_in1k_deit": Published(
        "deit/imagenet1k/cast_small/best_checkpoint.pth",
        "ImageNet-1k, supervised (DeiT)",
        "80.4 % top-1, ImageNet-1k; after fine-tuning 43.1 % mIoU on ADE20K and 49.1 % on Pascal "
        "Context",
        "eval",
        "in1k_supervised",
        "classification/top1",
    ),
}
"""By name, as `load_pretrained` takes it."""
