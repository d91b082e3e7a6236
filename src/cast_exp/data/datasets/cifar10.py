"""CIFAR-10, as class folders of images or in its original archives."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset
from torchvision import datasets

from cast_exp.data.datasets.archives import Archive
from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.data.datasets.nearby import other_root
from cast_exp.errors import UserError

_ARCHIVE = datasets.CIFAR10.base_folder


class CIFAR10(Dataset[dict[str, Any]]):
    """CIFAR-10: 32×32 colour images of ten classes; ``val`` is the official test set.

    ``root`` holds either ``cifar-10-batches-py`` as published (read through torchvision, into
    about 150 MB of memory) or class folders, ``{train,test}/<class>/*.png``. Both have the same
    class order.

    Args:
        split: ``train`` (50,000 images) or ``val`` (10,000 images).
        root: The folder that holds one of the two layouts.
        download: Fetch the published archive into ``root`` if it is not there.

    Raises:
        UserError: Neither layout is there, the archive is damaged or the download fails.
    """

    def __init__(self, split: Split, root: Path | None = None, download: bool = False) -> None:
        layouts = f"<root>/{_ARCHIVE} or <root>/{{train,test}}/<class>/*.png"
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {layouts}")
        self._folder: ImageFolder | None = None
        if download or (root / _ARCHIVE).is_dir():
            published = datasets.CIFAR10
            Archive(published.url, published.tgz_md5, _ARCHIVE).folder(root, download)
            self._archive = self._read(root, split)
            self.classes: list[str] = self._archive.classes
        elif (root / "train").is_dir() or (root / "test").is_dir():
            self._folder = ImageFolder(split, root, val="test")
            self.classes = self._folder.classes
        else:
            raise UserError(
                f"no CIFAR-10 in {root}; expected {layouts}"
                + (
                    other_root(
                        root,
                        lambda other: any((other / name).is_dir() for name in (_ARCHIVE, "train")),
                    )
                    or ": correct data.root, or set data.dataset.download=true to fetch it"
                )
            )

    @staticmethod
    def _read(root: Path, split: Split) -> datasets.CIFAR10:
        try:
            return datasets.CIFAR10(root, train=split == "train")
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{root / _ARCHIVE} is incomplete or damaged; remove it and fetch it again"
            ) from error

    def __len__(self) -> int:
        return len(self._folder) if self._folder is not None else len(self._archive.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self._folder is not None:
            return self._folder[index]
        image = Image.fromarray(self._archive.data[index])
        return {"image": image, "label": int(self._archive.targets[index])}

    def path(self, index: int) -> str:
        """The file of image ``index``, or its place in the archive."""
        if self._folder is not None:
            return self._folder.path(index)
        return (
            f"{self._archive.root}/{_ARCHIVE}[{'train' if self._archive.train else 'test'} {index}]"
        )

    def files(self) -> Iterable[str]:
        """The files of the images, or of the archive."""
        if self._folder is not None:
            return self._folder.files()
        return map(str, sorted(Path(self._archive.root, _ARCHIVE).iterdir()))
