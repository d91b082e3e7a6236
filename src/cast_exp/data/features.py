"""Features of images under a frozen backbone: computed once, kept, and served in batches."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from cast_exp.data.base import local_batch_size
from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.datasets.base import Split
from cast_exp.data.loader import ResumableLoader
from cast_exp.data.sampling import EpochSampler
from cast_exp.data.stored import load_tensors, save_tensors
from cast_exp.distributed import gather_objects, together
from cast_exp.errors import UserError

log = logging.getLogger(__name__)

Encoder = Callable[[dict[str, Any]], Tensor]
"""Plain batch -> image vectors (B, C)."""


@dataclass(frozen=True)
class Features:
    """Vectors of images.

    Attributes:
        features: Float32 (N, C).
        label: Classes, int64 (N,).
        index: Number of each image in its data set, int64 (N,).
    """

    features: Tensor
    label: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, batch: dict[str, Any], encoder: Encoder) -> "Features":
        """Encode a plain batch; the vectors are kept on the CPU."""
        vectors = encoder(batch).float().cpu().clone()  # not a view that holds all tokens
        return cls(vectors, batch["label"].cpu(), batch["index"].cpu())

    @classmethod
    def joined(cls, shares: Iterable[Sequence["Features"]]) -> "Features":
        """Those of batches of all processes, in the order of the data set.

        Raises:
            UserError: There is no image.
        """
        parts = [list(vars(part).values()) for share in shares for part in share]
        if not parts:
            raise UserError("there is no image to encode, or none can be read")
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        order = columns[-1].argsort()
        return cls(*(column[order] for column in columns))

    def take(self, rows: Tensor) -> dict[str, Tensor]:
        """The batch of the given rows."""
        return {name: column.index_select(0, rows) for name, column in vars(self).items()}


def encode_images(
    images: ImageDataModule,
    split: Split,
    encoder: Encoder,
    device: torch.device,
    limit: int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> Features:
    """Encode plain images, each process its share.

    Args:
        images: The images; their data module knows the trainer of this process.
        split: Which of them.
        encoder: Makes vectors of a batch on the device; it must not wait for other processes.
        device: Where to encode.
        limit: At most that many images, a random but fixed choice; None for all.
        batch_size: Images encoded at a time, on each device.
        progress: Show a bar.

    Returns:
        Those of all processes, the same on each.

    Raises:
        UserError: There is no image, or encoding failed on another process.
    """

    def encode() -> list[Features]:
        loader = images.plain_dataloader(split, limit, batch_size, shared=True)
        shown = track(loader, f"features of {split} images", disable=not progress)
        return [Features.of(images.prepare(batch, device), encoder) for batch in shown]

    return Features.joined(gather_objects(together(encode)))


class FeatureLoader(ResumableLoader):
    """Batches of features in the order in which an `ImageDataModule` would serve the images.

    Args:
        features: All of them.
        order: Order of the rows.
        batch_size: Rows per batch on this rank.
        trainer: See `ResumableLoader`.
    """

    def __init__(
        self, features: Features, order: EpochSampler, batch_size: int, trainer: Trainer | None
    ) -> None:
        super().__init__(order, trainer)
        self.features = features
        self.sampler = order  # here Lightning looks for what it tells the epoch
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches from the sampler's next iteration."""
        for rows in torch.split(torch.from_numpy(self.sampler.draws()), self.batch_size):
            yield self.features.take(rows)


class CachedFeatures(LightningDataModule):
    """Serves the features of images in their stead, without augmentation.

    They are computed when first asked for, each process its share, and kept in
    `<run>/features/<split>.safetensors` for when the run is resumed. A file of another backbone or
    of data that have changed is not used, nor is one that is damaged or only half computed.

    Batches have `features` float32 (B, C), `label` and `index` int64 (B,).

    Args:
        images: The images.
        encoder: Makes vectors of a plain batch, the same at every call.
        encoder_key: Tells what the encoder is; another text means other features.
    """

    def __init__(
        self, images: ImageDataModule, encoder: Encoder, encoder_key: Callable[[], str]
    ) -> None:
        super().__init__()
        self.images = images
        self.encoder = encoder
        self.encoder_key = encoder_key
        self._features: dict[Split, Features] = {}

    @property
    def classes(self) -> list[str]:
        """See `RawDataModule.classes`."""
        return self.images.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.images.num_classes

    def prepare_data(self) -> None:
        """See `ImageDataModule.prepare_data`."""
        self.images.prepare_data()

    def setup(self, stage: str) -> None:
        """See `ImageDataModule.setup`."""
        self.images.trainer = self.trainer
        self.images.setup(stage)

    def teardown(self, stage: str) -> None:
        """See `ImageDataModule.teardown`."""
        self.images.teardown(stage)

    def train_dataloader(self) -> FeatureLoader:
        """This rank's share of every batch, in the order of the epoch."""
        features, images = self.features("train"), self.images
        trainer = self._trainer
        rank, ranks = trainer.global_rank, trainer.world_size
        sampler = EpochSampler(
            len(features), images.batch_size, images.seed, rank, ranks, images.drop_last
        )
        return FeatureLoader(features, sampler, local_batch_size(images.batch_size, ranks), trainer)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """This rank's share of the validation images, each image on one rank only."""
        features = self.features("val")
        rows = torch.arange(len(features))[self._trainer.global_rank :: self._trainer.world_size]
        batches = torch.split(rows, self.images.batch_size)
        return DataLoader(batches, batch_size=None, collate_fn=features.take)  # type: ignore[arg-type]

    def features(self, split: Split) -> Features:
        """All features of a split, in the order of the data set."""
        if split not in self._features:
            path = Path(self._trainer.default_root_dir) / "features" / f"{split}.safetensors"
            key = self._key(split)
            stored = load_tensors(path, key, list(Features.__annotations__))
            if all(gather_objects(stored is not None)):
                self._features[split] = Features(**stored)  # type: ignore[arg-type]
            else:
                self._features[split] = self._compute(split, path, key)
        return self._features[split]

    def _compute(self, split: Split, path: Path, key: str) -> Features:
        start = perf_counter()
        trainer, device = self._trainer, self._trainer.strategy.root_device
        batch_size = local_batch_size(self.images.batch_size, trainer.world_size)
        features = encode_images(
            self.images, split, self.encoder, device, None, batch_size, trainer.is_global_zero
        )
        seconds = perf_counter() - start
        log.info("features of %d %s images in %.1f seconds", len(features), split, seconds)

        def keep() -> None:
            if trainer.is_global_zero:
                save_tensors(path, vars(features), key)

        together(keep)
        return features

    def _key(self, split: Split) -> str:
        images = self.images
        size = {"image_size": images.image_size, "eval_crop": images.eval_crop}
        return json.dumps({"encoder": self.encoder_key()} | images.identity(split) | size)

    @property
    def _trainer(self) -> Trainer:
        assert self.trainer is not None
        return self.trainer
