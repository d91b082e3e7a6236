"""One command for many pictures: what is done is passed over, what fails is told at the end."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import cast_exp
from cast_exp.checkpoints import Weights, load_pretrained, load_segmentation_model
from cast_exp.checkpoints.files import fingerprint
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.data.datasets.base import UnreadableImage
from cast_exp.data.datasets.images import ValueRange
from cast_exp.errors import UserError, listing
from cast_exp.models import Backbone, SegmentationModel
from cast_exp.models.pooling import check_levels
from cast_exp.models.tokens import Sampling
from cast_exp.naming import PROMPT
from cast_exp.predict import IMAGE_TEXT, Task
from cast_exp.predict.attention_heads import figure_ground_files, heads_of
from cast_exp.predict.files import Outputs
from cast_exp.predict.open_vocabulary import OpenVocabulary
from cast_exp.predict.page import hierarchy_page
from cast_exp.predict.photo import Photo, find_photos, photo_scene, read_photo
from cast_exp.predict.segments import hierarchy_files, segment, tree_of
from cast_exp.predict.semantic import semantic_files
from cast_exp.superpixels import SuperpixelMethod

_TREES = ("hierarchy", "open")
"""Tasks that make a tree of segments."""


@dataclass(frozen=True)
class Job:
    """What the command line of `cast_exp.segment` says; its help explains the options.

    `levels` and `sampling` are None for the model's own, `size` is in pixels, `device` of torch, or
    "auto".
    """

    photos: Sequence[Path]
    checkpoint: str | None
    weights: Weights
    out: Path
    task: Task
    levels: tuple[int | float, ...] | None
    html: bool
    size: int
    method: SuperpixelMethod
    sampling: Sampling | None
    device: str
    value_range: ValueRange | None
    overwrite: bool
    classes: str | None = None
    prompt: Sequence[str] = (PROMPT,)
    image_text: str = IMAGE_TEXT
    object_level: int | None = None

    def run(self) -> int:
        """Do all pictures.

        Returns:
            0, or 1 if some failed.

        Raises:
            UserError: What is asked for cannot be done.
        """
        photos = find_photos(self.photos, without=self.out)
        if self.html and self.task not in _TREES:
            raise UserError(f"--html shows a hierarchy; leave it out with --task {self.task}")
        if self.sampling and self.task == "semantic":
            raise UserError(
                "--sampling is for pretrained models; leave it out with --task semantic"
            )
        self._check_levels()
        self._check_words()
        failed, before = [], 0
        for photo in track(photos, self.task, disable=not sys.stdout.isatty()):
            try:
                before += not self._do(photo)
            except UnreadableImage as error:
                failed.append(error)
        said = f"{len(photos) - before - len(failed)} done"
        said += f", {before} done before" if before else ""
        said += f", {len(failed)} failed" if failed else ""
        place = self.out
        if len(photos) == 1:
            place = place / photos[0].name / (self._page if self.html else "")
        print(said if len(failed) == len(photos) else f"{said}: {place}")
        for failure in failed:
            print(f"failed: {failure}", file=sys.stderr)
        return 1 if failed else 0

    def _do(self, photo: Photo) -> bool:
        """Make the outputs of a picture; returns whether there was anything to do."""
        outputs = Outputs(self.out / photo.name, self.task)
        status = photo.path.stat()
        settings = {**self._settings, "photo": [status.st_size, status.st_mtime_ns]}
        if not self.overwrite and outputs.made_with(settings):
            return False
        outputs.write(self._files(photo), settings)
        return True

    def _files(self, photo: Photo) -> dict[str, bytes]:
        pixels = read_photo(photo.path, self.value_range)
        scene = photo_scene(pixels, self.method, self.size, photo.path).to(self._device)
        if self.task == "semantic":
            model = self._segmentation_model
            prediction = model.predict(scene.image, scene.superpixels, scene.full_superpixels)
            classes = model.classes or [f"class {n}" for n in range(model.num_classes)]
            return semantic_files(prediction.pixels.numpy(), classes, pixels)
        attention = self.html or self.task == "figure_ground"
        hierarchy = segment(self._backbone, scene, self.levels, attention)
        if self.task == "figure_ground":
            return figure_ground_files(scene, hierarchy, pixels)
        self._check_count(scene.count, photo)
        tree = tree_of(scene, hierarchy, pixels)
        superpixels = scene.full_superpixels.numpy()
        if self.task == "open":
            folder = self.out / photo.name / "open_encodings"
            named = self._open.name(tree, superpixels, pixels, folder, photo.path)
            files = {
                f"open_{name}": content
                for name, content in hierarchy_files(scene, tree, pixels, named.facts()).items()
            }
            files |= named.files(tree, superpixels, pixels)
            names = named.names
        else:
            files, names = hierarchy_files(scene, tree, pixels), []
        if self.html:
            title, heads = listing([photo.path.name]), heads_of(hierarchy, tree)
            page = hierarchy_page(title, pixels, superpixels, tree, *heads, names)
            files[self._page] = page.encode()
        return files

    @property
    def _page(self) -> str:
        return "open_page.html" if self.task == "open" else "page.html"

    @cached_property
    def _open(self) -> OpenVocabulary:
        assert self.classes is not None
        depth = len(self._levels)
        return OpenVocabulary(
            self.classes, self.prompt, self.image_text, self.object_level, depth, self._device
        )

    @cached_property
    def _segmentation_model(self) -> SegmentationModel:
        return load_segmentation_model(self._given_checkpoint, self.weights).to(self._device).eval()

    @cached_property
    def _backbone(self) -> Backbone:
        if self.task == "semantic":
            return self._segmentation_model.backbone
        backbone = load_pretrained(
            self._given_checkpoint, weights=self.weights, sampling=self.sampling
        )
        return backbone.to(self._device).eval()

    @property
    def _given_checkpoint(self) -> str:
        if self.checkpoint is None:
            raise UserError(
                "no --checkpoint; give one of a run of yours, or the name of a published one: "
                + ", ".join(PUBLISHED)
            )
        return self.checkpoint

    @cached_property
    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"--device {self.device} cannot be used: {reason}") from error
        return device

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """All that decides what the outputs are, but for the picture."""
        model = self._segmentation_model if self.task == "semantic" else self._backbone
        return {
            "version": cast_exp.__version__,
            "task": self.task,
            "weights": fingerprint(model),
            "levels": self._levels and list(self._levels),
            "size": self.size,
            "superpixels": repr(self.method),
            "sampling": self.sampling,
            "html": self.html,
            "value_range": self.value_range and list(self.value_range),
            **(self._open.settings() if self.task == "open" else {}),
        }

    @property
    def _levels(self) -> tuple[int | float, ...]:
        config = self._backbone.config
        assert config is not None
        return config.levels if self.levels is None else self.levels

    def _check_levels(self) -> None:
        """Find mistakes in the levels before any work."""
        config = self._backbone.config
        assert config is not None
        if self.task in _TREES and self._backbone.look().depth == 0:
            raise UserError(f"{self.checkpoint} groups nothing: no hierarchy; take a CAST")
        if self.levels is not None:
            given = f"--levels {','.join(map(str, self.levels))}"
            check_levels(self.levels, given)
            if len(self.levels) > len(config.levels):
                raise UserError(
                    f"{given}: the model has {len(config.levels)} groupings; give at most that many"
                )
        if self.task in _TREES and self._levels and self._levels[0] > self.method.count:
            raise UserError(
                f"{self.method.count} superpixels cannot make {self._levels[0]} segments; set "
                "--superpixels higher or --levels lower"
            )

    def _check_words(self) -> None:
        """Find mistakes in the words, and load what compares them, before any work."""
        if self.task == "open":
            if self.classes is None:
                raise UserError('--task open needs names, as in --classes "dog,grass,sky"')
            _ = self._open
        elif self.classes is not None:
            raise UserError(f"--classes is for --task open; leave it out with --task {self.task}")

    def _check_count(self, count: int, photo: Photo) -> None:
        if self._levels and self._levels[0] > count:
            raise UnreadableImage(
                str(photo.path),
                f"it has only {count} superpixels, fewer than {self._levels[0]} segments; set "
                "--superpixels higher or --levels lower",
            )
