import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import batch, shapes

from cast_exp.cli import compare
from cast_exp.errors import UserError
from cast_exp.metrics.superpixel import achievable_segmentation_accuracy, boundary_recall
from cast_exp.superpixels import FastSlic, Grid, Slic


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four drawn images of 60 x 90 pixels with a label map each."""
    images, truth = tmp_path / "images", tmp_path / "truth"
    images.mkdir()
    truth.mkdir()
    for seed in range(4):
        image, segments = shapes(60, 90, seed)
        Image.fromarray(image).save(images / f"{seed}.png")
        Image.fromarray(segments.astype(np.uint8)).save(truth / f"{seed}.png")
    return images, truth


def run(folders: tuple[Path, Path], *more: str) -> list[dict[str, str]]:
    images, truth = folders
    out = images.parent / "out"
    compare.main(["--images", str(images), "--ground-truth", str(truth), "--out", str(out), *more])
    with (out / "compare.csv").open() as file:
        return list(csv.DictReader(file))


def test_scores_are_the_means_over_the_images(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(folders, "--methods", "slic,grid", "--count", "40", "--size", "0", "--limit", "3")
    printed = capsys.readouterr().out
    drawn = [shapes(60, 90, seed) for seed in range(3)]
    for row, method in zip(rows, (Slic(40), Grid(40)), strict=True):
        labels = method(batch(*(image for image, _ in drawn))).numpy()
        pairs = [(a, segments) for a, (_, segments) in zip(labels, drawn, strict=True)]
        recall = np.mean([boundary_recall(a, [b]) for a, b in pairs])
        accuracy = np.mean([achievable_segmentation_accuracy(a, [b]) for a, b in pairs])
        assert float(row["boundary_recall"]) == pytest.approx(recall)
        assert float(row["achievable_segmentation_accuracy"]) == pytest.approx(accuracy)
        assert float(row["superpixels"]) == np.mean([len(np.unique(a)) for a in labels])
        assert float(row["milliseconds"]) > 0
        assert row["images"] == "3"
        assert f"{recall:.3f}" in printed
    with Image.open(folders[0].parent / "out" / "compare.png") as picture:
        picture.verify()
        assert picture.width > 1000


def test_all_methods_by_default_resized(folders: tuple[Path, Path]) -> None:
    rows = run(folders, "--limit", "1")
    names = ["seeds", "fast_slic", "slic", "grid"]
    if not FastSlic.is_installed():
        names.remove("fast_slic")
    assert [row["method"] for row in rows] == names
    assert rows[-1]["superpixels"] == "196.0"  # 14 x 14 at 224 x 224


def test_annotations_of_several_people(folders: tuple[Path, Path]) -> None:
    scipy = pytest.importorskip("scipy.io")
    images, truth = folders
    people = np.empty((1, 3), dtype=object)
    for person in range(3):
        segments = shapes(60, 90, 10 + person)[1].astype(np.uint16) + 1
        people[0, person] = {"Segmentation": segments, "Boundaries": segments > 0}
    scipy.savemat(truth / "0.mat", {"groundTruth": people})  # preferred to 0.png
    first, second = compare.read_examples(images, truth, 0, 2)
    assert len(first.annotations) == 3
    np.testing.assert_array_equal(first.annotations[2], shapes(60, 90, 12)[1] + 1)
    np.testing.assert_array_equal(second.annotations[0], shapes(60, 90, 1)[1])


def test_resizing_keeps_labels_and_alignment(folders: tuple[Path, Path]) -> None:
    example = compare.read_examples(*folders, 120, 1)[0]
    segments = shapes(60, 90, 0)[1]
    found = example.annotations[0]
    assert found.shape == (120, 120)
    assert set(np.unique(found)) <= set(np.unique(segments))
    ratio = np.bincount(found.ravel(), minlength=8) / np.bincount(segments.ravel(), minlength=8)
    assert ratio == pytest.approx(120 * 120 / segments.size, rel=0.05)
    assert boundary_recall(Grid(14400)(batch(np.array(example.image)))[0].numpy(), [found]) == 1


def test_mistakes_are_named(folders: tuple[Path, Path]) -> None:
    images, truth = folders
    with pytest.raises(UserError, match=r"nowhere does not exist; give a folder for --"):
        compare.read_examples(images / "nowhere", truth, 0)
    with pytest.raises(UserError, match="no images in"):
        compare.read_examples(images.parent, truth, 0)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("truth/1.png", None, r"no ground truth 1\.mat or 1\.png for .*1\.png in"),
        ("truth/1.png", b"not an image", r"cannot read .*truth/1\.png: "),
        ("truth/1.mat", b"not an array", r"cannot read .*truth/1\.mat as a ground truth of BSDS"),
        ("truth/1.mat", b"", r"cannot read .*truth/1\.mat as a ground truth of BSDS"),
        ("images/1.png", b"", r"cannot read .*images/1\.png: empty file"),
    ],
)
def test_bad_files_are_named(
    folders: tuple[Path, Path], file: str, content: bytes | None, complaint: str
) -> None:
    if file.endswith(".mat"):
        pytest.importorskip("scipy.io")
    path = folders[0].parent / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as error:
        compare.read_examples(*folders, 0)
    assert "\n" not in str(error.value)


def test_other_bad_ground_truths(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, truth = folders
    Image.new("L", (10, 20)).save(truth / "0.png")
    with pytest.raises(UserError, match=r"0\.png is 10 x 20 pixels but .*0\.png 90 x 60"):
        compare.read_examples(images, truth, 0)
    Image.new("RGB", (90, 60)).save(truth / "0.png")
    with pytest.raises(UserError, match=r"0\.png is a colour image"):
        compare.read_examples(images, truth, 0)
    (truth / "0.mat").touch()
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"needs scipy; install it: pip install 'cast-exp\[eval\]'"):
        compare.read_examples(images, truth, 0)
