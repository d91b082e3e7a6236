"""How well the attention of the class token tells figure from ground."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from rich.progress import track
from torch import Tensor

from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.scene_samples import nearest
from cast_exp.errors import UserError
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics import FigureGroundJaccard, head_jaccards
from cast_exp.metrics.figure_ground import MASS_RULES, MassRule, ObjectRule
from cast_exp.models import Backbone, Hierarchy
from cast_exp.models.files import fingerprint
from cast_exp.models.tokens import Sampling
from cast_exp.ops import kept_mass
from cast_exp.viz.figure_ground import HeadMaps, figure_ground_sheet

log = logging.getLogger(__name__)


class FigureGround:
    """Jaccard index between objects and what attention heads see (paper, main text and appendix).

    The class token of one block attends to the segments of a level; the segments with the largest
    attention that hold 60 % of it are a head's mask, brought to pixels by the hierarchy (or, for a
    ViT, from its patches). Of all heads the best counts. Objects are the instances of the data set,
    or, where it has none, the semantic classes in the image but for the background; void counts
    neither for nor against.

    Files: `images.jsonl`, which has for each image the figures of each head, for the union of its
    objects and for each of them, and from which an interrupted evaluation goes on;
    `pictures/<index>.png`.

    Args:
        scenes: Images with "instance", or else with "semantic" and a background.
        block: Block whose attention is read, counted over all stages from 0, or from the end if
            negative; None for the one the paper reads, the last of the stage before the last (of a
            ViT or ToMe, the last).
        levels: Segments at each level, as counts or fractions, for a CAST; None for its own.
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

    headline: ClassVar[tuple[str, ...]] = ("jaccard",)

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
        self.scenes = scenes
        self.block = block
        self.levels = levels if levels is None else list(levels)
        self.mass = mass
        self.rule: ObjectRule = rule
        self.mass_rule: MassRule = mass_rule
        self.sampling: Sampling | None = sampling
        self.limit = limit
        self.pictures = pictures

    def check(self, subject: Subject | None = None) -> None:
        """Look whether there are objects to find, and the block and levels to find them with.

        Raises:
            UserError: There are none, or nothing is background.
        """
        if subject is not None:
            self._look(subject.look, subject.backbone)
        try:
            self.scenes.need("instance")
        except UserError:
            self.scenes.need("semantic")
            if self.scenes.semantic_classes[:1] != ["background"]:
                raise UserError(
                    "figure_ground: every class of these data is an object, none is the "
                    "background; choose data with a class `background` or with instances"
                ) from None

    @torch.no_grad()
    def __call__(self, subject: Subject, device: torch.device, folder: Path) -> dict[str, float]:
        """Evaluate a backbone.

        Args:
            subject: What to evaluate.
            device: Where the network runs; the rest is done on the CPU.
            folder: For what is listed above.

        Returns:
            "jaccard", and "jaccard_<rule>_<mass_rule>" for all four, in 0..1; "images", the number
            of those that have an object, and "without_object", that of the others.

        Raises:
            UserError: The backbone has no such block or levels, or no image has an object.
        """
        subject = subject.reading(self.sampling)
        metric = FigureGroundJaccard(self.rule, self.mass_rule)
        records = _Records(folder / "images.jsonl", self._key(subject.backbone))
        scenes = self.scenes.scenes("val", self.limit)
        for scene in track(scenes, "figure and ground", len(scenes)):
            jaccards = records.get(scene.index)
            if jaccards is None:
                heads, segments = self._attend(subject.backbone, scene, device)
                objects = objects_of(scene)
                jaccards = head_jaccards(heads, segments, objects, self.mass)
                if jaccards.size(-1) > 1 and int(metric.images) < self.pictures:
                    sheet = self._sheet(scene, heads, segments, objects, jaccards)
                    path = folder / "pictures" / f"{scene.index:05d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(sheet).save(path)
                records.add(scene, jaccards)
            metric.update(jaccards)
        if not metric.images:
            raise UserError(
                f"figure_ground: none of the {len(scenes)} validation images has an object; "
                "set limit higher"
            )
        figures = {name: float(value) for name, value in metric.compute().items()}
        return figures | {"images": float(metric.images), "without_object": float(metric.empty)}

    def _attend(
        self, backbone: Backbone, scene: Scene, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Attention (heads, N), and the token of each pixel of the truth (H, W)."""
        on_device = scene.to(device)
        encode = partial(backbone, on_device.image, on_device.superpixels)
        hierarchy = self._look(encode, backbone)
        assert hierarchy.attention is not None
        return hierarchy.attention.heads[0].float().cpu(), _segments(hierarchy, on_device)

    def _look(self, encode: Callable[..., Hierarchy], backbone: Backbone) -> Hierarchy:
        block = backbone.figure_block if self.block is None else self.block
        return encode(levels=self.levels, last_grouping=False, attention=block)

    def _sheet(
        self, scene: Scene, heads: Tensor, segments: Tensor, objects: Tensor, jaccards: Tensor
    ) -> Any:
        sizes = segments.flatten().bincount(minlength=heads.size(-1))
        masks = kept_mass(heads, self.mass, sizes if self.mass_rule == "pixels" else None)
        picture = self.scenes.denormalise(scene.image)[0].permute(1, 2, 0)
        maps = HeadMaps(
            (picture * 255).round().byte().numpy(),
            heads[:, segments].numpy(),
            masks[:, segments].numpy(),
            objects.numpy(),
            jaccards[MASS_RULES.index(self.mass_rule), :, 0].numpy(),
        )
        return figure_ground_sheet([maps])

    def _key(self, backbone: Backbone) -> dict[str, Any]:
        """What the figures of an image depend on."""
        return self.scenes.identity("val") | {
            "weights": fingerprint(backbone),
            "block": self.block,
            "levels": self.levels,
            "sampling": self.sampling,
            "mass": self.mass,
            "size": self.scenes.image_size,
            "fit": self.scenes.fit,
        }


def objects_of(scene: Scene) -> Tensor:
    """Objects of a scene: instances, or else classes; 0 for none, 255 for void, int64 (H, W)."""
    truth = scene.truth
    drawn = truth["instance"] if "instance" in truth else truth["semantic"]
    return torch.from_numpy(np.asarray(drawn, dtype=np.int64))


def _segments(hierarchy: Hierarchy, scene: Scene) -> Tensor:
    """Token that each pixel of the truth belongs to, int64 (H, W)."""
    level = hierarchy.attention.level if hierarchy.attention else 0
    if hierarchy.superpixels is scene.superpixels:
        return scene.paint(hierarchy.labels(level)[0])
    patches = hierarchy.segmentation(level)[0].cpu().numpy()  # of a ViT
    height, width = scene.full_superpixels.shape
    return torch.from_numpy(nearest(patches, height, width))


class _Records:
    """Figures of the images done so far, a line of JSON for each, written at once.

    Args:
        path: The file.
        key: What they depend on, the first line; a file of something else is begun anew.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[int, Tensor] = {}
        if not self._read(dict(key)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(key) + "\n", encoding="utf-8")

    def get(self, index: int) -> Tensor | None:
        """What `head_jaccards` said of an image; None if it is not done."""
        return self.done.get(index)

    def add(self, scene: Scene, jaccards: Tensor) -> None:
        """Keep what it says."""
        record: dict[str, Any] = {"index": scene.index, "path": scene.path}
        for rule, by_head in zip(MASS_RULES, jaccards, strict=True):
            record[rule] = by_head.tolist()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _read(self, key: dict[str, Any]) -> bool:
        if not self.path.is_file():
            return False
        *lines, _ = self.path.read_text(encoding="utf-8").split("\n")  # the last was cut off
        if not lines or json.loads(lines[0]) != key:
            log.warning("%s is of another backbone or other data; begun anew", self.path)
            return False
        self.path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for line in lines[1:]:
            record = json.loads(line)
            values = torch.tensor([record[rule] for rule in MASS_RULES], dtype=torch.float64)
            self.done[record["index"]] = values
        log.info("going on after %d images from %s", len(self.done), self.path)
        return True
