"""Images with label maps as Pascal VOC has them: VOC 2012, VOC with SBD, any folder like it."""

import os
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from torchvision.datasets import SBDataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.datasets.voc import DATASET_YEAR_DICT

from cast_exp.data.datasets.archives import Archive
from cast_exp.data.datasets.base import ImageFiles, Split
from cast_exp.data.datasets.held_out import Share, part_of
from cast_exp.data.datasets.image_list import Files, Listed, by_name, read_list
from cast_exp.data.datasets.images import read_image
from cast_exp.data.datasets.label_reader import LabelReader, Value, read_map
from cast_exp.data.datasets.nearby import other_root
from cast_exp.data.datasets.palette import Palette
from cast_exp.data.datasets.sbd import write_labels
from cast_exp.errors import UserError, listing
from cast_exp.ops.labels import VOID

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The 21 semantic classes of Pascal VOC in the order of the labels."""

_YEAR = DATASET_YEAR_DICT["2012"]
_VOC = Archive(_YEAR["url"], _YEAR["md5"], "VOCdevkit")
_SBD = Archive(SBDataset.url, SBDataset.md5, "benchmark_RELEASE")


class VOCFolder(ImageFiles):
    """Any images with label maps in VOC's layout.

    ``root`` holds a list of images for each split, ``ImageSets/Segmentation/<list>.txt`` (see
    `read_list`), the images ``JPEGImages/<name>.jpg`` (or of another suffix) and the label maps
    ``SegmentationClass/<name>.png``, of the images' size (see `LabelReader`). The folders may have
    other names. ``SegmentationObject/<name>.png`` with a number for each object is optional.

    An item has, besides ``image`` and ``label`` (0: there is none), uint8 arrays (H, W):
    ``semantic``, the index of the class or 255 for void; if there are objects of all names of the
    list, ``instance``, 0 for none, 255 for void.

    Where there is no list of validation images, some of the training images are held out for
    validation, by their names; see `cast_exp.data.datasets.held_out`.

    Args:
        split: ``train`` or ``val``.
        root: The folder.
        classes: Names of the classes 0, 1, ...; the first is ``background`` if there is such a
            class.
        train: Name of the list of training images.
        val: Name of the list of validation images; None: there is none.
        held_out: Share of the training images that validates if ``val`` is None.
        images: Folder of the images.
        masks: Folder of the label maps.
        lists: Folder of the lists; None: ``train`` and ``val`` are folders of images in ``images``,
            and of label maps in ``masks``.
        image_suffix: What an image has after its name; None: any usual one, such as ``.jpg``.
        mask_suffix: What a label map has after its name, such as ``_labelIds.png``.
        label_map: The class of each value of the label maps (255 for void).
        reduce_zero_label: 0 is void and 1 the first class, as in mmsegmentation.
        ignore_index: The value of void.
        palette: Of label maps in colours: the colours of each class by its name (of pixels to
            ignore: ``void``), or in the order of the classes, or a file with a line ``name,R,G,B``
            for each, below ``root``.

    Attributes:
        held_out: Names of the images that are held out; empty if there is a list of validation
            images.

    Raises:
        UserError: Another layout, a list that is missing or empty, a name without image or label
            map, or one image only to be shared out. From an item: a label map of another size than
            the image's, or with a value that no class has.
        NoSuchSplit: ``val`` is asked for and configured as None, with nothing held out.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        *,
        classes: Sequence[str],
        train: str = "train",
        val: str | None = "val",
        held_out: Share = 0.05,
        images: str = "JPEGImages",
        masks: str = "SegmentationClass",
        lists: str | None = "ImageSets/Segmentation",
        image_suffix: str | None = None,
        mask_suffix: str = ".png",
        label_map: Mapping[Value, Value] | None = None,
        reduce_zero_label: bool = False,
        ignore_index: Value = VOID,
        palette: Palette | None = None,
    ) -> None:
        layout = f"<root>/{{{images},{masks}}}/{'*' if lists else '<split>/*'}"
        layout += f" and <root>/{lists}/<split>.txt" if lists else ""
        if root is None:
            raise UserError(f"data.root is not set; give the folder <root> that holds {layout}")
        folders = [images, masks, *([lists] if lists else [])]
        if missing := [folder for folder in folders if not (root / folder).is_dir()]:
            raise UserError(
                f"no {listing(missing)} in {root}; expected {layout}"
                + (
                    other_root(root, lambda other: all((other / f).is_dir() for f in folders))
                    or ": correct data.root, or data.dataset.{images,masks,lists}"
                )
            )
        super().__init__([])
        self.semantic_classes = list(classes)
        self._palette = root / palette if isinstance(palette, str | Path) else None
        self._reader = LabelReader(
            classes, label_map, reduce_zero_label, ignore_index, self._palette or palette
        )
        self._lists = root / lists if lists else None
        self._files = Files(root, images, [image_suffix] if image_suffix else IMG_EXTENSIONS)
        self._masks = Files(root, masks, [mask_suffix])
        self._labels: list[Path] = []
        listed = self._listed(train if split == "train" or val is None else val)
        self._add(listed, self._masks)
        self.held_out: list[str] = []
        if val is None:
            names = [self._files.name(image) for image in self._images]
            part = part_of(split, map(os.fsencode, names), held_out)
            self.held_out = list(compress(names, part if split == "val" else ~part))
            self._images = list(compress(self._images, part))
            self._labels = list(compress(self._labels, part))
        objects = Files(root, "SegmentationObject", [".png"])
        found = [objects.get(self._files.name(image)) for image in self._images]
        self._objects = [path for path in found if path] if all(found) else None

    def _listed(self, name: str) -> list[Listed]:
        """What a list names, or a folder of images holds."""
        if self._lists:
            return read_list(self._lists / f"{name}.txt", self._files, self._masks)
        names = self._files.names(name)
        if not names:
            folder = self._files.folder / name
            raise UserError(f"no images in {folder}; correct data.dataset.images, train or val")
        return [by_name(each, self._files, self._masks) for each in names]

    def _add(self, listed: Sequence[Listed], masks: Files) -> None:
        """Add images and label maps, of which every one must be there."""
        for kind, files, folder in (
            ("image", [each.image for each in listed], self._files),
            ("label map", [each.mask for each in listed], masks),
        ):
            missing = [each.written for each, file in zip(listed, files, strict=True) if not file]
            if missing:
                raise UserError(
                    f"{len(missing)} of {len(listed)} listed images have no {kind} in {folder}: "
                    f"{listing(missing, 5)}; add the files, or take the names off the list"
                )
        self._images += [each.image for each in listed if each.image]
        self._labels += [each.mask for each in listed if each.mask]

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self._images[index])
        semantic = self._reader.read(self._labels[index], image)
        item = {"image": image, "label": 0, "semantic": semantic}
        if self._objects is not None:
            item["instance"] = read_map(self._objects[index], image)
        return item

    def _truth_files(self) -> list[Path]:
        own = [self._palette] if self._palette else []
        return [*self._labels, *(self._objects or []), *own]


