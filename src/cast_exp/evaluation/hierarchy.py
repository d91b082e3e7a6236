"""How well the levels of a hierarchy agree with what people have drawn, beside simple baselines."""

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from rich.progress import track
from torch import Tensor

from cast_exp.baselines import cluster_levels, merge_levels, spherical_levels
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.datasets import Split
from cast_exp.data.stored import load_tensors, save_tensors
from cast_exp.errors import UserError
from cast_exp.evaluation.hierarchy_report import TITLES, write_report
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics import HierarchyMetrics
from cast_exp.models import Hierarchy, ViT, load_pretrained
from cast_exp.models.files import fingerprint
from cast_exp.models.pooling import check_levels
from cast_exp.models.tokens import Sampling
from cast_exp.viz import comparison_sheet

log = logging.getLogger(__name__)

Baseline = Literal["kmeans", "kmedoids", "color"]
Method = Callable[[Scene, Hierarchy], list[Tensor]]
"""Segmentations of a scene from fine to coarse, int64 (H, W) at the size of the truth."""

MODEL = "model"
_LEVELS = (64, 32, 16, 8)  # the paper's


class HierarchyEvaluation:
    """Measures the levels of a hierarchy against regions that people have drawn.

    The backbone runs once for each image, with `levels` in the place of its own. The baselines
    segment the same images into the same numbers of segments, nested as well: `kmeans` and
    `kmedoids` cluster the backbone's own superpixel tokens (those of the first stage; paper,
    appendix on hierarchical segmentation), `color` merges superpixels by colour and has learned
    nothing. With `vit`, spherical K-Means clusters the pixels by the tokens of a ViT, as the
    official release does for its comparison.

    Files: `levels.csv` and `levels.md` (every figure), `curves.png`, `pictures/<index>.png`, and
    `progress.safetensors`, from which an interrupted evaluation goes on.

    Args:
        scenes: Images with "regions".
        levels: Segments at each level, fine to coarse. An image of fewer superpixels has that many.
        baselines: What else to measure.
        vit: Checkpoint of a ViT for spherical K-Means; without one there is no such row.
        splits: Whose images.
        sampling: How superpixels read the feature grid, however the model was pretrained; None for
            the way it was.
        limit: At most that many images of each split; None for all.
        pictures: Draw that many images, the first ones.
        seed: Seed of the random start of spherical K-Means, and of the colours of pictures.
    """

    headline: ClassVar[tuple[str, ...]] = ("covering_ods", "covering_ois", "boundary_f_ods")

    def __init__(
        self,
        scenes: SceneDataModule,
        levels: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)] = _LEVELS,
        baselines: Sequence[Baseline] = ("kmeans", "kmedoids", "color"),
        vit: str | None = None,
        splits: Sequence[Split] = ("val",),
        sampling: Sampling | None = "interpolated",
        limit: Annotated[int, Field(ge=1)] | None = None,
        pictures: Annotated[int, Field(ge=0)] = 4,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.scenes = scenes
        given = f"evaluation.hierarchy.levels={list(levels)}"
        self.levels = [int(level) for level in check_levels(levels, given)]
        self.baselines = list(baselines)
        self.vit = vit
        self.splits = list(splits)
        self.sampling: Sampling | None = sampling
        self.limit = limit
        self.pictures = pictures
        self.seed = seed

    def check(self, subject: Subject | None = None) -> None:
        """Look whether there are regions to compare with, before anything is computed.

        Raises:
            UserError: There are none, the ViT cannot be loaded or is none, or the backbone has
                fewer groupings than there are levels.
        """
        if subject is not None:
            subject.look(levels=self.levels)
        for split in self.splits:
            self.scenes.need("regions", split)
        self._load_vit()

    @torch.no_grad()
    def __call__(self, subject: Subject, device: torch.device, folder: Path) -> dict[str, float]:
        """Evaluate a backbone.

        Args:
            subject: What to evaluate.
            device: Where the networks run, and spherical K-Means; the rest is done on the CPU.
            folder: For tables, curves, pictures, and what to go on from.

        Returns:
            The figures of `HierarchyMetrics` with levels named by their counts, and "segments/64",
            the mean number of segments there really are; those of baselines have the name of the
            baseline before: "kmeans/covering/64".

        Raises:
            UserError: The backbone has fewer groupings than there are levels.
        """
        subject = subject.reading(self.sampling)
        methods = self._methods(device)
        progress = _Progress(
            folder / "progress.safetensors", self._key(subject), list(methods), self.levels
        )
        for number, split in enumerate(self.splits):
            scenes = self.scenes.scenes(split, self.limit)
            for scene in track(scenes, f"hierarchies of {split} images", len(scenes)):
                if progress.has(number, scene.index):
                    continue
                on_device = scene.to(device)
                hierarchy = subject.backbone(
                    on_device.image, on_device.superpixels, levels=self.levels
                )
                found = {name: method(scene, hierarchy) for name, method in methods.items()}
                if len(progress.done) < self.pictures:
                    self._draw(scene, found, folder / "pictures" / f"{split}{scene.index:05d}.png")
                progress.add(number, scene.index, found, scene.truth)
        if not len(progress.done):
            raise UserError("there is no image to measure hierarchies on, or none can be read")
        figures = progress.figures()
        write_report(figures, self.levels, folder)
        own = figures.pop(MODEL)
        return own | {
            f"{method}/{name}": value
            for method, found in figures.items()
            for name, value in found.items()
        }

    def _methods(self, device: torch.device) -> dict[str, Method]:
        baselines: dict[str, Method] = {
            "kmeans": partial(self._cluster, "kmeans"),
            "kmedoids": partial(self._cluster, "kmedoids"),
            "color": self._merge,
        }
        methods: dict[str, Method] = {MODEL: self._own}
        methods |= {name: baselines[name] for name in self.baselines}
        if vit := self._load_vit():
            methods["vit"] = partial(self._spherical, vit.to(device).eval())
        else:
            log.info("no ViT is compared with; evaluation.hierarchy.vit=CHECKPOINT names one")
        return methods

    def _load_vit(self) -> ViT | None:
        if self.vit is None:
            return None
        vit = load_pretrained(self.vit)
        if not isinstance(vit, ViT):
            raise UserError(
                f"evaluation.hierarchy.vit={self.vit} is a {type(vit).__name__}; name a ViT's "
                "checkpoint, or null"
            )
        return vit

    # -- methods ---------------------------------------------------------------------------------

    def _own(self, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        labels = [hierarchy.labels(level + 1)[0] for level in range(len(self.levels))]
        return [scene.paint(level) for level in labels]

    def _cluster(
        self, method: Literal["kmeans", "kmedoids"], scene: Scene, hierarchy: Hierarchy
    ) -> list[Tensor]:
        tokens = hierarchy.levels[0].tokens[0].float().cpu()
        return [scene.paint(level) for level in cluster_levels(tokens, self.levels, method)]

    def _merge(self, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        image = self.scenes.denormalise(scene.image[0])
        levels = merge_levels(image, scene.superpixels[0], self.levels)
        return [scene.paint(level) for level in levels]

    def _spherical(self, vit: ViT, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        device = next(vit.parameters()).device
        on_device = scene.to(device)
        encoded = vit(on_device.image, on_device.superpixels)
        columns = -(-scene.image.size(-1) // vit.patches.stride)
        tokens = encoded.levels[0].tokens[0].float().T.unflatten(1, (-1, columns))
        size = (scene.full_superpixels.size(0), scene.full_superpixels.size(1))
        levels = spherical_levels(tokens, size, self.levels, seed=(self.seed, scene.index))
        return [level.cpu() for level in levels]

    # -- files -----------------------------------------------------------------------------------

    def _key(self, subject: Subject) -> str:
        """What the figures of an image depend on."""
        made_from = {
            "weights": fingerprint(subject.backbone),
            "levels": self.levels,
            "sampling": self.sampling,
            "baselines": self.baselines,
            "images": [self.scenes.identity(split) for split in self.splits],
            "vit": str(self.vit),
            "size": self.scenes.image_size,
            "fit": self.scenes.fit,
            "seed": self.seed,
        }
        return json.dumps(made_from)

    def _draw(self, scene: Scene, found: Mapping[str, Sequence[Tensor]], path: Path) -> None:
        image = self.scenes.denormalise(scene.image[0]).permute(1, 2, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = comparison_sheet(
            (image * 255).round().byte().numpy(),
            [np.asarray(regions, dtype=np.int64) for regions in scene.truth["regions"]],
            {TITLES[name]: [level.numpy() for level in levels] for name, levels in found.items()},
            self.seed,
        )
        Image.fromarray(sheet).save(path)


class _Progress:
    """Figures so far, on disk after every image.

    Args:
        path: The file.
        key: What the figures depend on; a file of something else is not used.
        methods: Names of the methods.
        levels: Segments at each level.
    """

    def __init__(self, path: Path, key: str, methods: Sequence[str], levels: Sequence[int]) -> None:
        self.path = path
        self.key = key
        self.levels = [str(level) for level in levels]
        self.metrics = {method: HierarchyMetrics(self.levels) for method in methods}
        for metric in self.metrics.values():
            metric.persistent(True)
        self.segments = torch.zeros(len(methods), len(levels))  # sums over the images
        self.done = torch.empty(0, 2, dtype=torch.int64)  # split and index of the images
        if kept := load_tensors(path, key, list(self._tensors())):
            self.segments, self.done = kept["segments"], kept["done"]
            for method, metric in self.metrics.items():
                own = {k: kept[f"{method}.{k}"] for k in metric.state_dict()}
                metric.load_state_dict(own)
            log.info("going on after %d images from %s", len(self.done), path)

    def has(self, split: int, index: int) -> bool:
        """Whether an image has been measured."""
        return bool((self.done == torch.tensor([split, index])).all(1).any())

    def add(
        self,
        split: int,
        index: int,
        found: Mapping[str, Sequence[Tensor]],
        truth: Mapping[str, Any],
    ) -> None:
        """Measure the segmentations of an image by each method."""
        for row, (method, levels) in enumerate(found.items()):
            self.metrics[method].update(levels, truth["regions"], truth.get("semantic"))
            self.segments[row] += torch.tensor([len(np.unique(level)) for level in levels])
        self.done = torch.cat([self.done, torch.tensor([[split, index]])])
        save_tensors(self.path, self._tensors(), self.key)

    def figures(self) -> dict[str, dict[str, float]]:
        """All figures of each method."""
        result = {}
        for row, (method, metric) in enumerate(self.metrics.items()):
            means = self.segments[row] / len(self.done)
            with warnings.catch_warnings():  # all images may have come from the file
                warnings.filterwarnings("ignore", ".*was called before the ``update`` method")
                result[method] = metric.compute()
            result[method] |= {
                f"segments/{level}": mean
                for level, mean in zip(self.levels, means.tolist(), strict=True)
            }
        return result

    def _tensors(self) -> dict[str, Tensor]:
        states = {
            f"{method}.{name}": state
            for method, metric in self.metrics.items()
            for name, state in metric.state_dict().items()
        }
        return states | {"segments": self.segments, "done": self.done}
