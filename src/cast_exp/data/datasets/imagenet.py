"""ImageNet-1k (ILSVRC 2012), in class folders or as it is distributed."""

import csv
import tarfile
from io import BytesIO
from pathlib import Path

from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.data.datasets.tars import Tar
from cast_exp.data.datasets.trees import Folder, ImageTree, SortedTree
from cast_exp.errors import UserError
from cast_exp.extras import from_extra

_TRAIN, _VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_DEVKIT = "ILSVRC2012_devkit_t12"
_KAGGLE, _SOLUTION = "ILSVRC/Data/CLS-LOC", "LOC_val_solution.csv"


class ImageNet(ImageFolder):
    """ImageNet, its classes in the order of their WordNet ids.

    ``root`` holds, for each split, one of

    - ``{train,val}/<wnid>/*.JPEG``, or tars of these folders, as `ImageFolder` has it;
    - the published archives, which are read in place: ``ILSVRC2012_img_train.tar``;
      ``ILSVRC2012_img_val.tar`` and, for its classes, ``ILSVRC2012_devkit_t12.tar.gz``;
    - Kaggle's ``ILSVRC/Data/CLS-LOC/{train,val}``, with ``LOC_val_solution.csv``.

    The images and their order are the same in all. See `ImageFolder` for the arguments.

    Raises:
        UserError: Whatever `ImageFolder` raises; the file that tells the classes of validation
            images is missing or cannot be read; scipy, which reads the devkit, is not installed.
    """

    def _layout(self, name: str, labelled: bool) -> str:
        archive, kaggle = self._published(name)
        devkit = "" if name == self._train else f" with {_DEVKIT}.tar.gz"
        return f"{super()._layout(name, labelled)}, <root>/{archive}{devkit} or <root>/{kaggle}"

    def _published(self, name: str) -> tuple[str, str]:
        """The archive and Kaggle's folder of a split."""
        if name == self._train:
            return _TRAIN, f"{_KAGGLE}/train"
        return _VAL, f"{_KAGGLE}/val"

    def _find(self, root: Path, name: str) -> ImageTree | None:
        if found := super()._find(root, name):
            return found
        archive, kaggle = (root / place for place in self._published(name))
        tree: ImageTree
        if archive.is_file():
            tree, classes = Tar(archive), root / f"{_DEVKIT}.tar.gz"
        elif kaggle.is_dir():
            tree, classes = Folder(kaggle), root / _SOLUTION
        else:
            return None
        if name == self._train:
            return tree
        if not classes.is_file():
            raise UserError(
                f"no {classes.name} in {root}; it tells the classes of {tree.place}: put it there"
            )
        read = _devkit_classes if tree.place == archive else _kaggle_classes
        return SortedTree(tree, read(classes), classes)


def _devkit_classes(devkit: Path) -> dict[str, str]:
    """The WordNet id of each validation image, by its name without suffix."""
    scipy_io = from_extra("eval", f"reading {devkit.name}", "scipy.io")
    try:
        with tarfile.open(devkit) as archive:
            meta, truth = (
                archive.extractfile(f"{_DEVKIT}/data/{name}").read()  # type: ignore[union-attr]
                for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
            )
        synsets = scipy_io.loadmat(BytesIO(meta), squeeze_me=True)["synsets"]
        ids = dict(zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True))
        labels = enumerate(map(int, truth.split()), 1)
        return {f"ILSVRC2012_val_{number:08}": ids[label] for number, label in labels}
    except Exception as error:  # scipy raises anything
        raise UserError(f"{devkit} cannot be read ({error!r}); download it again") from error


def _kaggle_classes(solution: Path) -> dict[str, str]:
    """The WordNet id of each validation image, by its name without suffix."""
    try:
        with solution.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (OSError, ValueError, KeyError, IndexError, AttributeError, csv.Error) as error:
        raise UserError(f"{solution} cannot be read ({error!r}); download it again") from error
