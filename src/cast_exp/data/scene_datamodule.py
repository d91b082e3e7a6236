"""The scenes of a run: whole images for evaluation, random crops for training."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cast_exp.data.base import RawDataModule
from cast_exp.data.class_pixels import class_faults, class_pixels
from cast_exp.data.crops import CropSamples, RandomCrop
from cast_exp.data.datasets.base import RawDataset, Split, UnreadableImage
from cast_exp.data.datasets.images import ValueRange
from cast_exp.data.loader import TrainLoader
from cast_exp.data.photometric import outline_values
from cast_exp.data.sampling import FixedSampler
from cast_exp.data.scene import Scene
from cast_exp.data.scene_samples import Fit, SceneLoader, SceneSamples
from cast_exp.data.sliding import Sliding
from cast_exp.data.streams import StreamLoader
from cast_exp.data.transforms import Probability, Range, normalise_
from cast_exp.errors import UserError
from cast_exp.ops import Superpixels
from cast_exp.superpixels import SuperpixelMethod

log = logging.getLogger(__name__)

_LOOKED_AT = 64  # label maps before training
_DRAWN = {
    "semantic": "semantic masks",
    "instance": "instance masks",
    "regions": "regions drawn by annotators",
}


class SceneDataModule(RawDataModule):
    """Images of any size with what people have drawn on them.

    Evaluation takes `scenes`: one image after the other, in a fixed order, made in worker
    processes. Training for semantic segmentation takes random crops (paper's appendix on
    segmentation and official release, in this order): flip, scale, padding at the bottom and on the
    right with the mean colour (void in the truth), crop; superpixels of the crop are computed
    on a smaller copy of it and stay at that size. As with `ImageDataModule`, a crop depends on
    (`seed`, epoch, index) only. Superpixels are computed on the CPU.

    Arguments not listed here are those of `RawDataModule`; its images are the crops of training.

    Args:
        image_size: Side of the images that the network sees in evaluation, in pixels.
        fit: How evaluation brings an image to that size. `long_side`: superpixels at the image's
            own size; then the longer side of the image is brought to that size (bilinear, without
            smoothing), superpixels with it; truth stays as it is.
            `square`: image and truth are stretched to that size. `center_crop`: the shorter
            side is brought to it, the central square is cut out. With these two, superpixels
            are computed at the network's size. `windows`: square windows of the size of the
            training crops slide over the image; see `Sliding`.
        truncate_sizes: With `long_side`, truncate the new sides instead of rounding them, as the
            official release does, where errors of floats make some 511 for 512.
        crop: Side of the training crops in pixels.
        crop_scale: Bounds of the factor by which a training image is scaled.
        flip_probability: Probability of the horizontal flip.
        superpixel_scale: Side of the copy on which superpixels of crops are computed, as a share
            of the crop's.
        short_side: Size of the shorter side of images, which crops are scaled from and windows are
            cut of, in pixels; None for crops of the image as it is and for windows of the crop's.
        max_ratio: Most that the longer side may be then, as a multiple of it.
        class_share: See `RandomCrop`, also for `distortion`.
        stride: From one window to the next, in pixels; None for windows side by side.
        ratios: Multiples of `short_side` at which windows see an image.
        mirrored: Whether windows see it mirrored as well.
        inverted_superpixels: Compute superpixels of crops and windows on inverted colours; see
            `outline_values`.

    Raises:
        UserError: From `setup` and the loaders: missing data, truth that does not fit its image, a
            batch size that the devices cannot share or that exceeds the data.
    """

    holds = "scenes with truth on pixels"

    def __init__(
        self,
        dataset: Callable[..., RawDataset],
        superpixel: SuperpixelMethod,
        root: Path | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 16,
        image_size: Annotated[int, Field(ge=1)] = 512,
        fit: Fit = "long_side",
        truncate_sizes: bool = False,
        crop: Annotated[int, Field(ge=1)] = 512,
        crop_scale: Range = (0.5, 1.5),
        flip_probability: Probability = 0.5,
        superpixel_scale: Annotated[float, Field(gt=0, le=1)] = 0.5,
        short_side: Annotated[int, Field(ge=1)] | None = None,
        max_ratio: Annotated[float, Field(ge=1)] = 4.0,
        class_share: Annotated[float, Field(gt=0, le=1)] = 1.0,
        distortion: bool = False,
        stride: Annotated[int, Field(ge=1)] | None = None,
        ratios: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0,),
        mirrored: bool = False,
        inverted_superpixels: bool = False,
        cache_superpixels: bool = False,
        workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto",
        prefetch: Annotated[int, Field(ge=1)] = 2,
        drop_last: bool = True,
        max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.01,
        value_range: ValueRange | None = None,
        expected_images: Mapping[Split, int] | None = None,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        shared = (batch_size, workers, prefetch, drop_last, max_unreadable, value_range)
        super().__init__(
            dataset, superpixel, cache_superpixels, root, *shared, expected_images, seed
        )
        self.image_size = image_size
        self.fit: Fit = fit
        self.truncate_sizes = truncate_sizes
        self.cropping = RandomCrop(
            crop, crop_scale, flip_probability, short_side, max_ratio, class_share, distortion
        )
        self.superpixel_scale = superpixel_scale
        self.sliding: Sliding | None = None
        if fit == "windows":
            step, short = stride or crop, short_side or crop
            self.sliding = Sliding(crop, step, short, max_ratio, tuple(ratios), mirrored)
            if step > crop:
                raise UserError(
                    f"data.stride={stride} leaves pixels out between windows of data.crop={crop}; "
                    "set it to that or less"
                )
        self.inverted_superpixels = inverted_superpixels
        self.outline = outline_values(inverted_superpixels)

    # -- what there is ---------------------------------------------------------------------------

    @property
    def semantic_classes(self) -> list[str]:
        """Names of the values of "semantic"; the first is "background" if there is such a class."""
        names: list[str] = getattr(self.raw("train"), "semantic_classes", [])
        return names

    @property
    def num_classes(self) -> int:
        """Number of semantic classes."""
        return len(self.semantic_classes)

    def need(self, truth: str, split: Split = "val", windows: bool = False) -> None:
        """Make sure that the data set has a kind of ground truth, before any work.

        Args:
            truth: The kind.
            split: Where.
            windows: Whether images may come in windows.

        Raises:
            UserError: It has not, the data is missing, or images come in windows that may not.
        """
        if self.sliding is not None and not windows:
            raise UserError(
                "fit=windows is for segmentation, all else looks at whole images; set data.fit (or "
                "scenes.fit) to long_side"
            )
        dataset = self.raw(split)
        has: list[str] = []
        for index in range(len(dataset)):
            try:
                has = [name for name in dataset[index] if name not in ("image", "label")]
                break
            except UnreadableImage:
                continue
        if truth not in has:
            raise UserError(
                f"{type(dataset).__name__} has no {_DRAWN.get(truth, truth)} (it has: "
                f"{', '.join(has) or 'no ground truth on pixels'}); choose other data"
            )

    def first_superpixels(self, split: Split) -> int | None:
        """See `RawDataModule.first_superpixels`."""
        if split == "val" and self.sliding is None:
            scene = self._scene_samples(split)[0, 0]["scene"]
            return None if scene is None else scene.count
        side = self.sliding.side if self.sliding and split == "val" else self._crops().side
        return self.superpixel.labels(side, side)

    # -- loaders ---------------------------------------------------------------------------------

    def scenes(self, split: Split, limit: int | None = None, shared: bool = False) -> SceneLoader:
        """Every scene once, in a fixed order, on the CPU; `len` is their number.

        Args:
            split: `train` or `val`.
            limit: At most that many images, a random but fixed choice.
            shared: Deal the images out to the ranks, instead of all of them to each.
        """
        return self.scenes_of(split, self._fixed_order(split, limit, shared).indices)

    def scenes_of(
        self, split: Split, indices: Sequence[int] | NDArray[np.int64], persistent: bool = False
    ) -> SceneLoader:
        """The scenes of a split with these numbers, in their order; see `scenes`.

        With `persistent`, workers are kept from one iteration to the next.
        """
        return SceneLoader(
            self._scene_samples(split),
            FixedSampler(indices),
            unreadable=self._unreadable[split],
            **self._options(persistent),
        )

    def train_dataloader(self) -> TrainLoader | StreamLoader:
        """Random crops, this rank's share of every batch, in the order of the epoch."""
        self.need("semantic", "train", windows=True)
        if self._rank == 0:
            self._warn_of_labels()
        return self._train_loader(self._crops())

    def _warn_of_labels(self) -> None:
        """Say what looks wrong about the label maps, of some of the training images."""
        raw, pixels = self.raw("train"), np.zeros(self.num_classes + 1, np.int64)
        for index in self.chosen("train", _LOOKED_AT):
            try:
                pixels += class_pixels(raw[index]["semantic"], self.num_classes)
            except (UnreadableImage, UserError):
                continue  # which the loader tells
        for fault in class_faults(pixels, self.semantic_classes, sampled=True):
            log.warning("training images: %s; `cast-exp check` reads them all", fault)

    def val_dataloader(self) -> SceneLoader:
        """This rank's share of the validation scenes, each on one rank only."""
        return self.scenes_of("val", self._fixed_order("val", None, True).indices, persistent=True)

    def _scene_samples(self, split: Split) -> SceneSamples:
        raw, shape = self._rgb(split), (self.image_size, self.fit, self.truncate_sizes)
        return SceneSamples(raw, self.plain_superpixel, *shape, self.sliding, self.outline)

    def _crops(self) -> CropSamples:
        shared = (self.superpixel, self.superpixel_scale, self.seed, self.outline)
        return CropSamples(self._rgb("train"), self.cropping, *shared)

    # -- batches ---------------------------------------------------------------------------------

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch that Lightning has moved to its device; scenes are finished already."""
        return batch if isinstance(batch, Scene) else self.prepare(batch, batch["index"].device)

    def prepare(self, batch: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
        """Finish a batch of training crops on `device`.

        Returns:
            `images`: float32 (B, 3, S, S), normalised by the ImageNet statistics; `superpixels`: a
            `Superpixels` of maps of side `superpixel_scale` times S; `semantic`: int64 (B, S, S),
            255 for void; `index`: int64 (B,).
        """
        (images,), (labels,) = batch["images"], batch["superpixels"]
        count, full = self.superpixel.labels(*labels.shape[-2:]), self.superpixel.full
        labels = labels.to(device, non_blocking=True).long()
        return {
            "images": normalise_(images.to(device, non_blocking=True) / 255),
            "superpixels": Superpixels.of(labels, count, full=full),
            "semantic": batch["semantic"].to(device, non_blocking=True).long(),
            "index": batch["index"].to(device, non_blocking=True),
        }
