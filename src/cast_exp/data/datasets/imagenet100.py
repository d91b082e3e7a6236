"""ImageNet-100: the hundred ImageNet classes of contrastive multiview coding."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.held_out import Share
from cast_exp.data.datasets.image_folder import ImageFolder
from cast_exp.errors import UserError


@cache
def imagenet100_classes() -> frozenset[str]:
    """The WordNet ids of the hundred classes (Tian et al., Contrastive Multiview Coding, 2020)."""
    return frozenset(files(__package__).joinpath("imagenet100_classes.txt").read_text().split())


class ImageNet100(ImageFolder):
    """``root/{train,val}/<wnid>/*.JPEG`` restricted to the classes of ImageNet-100.

    ``root`` may be a full ImageNet folder, of which only the hundred classes are read, or one that
    holds just these. The class index is the position in the sorted list of the hundred ids. See
    :class:`ImageFolder` for the arguments.

    Raises:
        UserError: A class folder is missing, and whatever :class:`ImageFolder` raises.
    """

    def __init__(
        self,
        split: Split,
        root: Path | None = None,
        train: str = "train",
        val: str | None = "val",
        held_out: Share = 0.05,
    ) -> None:
        super().__init__(split, root, train, val, held_out=held_out)

    def _class_folders(self, folder: Path) -> set[str]:
        found = super()._class_folders(folder) & imagenet100_classes()
        missing = sorted(imagenet100_classes() - found)
        if missing:
            raise UserError(
                f"{folder} lacks {len(missing)} of the 100 classes of ImageNet-100: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}; expected "
                "<root>/{train,val}/<wnid>/*.JPEG: correct data.root or complete the folder"
            )
        return found
