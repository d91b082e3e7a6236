"""Tells W&B of pictures that `cast_exp.segment` has segmented, and with which checkpoint."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cast_exp.checkpoints import Weights
from cast_exp.data.datasets.images import ValueRange
from cast_exp.loggers import WandbRun, wandb_logger
from cast_exp.ops.labels import nearest
from cast_exp.predict.files import Outputs
from cast_exp.predict.photo import find_photos, read_photo, shrunk
from cast_exp.run.tracking import log_start
from cast_exp.viz.layers import Layers

_LOGGED = 16
"""Photos that W&B gets; the outputs of all are in the folder."""
_LONGEST = 1024
"""Side of a picture there, in pixels."""
_LEVEL = re.compile(r"(?:open_)?level_([1-9]\d*)\.png")
_SHOWN = re.compile(r"overlay\.png|\w+_overlay\.png|\w+_painted\.png|heads\.png")


def begin_segmentation(
    project: str, out: Path, task: str, checkpoint: str | None, weights: Weights
) -> WandbRun:
    """Begin a run of the job type "segment", built on a checkpoint; or go on with that of a folder.

    Args:
        project: "entity/project", or "project" of the account's default entity.
        out: Folder of the outputs; its name is that of the run.
        task: What is done; a tag of the run.
        checkpoint: Of the model.
        weights: Which of those there.

    Raises:
        UserError: wandb is not installed or does not start, or there is no such checkpoint.
    """
    entity, _, name = project.rpartition("/")
    logger = wandb_logger(out, project=name, entity=entity or None, job_type="segment", tags=[task])
    log_start([logger], out, {}, checkpoint, weights)
    return logger


def log_segmentation(
    logger: WandbRun, photos: Sequence[Path], out: Path, task: str, value_range: ValueRange | None
) -> None:
    """Log the first photos with masks of each level, and the pictures that were made of them.

    Args:
        logger: See `begin_segmentation`.
        photos: Files, or folders that are searched.
        out: Folder of the outputs.
        task: What was done.
        value_range: See `read_photo`.
    """
    layers, shown = [], []
    for photo in find_photos(photos, without=out)[:_LOGGED]:
        outputs = Outputs(out / photo.name, task)
        files = [outputs.folder / name for name in outputs.files()]
        shown += [path for path in files if _SHOWN.fullmatch(path.name)]
        levels = {int(m[1]): path for path in files if (m := _LEVEL.fullmatch(path.name))}
        if levels:
            image = shrunk(read_photo(photo.path, value_range), _LONGEST)
            maps = {f"level {level}": _labels(path, image) for level, path in levels.items()}
            layers.append(Layers.of_levels(image, maps))
    if layers:
        masks = [each.masks() for each in layers]
        logger.log_image("segments/masks", [each.image for each in layers], masks=masks)
    for path in shown:
        with Image.open(path) as picture:
            small = shrunk(np.asarray(picture.convert("RGB")), _LONGEST)
        logger.log_image(f"segments/{path.parent.name}/{path.stem}", [small])


def _labels(path: Path, image: np.ndarray) -> np.ndarray:
    """A map of segments at the size of an image, numbered from 0."""
    with Image.open(path) as stored:
        ids = nearest(np.asarray(stored, np.int64), *image.shape[:2])
    numbers: np.ndarray = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
    return numbers
