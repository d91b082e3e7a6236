"""What a dataset hands to the loader, and how it says that a file cannot be read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from cast_exp.errors import UserError

Split = Literal["train", "val"]


class UnreadableImage(Exception):
    """An image file that cannot be decoded: missing, empty, truncated or of no known format.

    Datasets raise it from ``__getitem__``; the loader puts another image in its place, counts the
    file and reports it. It is not an error of the user until too many files are bad.

    Args:
        path: The file, as it shall be shown in messages.
        reason: Why it could not be read, a short phrase.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both as arguments, so that it pickles between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoSuchSplit(UserError):
    """The dataset is configured without the split that was asked for (most often ``val``)."""


class Sized(Protocol):
    """An image of Pillow or another that knows its width and height."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        ...


class RawDataset(Protocol):
    """A map-style dataset of undecorated images, before any transform.

    The datamodule builds one for each split: ``factory(split=split)``, or
    ``factory(split=split, root=root)`` when ``data.root`` is set and there is such an argument.
    The constructor raises ``UserError`` for a missing root or a wrong layout and
    :class:`NoSuchSplit` for a split that is not there on purpose.

    ``dataset[i]`` is a dict with ``"image"`` (of any size and kind: a PIL image or what
    `cast_exp.data.datasets.read_image` gives; the datamodule brings it to 8-bit RGB), ``"label"``
    (int, ``0..len(classes) - 1``) and whatever further ground truth the dataset has, above all
    what is drawn on its pixels (see `cast_exp.data.Scene`): arrays of the image's size. It is a
    pure function of ``i`` and raises :class:`UnreadableImage` when the file is bad. Class indices
    of the two splits agree.

    It may have ``held_out``, names of training images that validate instead (see
    `cast_exp.data.datasets.held_out`); ``present_classes()``, the set of the classes that the
    split has an image of, if that can be told without reading images; ``files()``, the paths
    of all files that items are read from, if these are others than the ``path`` of each (results
    that are kept are computed anew when one of these files has changed); and ``read(i, decode)``,
    which is ``dataset[i]`` with ``"image"`` what ``decode`` makes of its open file.
    """

    classes: list[str]
    """Class names in the order of the labels. (What has "semantic" has ``semantic_classes`` too:
    names of its values, the first of which is ``background`` if there is such a class.)"""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def path(self, index: int) -> str:
        """Name of item ``index`` for messages: its file, or what stands for one."""
        ...


class ImageFiles(Dataset[dict[str, Any]]):
    """A data set whose truth is drawn on pixels: as a whole, all images are of one class.

    Args:
        images: The files.
    """

    def __init__(self, images: list[Path]) -> None:
        self.classes = ["image"]
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def path(self, index: int) -> str:
        """The file of image ``index``."""
        return str(self._images[index])

    def files(self) -> Iterable[str]:
        """The images, and the files that hold what is drawn on them."""
        return map(str, [*self._images, *self._truth_files()])

    def _truth_files(self) -> Iterable[Path]:
        """The files that hold what is drawn on the images."""
        return []


def require_size(path: Path, labels: NDArray[Any], image: Sized) -> None:
    """Make sure that labels (H, W) that were read from a file fit their image.

    Raises:
        UserError: They do not.
    """
    if labels.shape != image.size[::-1]:
        raise UserError(
            f"{path} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image is "
            f"{image.size[0]} x {image.size[1]}; they should be of one size"
        )


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong inside means that a file is an `UnreadableImage`."""
    try:
        yield
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise UnreadableImage(str(path), _reason(Path(path), error)) from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if path.is_file() and path.stat().st_size == 0:
        return "empty file (0 bytes)"
    if isinstance(error, Image.DecompressionBombError) and Image.MAX_IMAGE_PIXELS:
        pixels, most = int(str(error).partition("(")[2].split()[0]), 2 * Image.MAX_IMAGE_PIXELS
        return (
            f"{pixels / 1e6:.1f} megapixels, but Pillow opens {most / 1e6:.1f} at most; scale it "
            "down or cut it into parts"
        )
    if "cannot identify" in str(error):
        return "not an image of a known format"
    return str(error) or type(error).__name__
