"""How well the levels of a hierarchy agree with what people have drawn, beside simple baselines."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cast_exp.checkpoints.files import fingerprint
from cast_exp.checkpoints.load import load_pretrained
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.datasets import Split
from cast_exp.data.transforms import denormalise
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation.hierarchy.clustering import cluster_levels
from cast_exp.evaluation.hierarchy.merging import merge_levels
from cast_exp.evaluation.hierarchy.report import TITLES, write_report
from cast_exp.evaluation.hierarchy.vit import load_vit, vit_levels
from cast_exp.evaluation.records import Record
from cast_exp.evaluation.scenes import Draw, SceneEvaluation
from cast_exp.evaluation.subject import Subject
from cast_exp.extras import need_extra
from cast_exp.metrics import HierarchyMetrics
from cast_exp.models import Backbone, Hierarchy
from cast_exp.models.pooling import check_levels
from cast_exp.models.tokens import Sampling
from cast_exp.output.pictures import to_bytes
from cast_exp.viz import comparison_sheet
from cast_exp.viz.draw import Pixels
from cast_exp.viz.layers import Layers

log = logging.getLogger(__name__)

Baseline = Literal["kmeans", "kmedoids", "color"]
Method = Callable[[Scene, Hierarchy], list[Tensor]]
"""Segmentations of a scene from fine to coarse, int64 (H, W) at the size of the truth."""

Levels = Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)]

MODEL = "model"
_LEVELS = (64, 32, 16, 8)  # the paper's


class HierarchyEvaluation(SceneEvaluation):
    """Measures the levels of a hierarchy against regions that people have drawn.

    The backbone runs once for each image, with `levels` in the place of its own. The baselines
    segment the same images into the same numbers of segments, nested as well: `kmeans` and
    `kmedoids` cluster the backbone's own superpixel tokens (those of the first stage; paper,
    appendix on hierarchical segmentation), `color` merges superpixels by colour and has learned
    nothing. With `vit`, spherical K-Means clusters the pixels by the tokens of a ViT, as the
    official release does for its comparison. With `trained_kmedoids`, another model, trained with
    K-Medoids for its groupings (the paper's baseline), segments the images by itself.

    Figures: those of `HierarchyMetrics` with levels named by their counts, and "segments/64", the
    mean number of segments there really are; those of baselines have the name of the baseline
    before: "kmeans/covering/64".

    Files: `levels.csv` and `levels.md` (every figure), `curves.png`, `pictures/<split><index>.png`
    and `.npz` (see `Layers`), and `images.jsonl`, from which an interrupted evaluation goes on.

    Args:
        scenes: Images with "regions".
        levels: Segments at each level, fine to coarse; None for the backbone's own. An image of
            fewer superpixels has that many.
        baselines: What else to measure.
        vit: Checkpoint of a ViT for spherical K-Means; without one there is no such row.
        trained_kmedoids: Checkpoint of a model trained with K-Medoids; likewise.
        one_to_one: Match boundaries as the benchmark of BSDS500 does, too: "bsds_f" and others; see
            `HierarchyMetrics`. A second or two for each method and image; needs SciPy.
        splits: Whose images.
        sampling: How superpixels read the feature grid; None for the way the model was trained.
        limit: At most that many images of each split; None for all.
        pictures: Draw that many images, the first ones.
        seed: Seed of the random start of spherical K-Means, and of the colours of pictures.
    """

    headline: ClassVar[tuple[str, ...]] = (
        "covering_ods",
        "covering_ois",
        "boundary_f_ods",
        "bsds_f_ods",
        "bsds_f_ois",
    )

    def __init__(
        self,
        scenes: SceneDataModule,
        levels: Levels | None = _LEVELS,
        baselines: Sequence[Baseline] = ("kmeans", "kmedoids", "color"),
        vit: str | None = None,
        trained_kmedoids: str | None = None,
        one_to_one: bool = False,
        splits: Sequence[Split] = ("val",),
        sampling: Sampling | None = None,
        limit: Annotated[int, Field(ge=1)] | None = None,
        pictures: Annotated[int, Field(ge=0)] = 4,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(scenes, splits, limit, pictures)
        self.given = levels
        if levels is not None:
            check_levels(levels, f"evaluation.hierarchy.levels={list(levels)}")
        self.baselines = list(baselines)
        self.vit = vit
        self.trained_kmedoids = trained_kmedoids
        self.one_to_one = one_to_one
        self.sampling = sampling
        self.seed = seed

    def check(self, subject: Subject | None = None) -> None:
        """Look whether there are regions to compare with, before anything is computed.

        Raises:
            UserError: There are none, the ViT cannot be loaded or is none, or the backbone has
                fewer groupings than there are levels, or no counts of its own; `one_to_one` without
                SciPy.
        """
        if self.one_to_one:
            need_extra("eval", "evaluation.hierarchy.one_to_one=true", "scipy")
        if subject is not None:
            if subject.backbone.patch_size:
                raise UserError(
                    "a ViT groups nothing, so it has no hierarchy; name it beside the checkpoint "
                    "of a CAST: evaluation.hierarchy.vit=CKPT"
                )
            subject.backbone.look(levels=self._levels_for(subject))
        for split in self.splits:
            self.scenes.need("regions", split)
        _ = self._vit, self._other  # loads them

    def prepare(self) -> None:
        """Look what is to do, and by which methods."""
        self.levels = self._levels_for(self.subject)
        super().prepare()
        baselines: dict[str, Method] = {
            "kmeans": partial(self._cluster, "kmeans"),
            "kmedoids": partial(self._cluster, "kmedoids"),
            "color": self._merge,
        }
        self.methods: dict[str, Method] = {MODEL: self._own}
        self.methods |= {name: baselines[name] for name in self.baselines}
        if self._vit is not None:
            self.networks.append(self._vit.eval())
            self.methods["vit"] = partial(self._spherical, self._vit)
        if self._other is not None:
            self.networks.append(self._other.eval())
            self.methods["trained_kmedoids"] = partial(self._segmented, self._other)
        if self._vit is None:
            log.info("no ViT is compared with; evaluation.hierarchy.vit=CHECKPOINT names one")

    def key(self) -> dict[str, Any]:
        """What the figures of an image depend on."""
        return {
            "weights": fingerprint(self.subject.backbone),
            "levels": self.levels,
            "sampling": self.sampling,
            "baselines": self.baselines,
            "vit": str(self.vit),
            "trained_kmedoids": str(self.trained_kmedoids),
            "one_to_one": self.one_to_one,
            "seed": self.seed,
        }

    def measure(self, scene: Scene) -> tuple[Record, Draw]:
        """State of the metric after this scene alone, and numbers of segments, by method.

        Raises:
            UserError: The backbone has fewer groupings than there are levels.
        """
        on_device = scene.to(self.device)
        hierarchy = self.subject.backbone(
            on_device.image, on_device.superpixels, levels=self.levels, sampling=self.sampling
        )
        found = {name: method(scene, hierarchy) for name, method in self.methods.items()}
        record = {}
        for name, levels in found.items():
            metric = self._metric()
            with self.in_full_precision():
                metric.update(levels, scene.truth["regions"], scene.truth.get("semantic"))
            record[name] = {state: value.tolist() for state, value in _states(metric).items()}
            record[name]["segments"] = [len(np.unique(level)) for level in levels]
        return record, partial(self._draw, scene, found)

    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        """Sum up, and write the report.

        Raises:
            UserError: There is no image.
        """
        if not records:
            raise UserError("there is no image to measure hierarchies on, or none can be read")
        figures = {name: self._sum([each[name] for each in records]) for name in self.methods}
        if rank() == 0:
            write_report(figures, self.levels, self.folder)
        own = figures.pop(MODEL)
        return own | {
            f"{method}/{name}": value
            for method, found in figures.items()
            for name, value in found.items()
        }

    def _sum(self, records: Sequence[Record]) -> dict[str, float]:
        """The figures of a method."""
        metric = self._metric()
        for record in records:
            states = _states(metric).items()
            metric.merge_state(
                {name: torch.tensor(record[name], dtype=start.dtype) for name, start in states}
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was called before the ``update`` method")
            figures: dict[str, float] = metric.compute()
        means = torch.tensor([record["segments"] for record in records]).sum(0) / len(records)
        named = zip(self.levels, means.tolist(), strict=True)
        return figures | {f"segments/{level}": mean for level, mean in named}

    def _metric(self) -> HierarchyMetrics:
        names = [str(level) for level in self.levels]
        return HierarchyMetrics(names, one_to_one=self.one_to_one, sync_on_compute=False)

    def _levels_for(self, subject: Subject) -> list[int]:
        if self.given is not None:
            return [int(level) for level in self.given]
        own = subject.backbone.config.levels if subject.backbone.config else ()
        if not own or min(own) < 1:
            raise UserError(
                f"evaluation.hierarchy.levels=null stands for the model's own, but it has "
                f"{list(own) or 'none'}; set numbers, as in evaluation.hierarchy.levels=[16,8,4]"
            )
        return [int(level) for level in own]

    @cached_property
    def _vit(self) -> Backbone | None:
        if self.vit is None:
            return None
        return load_vit(self.vit, "evaluation.hierarchy.vit")

    @cached_property
    def _other(self) -> Backbone | None:
        if self.trained_kmedoids is None:
            return None
        other = load_pretrained(self.trained_kmedoids)
        if other.config is None or other.config.grouping != "KMedoids":
            raise UserError(
                f"evaluation.hierarchy.trained_kmedoids={self.trained_kmedoids} was not trained "
                "with K-Medoids; name a checkpoint of model=kmedoids_small or so, or null"
            )
        other.look(levels=self.given)
        return other

    # -- methods ---------------------------------------------------------------------------------

    def _own(self, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        labels = [hierarchy.labels(level + 1)[0] for level in range(len(self.levels))]
        return [scene.paint(level) for level in labels]

    def _segmented(self, other: Backbone, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        there = scene.to(self.device)
        return self._own(scene, other(there.image, there.superpixels, levels=self.levels))

    def _cluster(
        self, method: Literal["kmeans", "kmedoids"], scene: Scene, hierarchy: Hierarchy
    ) -> list[Tensor]:
        tokens = hierarchy.levels[0].tokens[0].float().cpu()
        with self.in_full_precision():
            levels = cluster_levels(tokens, self.levels, method)
        return [scene.paint(level) for level in levels]

    def _merge(self, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        image = denormalise(scene.image[0])
        levels = merge_levels(image, scene.superpixels.map[0], self.levels)
        return [scene.paint(level) for level in levels]

    def _spherical(self, vit: Backbone, scene: Scene, hierarchy: Hierarchy) -> list[Tensor]:
        return vit_levels(vit, scene, self.levels, self.seed)

    def _draw(self, scene: Scene, found: Mapping[str, Sequence[Tensor]]) -> tuple[Pixels, Layers]:
        regions = [np.asarray(drawn, dtype=np.int64) for drawn in scene.truth["regions"]]
        levels = {name: [level.numpy() for level in own] for name, own in found.items()}
        sheet = comparison_sheet(
            to_bytes(denormalise(scene.image[0])),
            regions,
            {TITLES[name]: own for name, own in levels.items()},
            self.seed,
        )
        own = zip(self.levels, levels[MODEL], strict=True)
        named = {f"level {count}": labels for count, labels in own}
        named["people"] = regions[0]
        return sheet, Layers.of_levels(scene.pixels, named)


def _states(metric: HierarchyMetrics) -> dict[str, Tensor]:
    return metric.metric_state  # type: ignore[return-value]
