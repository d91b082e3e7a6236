"""BSDS500: photographs that several people have segmented (Arbelaez et al., 2011)."""

from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cast_exp.data.datasets.base import ImageFiles, Split, require_size
from cast_exp.data.datasets.images import read_image
from cast_exp.data.datasets.nearby import other_root
from cast_exp.errors import UserError
from cast_exp.extras import from_extra

_LAYOUT = "<root>/images/<split>/*.jpg and <root>/groundTruth/<split>/*.mat"


class BSDS500(ImageFiles):
    """Photographs with the segmentations of about five people each.

    An item has, besides ``image`` and ``label`` (0: there is none), ``regions``: the segmentations,
    an int64 array (H, W) for each person, labels from 0 or 1.

    Args:
        split: ``train`` or ``val``.
        root: The folder that holds ``images`` and ``groundTruth`` as published (in
            ``BSR/BSDS500/data``).
        train: Name of the folders of training images.
        val: Name of the folders of validation images; ``test`` for the 200 test images.

    Raises:
        UserError: Another layout, or an image without ground truth. From an item: a ground truth
            that cannot be read or has another size than its image, or scipy is not installed.
    """

    def __init__(
        self, split: Split, root: Path | None = None, train: str = "train", val: str = "val"
    ) -> None:
        name = train if split == "train" else val
        if root is None:
            raise UserError(f"data.root is not set; give the folder <root> that holds {_LAYOUT}")
        self._truth = root / "groundTruth" / name
        super().__init__(sorted((root / "images" / name).glob("*.jpg")))
        if not self._images:
            raise UserError(
                f"no images in {root / 'images' / name}; expected {_LAYOUT}"
                + other_root(root, lambda other: (other / "images" / name).is_dir())
            )
        renamed = root / "ground_truth"
        if renamed.is_dir() and not self._truth.is_dir():
            paths = f"{quote(str(renamed))} {quote(str(root / 'groundTruth'))}"
            raise UserError(f"no folder {self._truth}; expected {_LAYOUT}: mv {paths}")
        there = {path.stem for path in self._truth.glob("*.mat")}
        if missing := [path.stem for path in self._images if path.stem not in there]:
            raise UserError(
                f"{len(missing)} of {len(self._images)} images have no ground truth in "
                f"{self._truth}: {', '.join(missing[:5])}{', ...' * (len(missing) > 5)}; "
                f"expected {_LAYOUT}"
            )
        self.semantic_classes: list[str] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self._images[index])
        path = self._truth / f"{self._images[index].stem}.mat"
        regions = read_segmentations(path)
        for drawn in regions:
            require_size(path, drawn, image)
        return {"image": image, "label": 0, "regions": regions}

    def _truth_files(self) -> list[Path]:
        return [self._truth / f"{path.stem}.mat" for path in self._images]


def read_segmentations(path: Path) -> list[NDArray[np.int64]]:
    """Read the segmentations that people drew of an image, from a ``.mat`` file of BSDS500.

    Returns:
        Label maps, int64 (H, W), one for each person; no label is negative.

    Raises:
        UserError: The file cannot be read as such, or scipy is not installed.
    """
    scipy_io = from_extra("eval", f"reading {path.name}", "scipy.io")
    try:
        people = scipy_io.loadmat(path)["groundTruth"].ravel()
        maps = [person["Segmentation"][0, 0].astype(np.int64) for person in people]
        valid = bool(maps) and all(drawn.ndim == 2 and drawn.min() >= 0 for drawn in maps)
    except Exception as error:  # scipy raises anything on files that are not what they seem
        raise UserError(f"cannot read {path} as a ground truth of BSDS500: {error!r}") from error
    if not valid:
        raise UserError(f"cannot read {path} as a ground truth of BSDS500: no label maps in it")
    return maps
