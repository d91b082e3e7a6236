"""A model as a function of tensors, which is what is exported."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cast_exp
from cast_exp.checkpoints import (
    Weights,
    load_classifier,
    load_pretrained,
    load_segmentation_head,
)
from cast_exp.checkpoints.load import locate
from cast_exp.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from cast_exp.errors import UserError
from cast_exp.models import Backbone
from cast_exp.models.heads import Decoder
from cast_exp.models.pooling import check_levels
from cast_exp.models.registry import SIZES
from cast_exp.ops import Superpixels
from cast_exp.superpixels.base import SuperpixelMethod
from cast_exp.tasks.base import Readout, read_out


class Exported(nn.Module):
    """A backbone, recogniser or segmenter for images of one size and one number of superpixels.

    Args:
        backbone: The backbone.
        size: Height and width of the images, in pixels.
        count: Number of superpixels.
        levels: Segments of each level instead of the model's; None for its own.
        head: Scores classes of images, or of superpixels; None for a backbone alone.
        readout: What a head for images reads.
        classes: Names of the classes, as far as they are known.

    Raises:
        UserError: Levels that the model cannot have, or too many superpixels or too few.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        count: int,
        levels: Sequence[int | float] | None = None,
        head: nn.Linear | Decoder | None = None,
        readout: Readout = "cls",
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        assert backbone.config is not None
        wanted = backbone.config.levels
        if levels is not None:
            wanted = check_levels(levels, f"--levels {','.join(map(str, levels))}")
        if len(wanted) > len(backbone.config.levels):
            raise UserError(
                f"{len(wanted)} levels were asked for, but the model has "
                f"{len(backbone.config.levels)} groupings; give at most that many"
            )
        if count > size[0] * size[1]:
            raise UserError(
                f"{count} superpixels do not fit into {size[0]} x {size[1]} pixels; set "
                "--superpixels lower or --size higher"
            )
        if wanted and wanted[0] > count:
            raise UserError(
                f"{count} superpixels cannot make {wanted[0]} segments; set --superpixels higher "
                "or --levels lower"
            )
        self.backbone = backbone
        self.size = size
        self.count = count
        self.levels = levels
        self.head = head
        self.readout: Readout = readout
        self.classes = list(classes)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])
        self.eval()

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        weights: Weights = "trained",
        size: tuple[int, int] | None = None,
        count: int | None = None,
        levels: Sequence[int | float] | None = None,
        method: SuperpixelMethod | None = None,
    ) -> "Exported":
        """Load all of the model that a checkpoint has: the backbone, and its head if there is one.

        Args:
            checkpoint: See `load_pretrained`, also for `weights`.
            weights: Whether to take the moving average.
            size: See `Exported`; None for the size that position codes are stored at.
            count: See `Exported`; None for what `method` makes at the size or, without one, a
                superpixel for 16 x 16 pixels.
            levels: See `Exported`.
            method: Makes the superpixels.

        Raises:
            UserError: See `load_pretrained` and `Exported`.
        """
        path = locate(checkpoint)
        backbone = load_pretrained(path, weights=weights)
        assert backbone.config is not None
        side = backbone.config.image_size
        height, width = size = size or (side, side)
        usual = method.labels(height, width) if method else (height // 16) * (width // 16)
        count = count or max(usual, 1)
        if segmenter := load_segmentation_head(path, backbone.dim):
            head, classes = segmenter
            return cls(backbone, size, count, levels, head, classes=classes)
        if classifier := load_classifier(path, weights):
            layer, readout = classifier.layer, classifier.readout or "cls"
            return cls(backbone, size, count, levels, layer, readout, classifier.classes)
        return cls(backbone, size, count, levels)

    def forward(self, image: Tensor, superpixels: Tensor) -> dict[str, Tensor]:
        """Encode a batch.

        Args:
            image: RGB in 0..1, float32 (B, 3, H, W); it is normalised here.
            superpixels: Labels 0..count-1, int64 (B, H, W). A ViT does not read them.

        Returns:
            By name, with N_l tokens at level l: `cls` (B, C); `logits` (B, classes), or
            (B, N_0, classes) of a segmenter; `fused` (B, N_0, C) of a model for dense prediction;
            `tokens_l` (B, N_l, C) and `padding_l`, bool (B, N_l), from level 0, the superpixels
            or patches; `labels_l`, the segment of each superpixel, int64 (B, N_0), and
            `segmentation_l`, that of each pixel, int64 (B, H, W), from level 1. A ViT has
            `segmentation_0`, the patch of each pixel.
        """
        given = Superpixels.of(superpixels, self.count)
        hierarchy = self.backbone((image - self.mean) / self.std, given, levels=self.levels)
        outputs = {"cls": hierarchy.cls}
        if isinstance(self.head, Decoder):
            outputs["logits"] = self.head(hierarchy.fused, hierarchy.levels[0].padding)
        elif self.head is not None:
            outputs["logits"] = self.head(read_out(hierarchy, self.readout))
        if hierarchy.fused is not None:
            outputs["fused"] = hierarchy.fused
        for number, level in enumerate(hierarchy.levels):
            outputs |= {f"tokens_{number}": level.tokens, f"padding_{number}": level.padding}
            if number:
                outputs[f"labels_{number}"] = hierarchy.labels(number)
            if number or hierarchy.grid:
                outputs[f"segmentation_{number}"] = hierarchy.segmentation(number)
        return outputs

    @torch.no_grad()
    def metadata(self) -> dict[str, Any]:
        """What goes into the file beside the model, in plain values."""
        outputs = self(*self.example(1))
        config = self.backbone.config
        assert config is not None
        known = asdict(config).items()
        named = [name for name, size in SIZES.items() if asdict(size).items() <= known]
        sizes = [outputs[name].size(1) for name in outputs if name.startswith("tokens_")]
        return {
            "model": named[0] if named else config.family,
            "image_size": list(self.size),
            "superpixels": self.count,
            "levels": sizes[1:],
            "classes": self.classes,
            "normalised_inside": True,
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "cast_exp": cast_exp.__version__,
        }

    def example(self, batch: int) -> tuple[Tensor, Tensor]:
        """Inputs to try it on: noise, and a grid of superpixels; some labels may own no pixel."""
        height, width = self.size
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(batch, 3, height, width, generator=generator)
        rows = max(1, min(isqrt(self.count), height))
        columns = min(self.count // rows, width)
        down, across = torch.arange(height) * rows // height, torch.arange(width) * columns // width
        labels = down[:, None] * columns + across
        return image, labels.expand(batch, -1, -1).contiguous()


def difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """The largest difference of floats; infinite where integers, shapes or names differ."""
    if expected.keys() != found.keys():
        return torch.inf
    largest = 0.0
    for name, value in expected.items():
        if value.shape != found[name].shape:
            return torch.inf
        if not value.is_floating_point():
            largest = max(largest, 0.0 if torch.equal(value, found[name]) else torch.inf)
        elif not (apart := float((value - found[name]).abs().max())) <= largest:
            largest = apart  # or not a number
    return largest
