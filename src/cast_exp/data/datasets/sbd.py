"""The Semantic Boundaries Dataset (Hariharan et al., 2011): label maps out of MATLAB files."""

from pathlib import Path

from cast_exp.data.datasets.mat_labels import write_maps
from cast_exp.errors import UserError


def write_labels(dataset: Path) -> set[str]:
    """The label map of each image as an 8-bit PNG, written unless it is there.

    Args:
        dataset: SBD's folder ``dataset``, with ``cls/<name>.mat``. The maps go to
            ``SegmentationClass/<name>.png`` beside that, each in one go.

    Returns:
        The names.

    Raises:
        UserError: No such files, or see `write_maps`.
    """
    files = sorted((dataset / "cls").glob("*.mat"))
    if not files:
        raise UserError(f"no *.mat in {dataset / 'cls'}; expected SBD as published")
    folder = dataset / "SegmentationClass"
    write_maps(files, folder, lambda held: held["GTcls"]["Segmentation"][0, 0], "SBD")
    return {file.stem for file in files}
