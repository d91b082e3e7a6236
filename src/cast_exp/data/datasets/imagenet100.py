"""ImageNet-100: the hundred ImageNet classes of contrastive multiview coding."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.held_out import Share
from cast_exp.data.datasets.imagenet import ImageNet
from cast_exp.data.datasets.trees import ImageTree
from cast_exp.errors import UserError


@cache
def imagenet100_classes() -> frozenset[str]:
    """The WordNet ids of the hundred classes (Tian et al., Contrastive Multiview Coding, 2020)."""
    return frozenset(files(__package__).joinpath("imagenet100_classes.txt").read_text().split())


class ImageNet100(ImageNet):
    """ImageNet restricted to the classes of ImageNet-100.

    ``root`` may hold all of ImageNet, of which only the hundred classes are read, or just these.
    The class index is the position in the sorted list of the hundred ids. See :class:`ImageNet`
    for what it holds, and :class:`ImageFolder` for the arguments.

    Raises:
        UserError: A class is missing, and whatever :class:`ImageNet` raises.
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

    def _class_folders(self, tree: ImageTree) -> set[str]:
        found = super()._class_folders(tree) & imagenet100_classes()
        missing = sorted(imagenet100_classes() - found)
        if missing:
            raise UserError(
                f"{tree.place} lacks {len(missing)} of the 100 classes of ImageNet-100: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}; expected "
                "<root>/{train,val}/<wnid>/*.JPEG: correct data.root or complete the folder"
            )
        return found
