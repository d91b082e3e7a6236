"""Whether images can be told apart by classes at all."""

from cast_exp.data.base import RawDataModule
from cast_exp.data.datamodule import ImageDataModule
from cast_exp.data.datasets.base import NoSuchSplit


def recognition_obstacle(data: RawDataModule) -> str | None:
    """Why training images cannot teach the classes of validation images; None if they can.

    What is returned is a clause that says what the data lack. The data sets are built for this, but
    no image is read.

    Raises:
        UserError: Missing data or a wrong layout.
    """
    if not isinstance(data, ImageDataModule):
        return "the classes are those of pixels, not of images"
    if data.num_classes < 2:
        return "the images have no classes to tell apart"
    try:
        splits = data.raw("train"), data.raw("val")
    except NoSuchSplit:
        return "there are no validation images"
    if not all(hasattr(split, "present_classes") for split in splits):
        return None
    train, val = (split.present_classes() for split in splits)  # type: ignore[attr-defined]
    return "no class has both training and validation images" if train.isdisjoint(val) else None
