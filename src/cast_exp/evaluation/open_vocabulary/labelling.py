"""Segments named in an open vocabulary: objects, and parts among those of their objects."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from cast_exp.checkpoints.files import fingerprint
from cast_exp.data import Scene, SceneDataModule
from cast_exp.data.transforms import denormalise
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation.hierarchy.vit import load_vit, vit_levels
from cast_exp.evaluation.open_vocabulary.regions import Regions, named_maps
from cast_exp.evaluation.open_vocabulary.score import NamingScore, class_rows
from cast_exp.evaluation.records import Record
from cast_exp.evaluation.scenes import Draw, SceneEvaluation
from cast_exp.evaluation.subject import Subject
from cast_exp.metrics.boundary import Tolerance
from cast_exp.models import Backbone, Hierarchy
from cast_exp.models.pooling import check_levels
from cast_exp.models.tokens import Sampling
from cast_exp.naming import PROMPT, ImageText, Namer, Vocabulary, load_image_text
from cast_exp.naming.masks import load_sam, sam_masks
from cast_exp.naming.vocabulary import check_prompts
from cast_exp.output.files import write_csv, write_text
from cast_exp.output.markdown import markdown_table
from cast_exp.output.pictures import to_bytes
from cast_exp.viz.draw import Pixels
from cast_exp.viz.named import named_sheet

log = logging.getLogger(__name__)

Level = Annotated[int, Field(ge=1)]

Method = Callable[[Scene, Hierarchy], Regions]

MODEL = "model"
_COUNTS = ("images", "dropped", "empty_objects", "empty_parts")
_KEY = "evaluation.open_vocabulary"


class OpenVocabulary(SceneEvaluation):
    """Names the segments of a hierarchy by an image-text model, and compares with the truth.

    Each segment is shown to the model alone, at its place, and takes the class whose prompt is
    nearest (official release, notebooks). Objects are looked for among the segments of a coarse
    level, parts among those of a finer one, and only parts of the object around. With `vit`, the
    segments that spherical K-Means makes of a ViT are named likewise; with `sam`, the masks of SAM,
    for both: of objects the largest mask counts, of parts the smallest, and what no mask covers is
    background.

    Figures: see `NamingScore`; those of parts if the data have parts. "images" counts the images,
    "empty_objects" and "empty_parts" clusters without a pixel. Those of other methods have
    their name before: "sam/object_miou".

    Files: `methods.md` and `methods.csv` (every figure), `objects.csv` and `parts.csv` (IoU of each
    class), `pictures/<split><index>.png`, `images.jsonl`, from which an interrupted evaluation goes
    on, and `encodings/`.

    Args:
        scenes: Images with "semantic" truth, and "parts" if there are any.
        model: Image-text model; see `load_image_text`.
        prompts: Texts that names are put into at {}; encodings are averaged over them.
        levels: Segments at each level, fine to coarse.
        object_level: Level of the objects, 1 being the finest; None for the coarsest.
        part_level: Level of the parts; None for the one below the objects.
        vit: Checkpoint of a ViT for spherical K-Means; without one there is no such row.
        sam: Weights of SAM; likewise.
        drop_gaps: Leave images out where a cluster of parts is empty and one of a higher number is
            not, as the official release does; "dropped" says how many.
        tolerance: Distance up to which a boundary counts as found, as a share of the diagonal.
        encodings: Folder for the encodings of segments, which other prompts or classes can be
            compared with; None for `encodings` beside the other files.
        batch_size: Segments encoded at once.
        sampling: How superpixels read the feature grid; None for the way the model was trained.
        limit: At most that many validation images; None for all.
        pictures: Draw that many images, the first ones.
        seed: Seed of the random start of spherical K-Means.
    """

    headline: ClassVar[tuple[str, ...]] = (
        "object_miou",
        "part_miou",
        "object_miou_total",
        "part_miou_total",
        "object_boundary_f",
        "part_boundary_f",
    )

    def __init__(
        self,
        scenes: SceneDataModule,
        model: str = "ViT-B-16/openai",
        prompts: Sequence[str] = (PROMPT,),
        levels: Annotated[Sequence[Level], Field(min_length=1)] = (64, 32, 16, 8),
        object_level: Level | None = None,
        part_level: Level | None = None,
        vit: str | None = None,
        sam: str | None = None,
        drop_gaps: bool = False,
        tolerance: Tolerance = 0.0075,
        encodings: Path | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        sampling: Sampling | None = None,
        limit: Annotated[int, Field(ge=1)] | None = None,
        pictures: Annotated[int, Field(ge=0)] = 8,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(scenes, ["val"], limit, pictures)
        self.model = model
        self.prompts = list(prompts)
        check_prompts(self.prompts, f"{_KEY}.prompts")
        self.levels = [int(level) for level in levels]
        check_levels(self.levels, f"{_KEY}.levels={self.levels}")
        self.object_level = object_level or len(self.levels)
        self.part_level = part_level or max(self.object_level - 1, 1)
        if not self.part_level <= self.object_level <= len(self.levels):
            raise UserError(
                f"{_KEY}: part_level={self.part_level} and object_level={self.object_level} should "
                f"be levels 1 to {len(self.levels)}, parts no coarser than objects"
            )
        self.vit = vit
        self.sam = sam
        self.drop_gaps = drop_gaps
        self.tolerance = tolerance
        self.encodings = encodings
        self.batch_size = batch_size
        self.sampling: Sampling | None = sampling
        self.seed = seed

    def check(self, subject: Subject | None = None) -> None:
        """Look whether there are classes, and what is to name them, before anything is computed.

        Raises:
            UserError: There are none, or no background, a model cannot be loaded, or the backbone
                has fewer groupings than there are levels.
        """
        if subject is not None:
            if subject.backbone.patch_size:
                raise UserError(
                    "a ViT groups nothing, so it has no hierarchy; name it beside the checkpoint "
                    f"of a CAST: {_KEY}.vit=CKPT"
                )
            subject.backbone.look(levels=self.levels)
        self.scenes.need("semantic")
        if self.sam is not None and self.scenes.semantic_classes[:1] != ["background"]:
            raise UserError(
                f"{_KEY}.sam: masks leave pixels out, and these data have no class `background` "
                "for them; choose other data, or sam=null"
            )
        _ = self._vocabulary, self._image_text, self._vit, self._sam  # loads them

    def prepare(self) -> None:
        """Look what is to do, and by which methods."""
        super().prepare()
        self.methods: dict[str, Method] = {MODEL: self._own}
        self.networks.append(self._image_text)
        if self._vit is not None:
            self.networks.append(self._vit.eval())
            self.methods["vit"] = partial(self._clustered, self._vit)
        if self._sam is not None:
            self.networks.append(self._sam.eval())
            self.methods["sam"] = partial(self._masked, self._sam)
        self.namer: Namer | None = None

    def key(self) -> dict[str, Any]:
        """What the figures of an image depend on."""
        return {
            "weights": fingerprint(self.subject.backbone),
            "image_text": self._image_text.identity,
            "prompts": self.prompts,
            "levels": [self.levels, self.object_level, self.part_level],
            "vit": str(self.vit),
            "sam": str(self.sam),
            "tolerance": self.tolerance,
            "sampling": self.sampling,
            "seed": self.seed,
        }

    def measure(self, scene: Scene) -> tuple[Record, Draw]:
        """Score and empty clusters of a scene, by method.

        Raises:
            UserError: The backbone has fewer groupings than there are levels.
        """
        there = scene.to(self.device)
        hierarchy = self.subject.backbone(
            there.image, there.superpixels, levels=self.levels, sampling=self.sampling
        )
        truth = {kind: scene.truth[name] for kind, name in self._truths.items()}
        record: Record = {}
        maps: dict[str, Mapping[str, Tensor]] = {}
        with self.in_full_precision():
            if self.namer is None:  # here, where the model is on the device
                self.namer = Namer(self._image_text, self._vocabulary, self.prompts)
            for name, method in self.methods.items():
                regions = method(scene, hierarchy)
                maps[name] = named_maps(
                    regions,
                    self.namer,
                    self._image_text,
                    denormalise(scene.image[0]).clamp(0, 1),
                    self._encoded(name, scene),
                    self.batch_size,
                )
                score = self._no_score()
                score.update(maps[name], truth)
                empty = {"empty": list(regions.empty), "gap": regions.gap}
                record[name] = score.record() | empty
        return record, partial(self._sheet, scene, truth, maps)

    def figures(self, records: Sequence[Record]) -> dict[str, float]:
        """Sum up, and write the tables.

        Raises:
            UserError: There is no image.
        """
        if not records:
            raise UserError("there is no validation image to name segments of, or none can be read")
        scores = {name: self._no_score() for name in self.methods}
        figures = {}
        for name, score in scores.items():
            own = [record[name] for record in records]
            kept = [record for record in own if not (self.drop_gaps and record["gap"])]
            for record in kept:
                score.add(record)
            empty = [sum(record["empty"][kind] for record in own) for kind in (0, 1)]
            counts = map(float, (len(kept), len(own) - len(kept), *empty))
            figures[name] = score.figures() | dict(zip(_COUNTS, counts, strict=True))
        if rank() == 0:
            self._write(figures, scores)
        own_figures = figures.pop(MODEL)
        return own_figures | {
            f"{method}/{name}": value
            for method, found in figures.items()
            for name, value in found.items()
        }

    @property
    def _truths(self) -> dict[str, str]:
        """What the data call objects and parts."""
        kinds = {"object": "semantic", "part": "parts"}
        return kinds if self._vocabulary.has_parts else {"object": "semantic"}

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        parts: list[str] = getattr(self.scenes.raw("val"), "part_classes", [])
        return Vocabulary.of_data(self.scenes.semantic_classes, parts)

    @cached_property
    def _image_text(self) -> ImageText:
        return load_image_text(self.model)

    @cached_property
    def _vit(self) -> Backbone | None:
        return None if self.vit is None else load_vit(self.vit, f"{_KEY}.vit")

    @cached_property
    def _sam(self) -> nn.Module | None:
        return None if self.sam is None else load_sam(self.sam)

    def _no_score(self) -> NamingScore:
        names = self._names()
        return NamingScore({kind: len(names[kind]) for kind in self._truths}, self.tolerance)

    def _names(self) -> dict[str, tuple[str, ...]]:
        return {"object": self._vocabulary.objects, "part": self._vocabulary.parts}

    def _encoded(self, method: str, scene: Scene) -> Path:
        folder = self.encodings or self.folder / "encodings"
        return folder / method / f"val{scene.index:05d}.safetensors"

    # -- methods ---------------------------------------------------------------------------------

    def _own(self, scene: Scene, hierarchy: Hierarchy) -> Regions:
        levels = (self.object_level, self.part_level)
        objects, parts = (scene.paint(hierarchy.labels(level)[0]) for level in levels)
        counts = [min(self.levels[level - 1], scene.count) for level in levels]
        return Regions.of(objects, parts, (counts[0], counts[1]))

    def _clustered(self, vit: Backbone, scene: Scene, hierarchy: Hierarchy) -> Regions:
        levels = vit_levels(vit, scene, self.levels, self.seed)
        at = (self.object_level - 1, self.part_level - 1)
        return Regions.of(levels[at[0]], levels[at[1]], (self.levels[at[0]], self.levels[at[1]]))

    def _masked(self, sam: nn.Module, scene: Scene, hierarchy: Hierarchy) -> Regions:
        masks = sam_masks(sam, scene.pixels)
        return Regions(masks, masks)

    # -- files -----------------------------------------------------------------------------------

    def _write(
        self, figures: Mapping[str, Mapping[str, float]], scores: Mapping[str, NamingScore]
    ) -> None:
        columns = [*figures[MODEL]]
        rows = [["method", *columns]]
        rows += [
            [name, *(_text(*each) for each in found.items())] for name, found in figures.items()
        ]
        write_csv(self.folder / "methods.csv", rows)
        write_text(self.folder / "methods.md", markdown_table(rows, numbers=True))
        for kind in self._truths:
            write_csv(self.folder / f"{kind}s.csv", class_rows(self._names()[kind], scores, kind))

    def _sheet(
        self, scene: Scene, truth: Mapping[str, Any], maps: Mapping[str, Mapping[str, Tensor]]
    ) -> Pixels:
        rows = [
            ({"truth": truth[kind]} | {n: found[kind].numpy() for n, found in maps.items()}, names)
            for kind, names in self._names().items()
            if kind in truth
        ]
        return named_sheet(to_bytes(denormalise(scene.image[0])), rows)


def _text(name: str, value: float) -> str:
    return f"{value:.0f}" if name in _COUNTS else f"{value:.4f}"
