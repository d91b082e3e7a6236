"""How well the attention of the class token tells figure from ground."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cast_exp.checkpoints.files import fingerprint
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.transforms import denormalise
from cast_exp.errors import UserError
from cast_exp.evaluation.records import Place, Record
from cast_exp.evaluation.scenes import Draw, SceneEvaluation
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics import FigureGroundJaccard, head_jaccards
from cast_exp.metrics.head_jaccard import MASS_RULES, MassRule, ObjectRule
from cast_exp.models import Backbone, Hierarchy
from cast_exp.models.tokens import Sampling
from cast_exp.ops import kept_mass
from cast_exp.output.pictures import to_bytes
from cast_exp.viz.draw import Pixels
from cast_exp.viz.head_maps import HeadMaps, figure_ground_sheet

_TRUTHS = ("", "class_")
"""What stands before the names of figures: of objects, and of classes beside instances."""


class FigureGround(SceneEvaluation):
    """Jaccard index between objects and what attention heads see (paper, main text and appendix).

    The class token of one block attends to the segments of a level; the segments with the largest
    attention that hold 60 % of it are a head's mask, brought to pixels by the hierarchy (or, for a
    ViT, from its patches). Of all heads the best counts. Objects are the instances of the data set,
    or, where it has none, the semantic classes in the image but for the background; void counts
    neither for nor against. Where there are both, figures of the classes stand beside.

    Figures: "jaccard", and "jaccard_<rule>_<mass_rule>" for all four, in 0..1; "images", the number
    of those that have an object, and "without_object", that of the others. Those of classes beside
    instances are called "class_jaccard" and so on.

    Files: `images.jsonl`, which has for each image the figures of each head, for the union of its
    objects and for each of them, and from which an interrupted evaluation goes on;
    `pictures/<index>.png`.

    Args:
        scenes: Images with "instance", or else with "semantic" and a background.
        block: Block whose attention is read, counted over all stages from 0, or from the end if
            negative; None for the one the paper reads, the last of the stage before the last (of a
            ViT or ToMe, the last).
        levels: Segments at each level, as counts or fractions, for a CAST; None for its own. A ViT
            has none.
        mass: Share of its attention that a head's mask holds.
        rule: Which figure is called "jaccard": `object` is the average over objects, each with its
            best head; `union` is that of all objects of an image together.
        mass_rule: Likewise: a mask holds its share in the fewest segments (`tokens`), or in the
            fewest `pixels`, where the attention to a segment is spread over those it has.
        sampling: How superpixels read the feature grid, however the model was pretrained; None for
            the way it was.
        limit: At most that many validation images; None for all.
        pictures: Draw that many images, the first ones with an object.
    """

    headline: ClassVar[tuple[str, ...]] = ("jaccard", "class_jaccard")

    def __init__(
        self,
        scenes: SceneDataModule,
        block: int | None = None,
        levels: Sequence[int | float] | None = None,
        mass: Annotated[float, Field(gt=0, lt=1)] = 0.6,
        rule: ObjectRule = "object",
        mass_rule: MassRule = "tokens",
        sampling: Sampling | None = "interpolated",
        limit: Annotated[int, Field(ge=1)] | None = None,
        pictures: Annotated[int, Field(ge=0)] = 8,
    ) -> None:
        super().__init__(scenes, ["val"], limit, pictures)
        self.block = block
        self.levels = levels if levels is None else list(levels)
        self.mass = mass
        self.rule: ObjectRule = rule
        self.mass_rule: MassRule = mass_rule
        self.sampling = sampling

    def check(self, subject: Subject | None = None) -> None:
        """Look whether there are objects to find, and the block and levels to find them with.

        Raises:
            UserError: There are none, or nothing is background.
        """
        if subject is not None:
            self._look(subject.backbone.look, subject.backbone)
        try:
            self.scenes.need("instance")
        except UserError:
            self.scenes.need("semantic")
            if self.scenes.semantic_classes[:1] != ["background"]:
                raise UserError(
                    "figure_ground: every class of these data is an object, none is the "
                    "background; choose data with a class `background` or with instances"
                ) from None

    def key(self) -> dict[str, Any]:
        """What the figures of an image depend on."""
        return {
            "weights": fingerprint(self.subject.backbone),
            "block": self.block,
            "levels": self.levels,
            "sampling": self.sampling,
            "mass": self.mass,
            "truths": list(_TRUTHS),
        }

    def measure(self, scene: Scene) -> tuple[Record, Draw]:
        """What `head_jaccards` says of a scene, by mass rule.

        Raises:
            UserError: The backbone has no such block or levels.
        """
        on_device = scene.to(self.device)
        backbone = self.subject.backbone
        encode = partial(backbone, on_device.image, on_device.superpixels)
        hierarchy = self._look(encode, backbone)
        assert hierarchy.attention is not None
        heads = hierarchy.attention.heads[0].float().cpu()
        segments, objects = _segments(hierarchy, on_device), objects_of(scene)
        truths = {"": objects} | self._classes_beside(scene)
        with self.in_full_precision():
            found = {k: head_jaccards(heads, segments, truths[k], self.mass) for k in truths}
        record: Record = {
            whose + rule: by.tolist()
            for whose, each in found.items()
            for rule, by in zip(MASS_RULES, each, strict=True)
        }
        jaccards = found[""]
        return record, partial(self._sheet, scene, heads, segments, objects, jaccards)

    def shows(self, record: Record) -> bool:
        """Whether there is an object."""
        return len(record[MASS_RULES[0]][0]) > 1

    def picture(self, where: Place) -> Path:
        """The file that shows an image."""
        return self.folder / "pictures" / f"{where[1]:05d}.png"

    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        """Average over the images.

        Raises:
            UserError: No image has an object.
        """
        counted = {whose: self._counted(records, whose) for whose in _TRUTHS}
        objects = counted[""]
        if not objects.images:
            raise UserError(
                f"figure_ground: none of the {len(self.chosen)} validation images has an object; "
                "set limit higher"
            )
        figures = {
            whose + name: float(value)
            for whose, metric in counted.items()
            if metric.images
            for name, value in metric.compute().items()
        }
        return figures | {"images": float(objects.images), "without_object": float(objects.empty)}

    def _counted(self, records: Sequence[Record], whose: str) -> FigureGroundJaccard:
        metric = FigureGroundJaccard(self.rule, self.mass_rule, sync_on_compute=False)
        for record in records:
            if whose + MASS_RULES[0] in record:
                values = [record[whose + rule] for rule in MASS_RULES]
                metric.update(torch.tensor(values, dtype=torch.float64))
        return metric

    def _classes_beside(self, scene: Scene) -> dict[str, Tensor]:
        """Classes of a scene beside its instances, 0 for the background, if it has both."""
        both = {"instance", "semantic"} <= scene.truth.keys()
        if not both or self.scenes.semantic_classes[:1] != ["background"]:
            return {}
        return {"class_": torch.from_numpy(np.asarray(scene.truth["semantic"], dtype=np.int64))}

    def _look(self, encode: Callable[..., Hierarchy], backbone: Backbone) -> Hierarchy:
        block = backbone.figure_block if self.block is None else self.block
        return encode(
            levels=None if backbone.no_levels else self.levels,
            last_grouping=False,
            attention=block,
            sampling=self.sampling,
        )

    def _sheet(
        self, scene: Scene, heads: Tensor, segments: Tensor, objects: Tensor, jaccards: Tensor
    ) -> Pixels:
        sizes = segments.flatten().bincount(minlength=heads.size(-1))
        masks = kept_mass(heads, self.mass, sizes if self.mass_rule == "pixels" else None)
        maps = HeadMaps(
            to_bytes(denormalise(scene.image[0])),
            heads[:, segments].numpy(),
            masks[:, segments].numpy(),
            objects.numpy(),
            jaccards[MASS_RULES.index(self.mass_rule), :, 0].numpy(),
        )
        return figure_ground_sheet([maps])


def objects_of(scene: Scene) -> Tensor:
    """Objects of a scene: instances, or else classes; 0 for none, 255 for void, int64 (H, W)."""
    truth = scene.truth
    drawn = truth["instance"] if "instance" in truth else truth["semantic"]
    return torch.from_numpy(np.asarray(drawn, dtype=np.int64))


def _segments(hierarchy: Hierarchy, scene: Scene) -> Tensor:
    """Token that each pixel of the truth belongs to, int64 (H, W)."""
    level = hierarchy.attention.level if hierarchy.attention else 0
    return hierarchy.labels(level)[0].cpu()[hierarchy.tokens_at(scene.full_superpixels[None])[0]]
