"""Named segments of PartImageNet's layout against the official procedure written out."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny_data import part_imagenet_tree
from support.trainers import evaluate
from torchmetrics.functional.classification import multiclass_jaccard_index

from cast_exp.checkpoints import save_pretrained
from cast_exp.data import SceneDataModule
from cast_exp.data.datasets import PartImageNet, Shapes
from cast_exp.data.transforms import denormalise
from cast_exp.errors import UserError
from cast_exp.evaluation import OpenVocabulary, Subject
from cast_exp.evaluation.open_vocabulary import labelling
from cast_exp.models import create_model
from cast_exp.naming import load_image_text
from cast_exp.superpixels import Seeds

pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LEVELS = (12, 8, 4)


def scenes(root: Path, size: int = 32) -> SceneDataModule:
    if not root.exists():
        part_imagenet_tree(root)
        for seed, path in enumerate(sorted(root.glob("images/val/*/*"))):
            noise = np.random.default_rng(seed).integers(256, size=(4, 5, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((14, 10), Image.Resampling.BICUBIC).save(path)
    method = Seeds(36, histogram_bins=5, iterations=4)
    return SceneDataModule(
        PartImageNet, method, root=root, image_size=size, fit="center_crop", workers=0
    )


def evaluation(data: SceneDataModule, image_text: Path, **options: Any) -> OpenVocabulary:
    settings: dict[str, Any] = {"levels": LEVELS, "pictures": 1} | options
    return OpenVocabulary(data, str(image_text), **settings)


@pytest.fixture
def subject() -> Subject:
    torch.manual_seed(0)
    return Subject(create_model("cast_tiny", image_size=32).eval())


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


@torch.no_grad()
def official(data: SceneDataModule, subject: Subject, image_text: Path) -> dict[str, float]:
    """Segment after segment, as the notebooks do."""
    model = load_image_text(str(image_text))
    raw = data.raw("val")

    def texts(names: list[str]) -> torch.Tensor:
        return model.encode_texts([f"a photo of a {name}" for name in names])

    def best(seen: torch.Tensor, mask: torch.Tensor, names: list[str]) -> int:
        shown = torch.where(mask, seen, torch.tensor(0.5))
        return int((model.encode_images(shown[None]) @ texts(names).T).argmax())

    mious: dict[str, list[float]] = {"object": [], "part": []}
    for scene in data.scenes("val"):
        hierarchy = subject.backbone(scene.image, scene.superpixels, levels=LEVELS)
        seen = (denormalise(scene.image[0]).clamp(0, 1) - model.mean) / model.std
        coarse, fine = (scene.paint(hierarchy.labels(level)[0]) for level in (3, 2))
        objects, parts = torch.zeros_like(coarse), torch.zeros_like(fine)
        for segment in range(int(coarse.max()) + 1):
            mask = coarse == segment
            if mask.any():
                objects[mask] = best(seen, mask, raw.semantic_classes)
        for segment in range(int(fine.max()) + 1):
            mask = fine == segment
            if mask.any():
                parent = raw.semantic_classes[int(objects[mask][0])]
                own = [name for name in raw.part_classes if parent in name]
                parts[mask] = raw.part_classes.index(own[best(seen, mask, own)])
        for kind, found, name in (("object", objects, "semantic"), ("part", parts, "parts")):
            truth = torch.from_numpy(np.asarray(scene.truth[name], dtype=np.int64))
            classes = len(raw.semantic_classes if kind == "object" else raw.part_classes)
            mious[kind].append(float(multiclass_jaccard_index(found, truth, classes)))
    return {f"{kind}_miou": float(np.mean(values)) for kind, values in mious.items()}


def test_figures_are_those_of_the_official_procedure(
    subject: Subject, image_text: Path, tmp_path: Path
) -> None:
    data = scenes(tmp_path / "data")
    figures = evaluate(evaluation(data, image_text), subject, tmp_path / "one")
    expected = official(data, subject, image_text)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert 0 < expected["part_miou"] < expected["object_miou"]
    assert figures["images"] == 2
    assert figures["dropped"] == 0
    assert [row[0] for row in rows(tmp_path / "one" / "parts.csv")][1:] == [
        "background",
        "Quadruped Head",
        "Quadruped Body",
        "Snake Head",
    ]
    assert len(list((tmp_path / "one" / "pictures").iterdir())) == 1


def test_other_prompts_use_what_is_encoded(
    subject: Subject, image_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kept = scenes(tmp_path / "data"), tmp_path / "kept"
    first = evaluate(evaluation(data, image_text, encodings=kept), subject, tmp_path / "one")
    seen: list[int] = []
    encode = labelling.ImageText.encode_images
    monkeypatch.setattr(
        labelling.ImageText,
        "encode_images",
        lambda self, x: (seen.append(len(x)), encode(self, x))[1],
    )
    again = evaluate(evaluation(data, image_text, encodings=kept), subject, tmp_path / "two")
    assert again == first
    other = evaluation(data, image_text, encodings=kept, prompts=["the {}", "some {}"])
    assert evaluate(other, subject, tmp_path / "two") != first  # not gone on with
    assert not seen


def test_a_vit_and_sam_are_named_likewise(
    subject: Subject, image_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pretrained(create_model("vit_tiny", image_size=32), tmp_path / "vit")
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, :20] = masks[1, 8:12] = True
    shown: list[np.ndarray] = []
    monkeypatch.setattr(labelling, "load_sam", lambda path: torch.nn.Identity())
    monkeypatch.setattr(
        labelling, "sam_masks", lambda model, image: (shown.append(image), masks)[1]
    )
    data = scenes(tmp_path / "data")
    chosen = evaluation(data, image_text, vit=str(tmp_path / "vit"), sam="sam.pth")
    figures = evaluate(chosen, subject, tmp_path / "one")
    assert {image.shape for image in shown} == {(32, 32, 3)}
    assert figures["vit/images"] == figures["sam/images"] == 2
    assert figures["vit/empty_objects"] >= 0
    assert figures["sam/empty_parts"] == 0
    methods = rows(tmp_path / "one" / "methods.csv")
    assert [row[0] for row in methods] == ["method", "model", "vit", "sam"]
    own = dict(zip(methods[0], methods[3], strict=True))
    assert float(own["part_miou"]) == pytest.approx(figures["sam/part_miou"], abs=1e-4)
    assert {path.parent.name for path in (tmp_path / "one" / "encodings").glob("*/*")} == {
        "model",
        "vit",
        "sam",
    }


def test_images_with_a_gap_are_left_out_if_asked(
    subject: Subject, image_text: Path, tmp_path: Path
) -> None:
    data = scenes(tmp_path / "data")
    plain = evaluation(data, image_text)
    evaluate(plain, subject, tmp_path / "one")
    records = [
        {"model": {**record["model"], "gap": gap, "empty": [1, 2]}}
        for record, gap in zip(plain_records(tmp_path / "one"), (True, False), strict=True)
    ]
    both = figures_of(plain, records, tmp_path)
    assert (both["images"], both["dropped"], both["empty_parts"]) == (2, 0, 4)
    left = figures_of(evaluation(data, image_text, drop_gaps=True), records, tmp_path)
    assert (left["images"], left["dropped"], left["empty_objects"]) == (1, 1, 2)
    assert left["object_miou"] == pytest.approx(records[1]["model"]["miou"]["object"])


def plain_records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "images.jsonl").read_text().splitlines()[1:]
    return [json.loads(line) for line in lines]


def figures_of(
    chosen: OpenVocabulary, records: list[dict[str, Any]], folder: Path
) -> dict[str, float]:
    chosen.folder, chosen.methods = folder, {"model": chosen._own}
    return chosen.figures(records)


def test_objects_alone_of_other_data(subject: Subject, image_text: Path, tmp_path: Path) -> None:
    shapes = partial(Shapes, train=1, val=2, size=48)
    data = SceneDataModule(shapes, Seeds(36, 5, 4), image_size=48, workers=0)
    figures = evaluate(evaluation(data, image_text, object_level=2), subject, tmp_path)
    assert figures["object_miou"] > 0
    assert "part_miou" not in figures
    assert not (tmp_path / "parts.csv").exists()


def test_mistakes_are_told_before_any_work(
    subject: Subject, image_text: Path, tmp_path: Path
) -> None:
    data = scenes(tmp_path / "data")
    for options, message in (
        ({"object_level": 4}, "should be levels 1 to 3, parts no coarser than objects"),
        ({"object_level": 1, "part_level": 2}, "part_level=2 and object_level=1 should be"),
        ({"prompts": ["a photo"]}, r"prompts: 'a photo' should have \{\} once"),
        ({"levels": (4, 8)}, r"levels=\[4, 8\]: every level must have fewer"),
    ):
        with pytest.raises(UserError, match=message):
            evaluation(data, image_text, **options)
    with pytest.raises(UserError, match=r"a ViT groups nothing.*open_vocabulary\.vit=CKPT"):
        evaluation(data, image_text).check(Subject(create_model("vit_tiny")))
    with pytest.raises(UserError, match="no image-text model missing"):
        evaluation(data, Path("missing")).check(subject)
    with pytest.raises(UserError, match="no checkpoint at"):
        evaluation(data, image_text, sam=str(tmp_path / "sam.pth")).check(subject)
    with pytest.raises(UserError, match="groupings"):
        evaluation(data, image_text, levels=(12, 8, 6, 4, 2)).check(subject)
