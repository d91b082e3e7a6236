"""How many images the classifier that was trained names right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from cast_exp.data import ImageDataModule
from cast_exp.data.loader import BatchLoader
from cast_exp.data.transforms import denormalise
from cast_exp.distributed import rank
from cast_exp.errors import UserError
from cast_exp.evaluation.base import Evaluation
from cast_exp.evaluation.confusion import write_confusion
from cast_exp.evaluation.subject import Subject, check_classes
from cast_exp.ops import contingency
from cast_exp.output.files import atomic_write, write_csv
from cast_exp.output.pictures import to_bytes
from cast_exp.tasks.base import Readout, read_out
from cast_exp.viz import NamedPicture, prediction_sheet
from cast_exp.viz.draw import Pixels

_BEST, _SHOWN = 5, 3


@dataclass(frozen=True)
class Named:
    """What images are taken for, on the CPU.

    Attributes:
        index: Number of each image in its data set, int64 (N,).
        label: Its class, int64 (N,).
        first: The class it is taken for, int64 (N,).
        best: The five most probable classes, or as many as there are, int64 (N, 5).
        share: Their probabilities, float32 (N, 5).
    """

    index: Tensor
    label: Tensor
    first: Tensor
    best: Tensor
    share: Tensor

    @property
    def hits(self) -> dict[str, Tensor]:
        """Whether an image is named right, and whether its class is among the best, bool (N,)."""
        among = (self.best == self.label[:, None]).any(1)
        return {"top1": self.first == self.label, "top5": among}

    def take(self, rows: Tensor) -> "Named":
        """Some of them."""
        return Named(*(column[rows] for column in vars(self).values()))

    @classmethod
    def joined(cls, parts: Sequence["Named"]) -> "Named":
        """Those of several, in the order of the data set."""
        columns = [torch.cat(c) for c in zip(*(vars(p).values() for p in parts), strict=True)]
        return cls(*columns).take(columns[0].argsort())


class Classification(Evaluation):
    """Top-1 and top-5 of a supervised training or a linear probe, as its validation has them.

    It needs a checkpoint with a classifier, and the data that this was trained on.

    Figures: "top1" and "top5" in 0..1.

    Files: `per_class.csv`; `confusion.csv`, `confused.csv` (see `write_confusion`); sheets in
    `pictures`: `chosen.png` of a random but fixed choice of images, `mistakes.png` of those that
    are taken with the highest probability for what they are not.

    Args:
        images: Validation images; no others are needed.
        readout: What stands for an image, if the checkpoint does not say.
        classes: Outputs of a classifier whose checkpoint does not name its classes; None for as
            many as the data have. (An official linear probe has 1000 on any data.)
        batch_size: Images encoded at a time, on each device.
        pictures: Images on each sheet.
    """

    headline: ClassVar[tuple[str, ...]] = ("top1", "top5")

    def __init__(
        self,
        images: ImageDataModule,
        readout: Readout = "cls",
        classes: Annotated[int, Field(ge=2)] | None = None,
        batch_size: Annotated[int, Field(ge=1)] = 64,
        pictures: Annotated[int, Field(ge=0)] = 16,
    ) -> None:
        super().__init__(images)
        self.images = images
        self.readout: Readout = readout
        self.classes = classes
        self.batch_size = batch_size
        self.pictures = pictures

    def check(self, subject: Subject | None = None) -> None:
        """Look for images of several classes, and for a classifier that was trained on them.

        Raises:
            UserError: Missing data, one class only, no classifier or one of other classes.
        """
        if len(self._names) < 2:
            raise UserError(
                "classification: the images have no classes to tell apart; choose labelled data"
            )
        if subject is None:
            return
        read_out(subject.backbone.look(last_grouping=False), self._readout(subject))
        if subject.classifier is None:
            raise UserError(
                "classification: there is no classifier of images; give a checkpoint of a "
                "supervised training or a linear probe, such as of experiment=in1k_linear, or "
                "choose another evaluation (evaluate=[...])"
            )
        outputs, names = subject.classifier.layer.out_features, subject.classifier.classes
        if names or outputs != self.classes:
            check_classes("classification", outputs, names, self._names)

    def prepare(self) -> None:
        """Begin with nothing."""
        self.check(self.subject)
        self.named: list[Named] = []
        self.mistakes: list[Named] = []
        self.chosen = {*self.images.chosen("val", self.pictures).tolist()}
        self.pixels: dict[int, Pixels] = {}

    def test_dataloader(self) -> BatchLoader:
        """This process's share of the validation images."""
        return self.images.plain_dataloader("val", None, self.batch_size, shared=True)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a batch on its device."""
        return self.images.prepare(batch, self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Name the classes of a batch."""
        subject = self.subject
        assert subject.classifier is not None
        hierarchy = subject.backbone(batch["images"], batch["superpixels"], last_grouping=False)
        scores = subject.classifier.layer(read_out(hierarchy, self._readout(subject)))
        best = scores.topk(min(_BEST, scores.size(1))).indices
        share = scores.float().softmax(1).gather(1, best)
        found = (batch["index"], batch["label"], scores.argmax(1), best, share)
        named = Named(*(column.cpu() for column in found))
        self.named.append(named)
        self.mistakes = [self._worst([*self.mistakes, named])]
        shown = self.chosen | {*self.mistakes[0].index.tolist()}
        for place, index in enumerate(named.index.tolist()):
            if index in shown:
                self.pixels[index] = to_bytes(denormalise(batch["images"][place]))
        self.pixels = {index: self.pixels[index] for index in self.pixels if index in shown}

    def share(self) -> tuple[list[Named], dict[int, Pixels]]:
        """What was named, and the images that may be drawn."""
        return self.named, self.pixels

    def compute(self, shares: Sequence[tuple[list[Named], dict[int, Pixels]]]) -> dict[str, float]:
        """Count, and on the first process write what is to be known of each class.

        Raises:
            UserError: There was no image.
        """
        parts = [part for named, _ in shares for part in named]
        if not parts:
            raise UserError("there is no validation image, or none can be read")
        named = Named.joined(parts)
        if rank() == 0:
            self._write_classes(named)
            pixels = {index: shown for _, each in shares for index, shown in each.items()}
            chosen = torch.tensor([int(index) in self.chosen for index in named.index])
            self._draw("chosen", named.take(chosen), pixels)
            self._draw("mistakes", self._worst([named]), pixels)
        return {name: float(hits.double().mean()) for name, hits in named.hits.items()}

    def _worst(self, parts: Sequence[Named]) -> Named:
        """Of several, the images that are taken for another class with the highest probability."""
        named = Named.joined(parts)
        wrong = named.take(~named.hits["top1"])
        return wrong.take(wrong.share[:, 0].argsort(descending=True, stable=True)[: self.pictures])

    def _write_classes(self, named: Named) -> None:
        names, outputs = self._names, self.subject.classifier.layer.out_features  # type: ignore[union-attr]
        others = ["none of these"] if outputs > len(names) else []
        first = named.first.clamp(max=len(names))
        table = contingency(named.label, first, (len(names), len(names) + len(others)))
        write_confusion(self.folder, table.numpy(), names, names + others)
        counts = table.sum(1)
        rates = [
            (named.label[hits].bincount(minlength=len(names)) / counts).tolist()
            for hits in named.hits.values()
        ]
        rows = zip(names, counts.tolist(), *rates, strict=True)
        write_csv(self.folder / "per_class.csv", [("class", "images", *named.hits), *rows])

    def _draw(self, sheet: str, named: Named, pixels: Mapping[int, Pixels]) -> None:
        if not len(named.index):
            return
        names = dict(enumerate(self._names))
        pictures = []
        for row, index in enumerate(named.index.tolist()):
            classes = [names.get(c, f"output {c}") for c in named.best[row, :_SHOWN].tolist()]
            predicted = list(zip(classes, named.share[row].tolist(), strict=False))
            pictures.append(NamedPicture(pixels[index], names[int(named.label[row])], predicted))
        with atomic_write(self.folder / "pictures" / f"{sheet}.png") as new:
            Image.fromarray(prediction_sheet(pictures)).save(new, "png")

    def _readout(self, subject: Subject) -> Readout:
        """What the classifier was trained to read, or else what is configured."""
        return (subject.classifier and subject.classifier.readout) or self.readout

    @property
    def _names(self) -> list[str]:
        return [*map(str, self.images.raw("val").classes)]
