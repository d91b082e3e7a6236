"""ADE20K in the 150 classes of the scene parsing benchmark (Zhou et al., 2017)."""

from pathlib import Path

from cast_exp.data.datasets.base import Split
from cast_exp.data.datasets.nearby import other_root
from cast_exp.data.datasets.voc import VOCFolder
from cast_exp.errors import UserError

ADE20K_CLASSES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass"),
    *("cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain"),
    *("chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug"),
    *("field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub"),
    *("railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter"),
    *("sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs"),
    *("runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar"),
    *("arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier"),
    *("awning", "streetlight", "booth", "television receiver", "airplane", "dirt track"),
    *("apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet"),
    *("poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer"),
    *("plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag"),
    *("minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name", "microwave"),
    *("pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood"),
    *("sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate"),
    *("monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"),
)
"""The 150 classes in the order of the labels, which count from 1 in the files."""

_FOLDER = "ADEChallengeData2016"


class ADE20K(VOCFolder):
    """ADE20K: 20,210 training and 2,000 validation images, 150 classes.

    ``root`` holds ``ADEChallengeData2016/{images,annotations}/{training,validation}`` as published.
    In its label maps 0 is void and 1 the first class.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``ADEChallengeData2016``.

    Raises:
        UserError: It is not there; see also `VOCFolder`.
    """

    def __init__(self, split: Split, root: Path | None = None) -> None:
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {_FOLDER}")
        if not (root / _FOLDER).is_dir():
            raise UserError(
                f"no {_FOLDER} in {root}"
                + (
                    other_root(root, lambda other: (other / _FOLDER).is_dir())
                    or f"; correct data.root, or unpack {_FOLDER}.zip there"
                )
            )
        super().__init__(
            split,
            root / _FOLDER,
            classes=ADE20K_CLASSES,
            train="training",
            val="validation",
            images="images",
            masks="annotations",
            lists=None,
            reduce_zero_label=True,
        )