class VOC(VOCFolder):
    """Pascal VOC 2012, segmentation: 1,464 training and 1,449 validation images, 21 classes.

    ``root`` holds ``VOCdevkit/VOC2012`` as published.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``VOCdevkit``.
        download: Fetch the published archive (2 GB) into ``root`` if it is not there.

    Raises:
        UserError: It is not there, is damaged or cannot be fetched; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None, download: bool = False) -> None:
        super().__init__(split, _VOC.folder(root, download) / "VOC2012", classes=VOC_CLASSES)


class VOCAugmented(VOC):
    """Pascal VOC 2012 with the further annotations of SBD ("train+"): 10,582 training images.

    Those are VOC's own 1,464, with VOC's labels, and all images of SBD that are in neither split of
    VOC; validation is VOC's. ``root`` holds ``VOCdevkit/VOC2012`` and
    ``benchmark_RELEASE/dataset/cls/*.mat`` as published (Hariharan et al., 2011). When first used,
    the latter are written as PNG to ``benchmark_RELEASE/dataset/SegmentationClass``, which needs
    scipy and takes a minute or two; if that is cut, the next time goes on from there.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``VOCdevkit`` and ``benchmark_RELEASE``.
        download: Fetch the published archives (2 GB, 1.4 GB) into ``root`` if they are not there.

    Raises:
        UserError: Something is not there, is damaged or cannot be fetched or written, or scipy is
            not installed; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None, download: bool = False) -> None:
        super().__init__(split, root, download)
        if split == "train":
            dataset = _SBD.folder(root, download) / "dataset"
            own = {
                self._files.name(each.image)
                for name in ("train", "val")
                for each in self._listed(name)
                if each.image
            }
            masks = Files(dataset, "SegmentationClass", [".png"])
            names = sorted(write_labels(dataset) - own)
            self._add([by_name(name, self._files, masks) for name in names], masks)
            self._objects = None
