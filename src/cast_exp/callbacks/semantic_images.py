"""Pictures of how fine-tuning names the pixels of a few fixed images."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from cast_exp.callbacks.pictures import Pictures, show
from cast_exp.callbacks.side_work import apart_from_training
from cast_exp.data import Scene, SceneDataModule
from cast_exp.errors import UserError
from cast_exp.tasks import SegmentationTask
from cast_exp.viz.semantic import SemanticPicture, semantic_sheet


class SemanticImages(Pictures):
    """Draws images, segments, prediction, truth and errors; see `Pictures`.

    Sheets go to `<run>/images/step<n>.png`, and to W&B and TensorBoard where these log. W&B also
    gets the images with masks that know the names of the classes.
    """

    _scenes: list[Scene] | None = None

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the images with all that is predicted."""
        data: SceneDataModule = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, SegmentationTask)
        if self._scenes is None:
            self._scenes = list(data.scenes(self.split, self.count))
            if not self._scenes:
                raise UserError(f"none of the {self.split} images to draw can be read")
        with apart_from_training(trainer, pl_module):
            pictures = [_picture(pl_module, scene) for scene in self._scenes]
        show(trainer, "segmentation", semantic_sheet(pictures, pl_module.classes, self.seed))
        names = dict(enumerate(pl_module.classes))
        masks = [
            {
                "prediction": {"mask_data": picture.prediction, "class_labels": names},
                "ground_truth": {"mask_data": picture.truth, "class_labels": names},
            }
            for picture in pictures
        ]
        images = [picture.image for picture in pictures]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("predictions", images, step=trainer.global_step, masks=masks)


def _picture(task: SegmentationTask, scene: Scene) -> SemanticPicture:
    """What there is to draw of a scene, at the size of its truth."""
    there = scene.to(task.device)
    predicted = task.segmentation_model.predict(
        there.image,
        there.superpixels,
        scene.full_superpixels,
        last_grouping=True,
        windows=there.windows,
    )
    return SemanticPicture.of(scene, predicted)
