"""ImageNet is the same in every layout, whoever reads it."""

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.imagenet import WNIDS, class_folders, kaggle, published, tar
from support.trainers import on_rank

from cast_exp.cli import main
from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.datasets import ImageNet, NoSuchSplit, Split
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid

LAYOUTS = ("folders", "tars", "published", "kaggle", "packs")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    top = tmp_path_factory.mktemp("imagenet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAST_EXP_CACHE", str(top / "cache"))
        folders = class_folders(top / "folders")
        tar(top / "tars/train.tar", folders, ["train"])
        tar(top / "tars/val.tar", folders / "val", ["."])
        published(folders, top / "published")
        kaggle(folders, top / "kaggle")
        command = ["data=imagenet", f"data.root={folders}", "--out", str(top / "packs")]
        assert main(["pack", *command]) == 0
        yield {name: top / name for name in LAYOUTS}


def contents(data: ImageNet) -> list[tuple[str, bytes]]:
    found = [data[index] for index in range(len(data))]
    return [(data.classes[item["label"]], item["image"].tobytes()) for item in found]


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize("options", [{}, {"val": None, "held_out": 0.3}, {"labelled": False}])
def test_images_classes_and_order_are_those_of_class_folders(
    layout: str, options: dict[str, object], roots: dict[str, Path]
) -> None:
    for split in ("train", "val"):
        data, reference = (ImageNet(split, roots[x], **options) for x in (layout, "folders"))
        assert data.classes == reference.classes
        assert contents(data) == contents(reference)
        names = [Path(data.path(index)).name for index in range(len(data))]
        assert names == [Path(reference.path(index)).name for index in range(len(data))]
        assert data.held_out == reference.held_out
    assert reference.classes == (["image"] if "labelled" in options else sorted(WNIDS))


@cache
def samples(root: Path, workers: int, ranks: int) -> list[tuple[Any, ...]]:
    """Step, number, class, views and superpixels of the first hundred samples; then validation."""
    found = []
    for rank in range(ranks):
        settings = {"batch_size": 4, "image_size": 32, "workers": workers}
        module = ImageDataModule(ImageNet, TwoViews(24), Grid(16), root, **settings)
        data = on_rank(module, rank, ranks) if ranks > 1 else module
        train, batches = data.train_dataloader(), []
        for epoch in range(9):
            train.sampler.set_epoch(epoch)
            batches += list(train)
        numbered = [*enumerate(batches[:25]), *((25, batch) for batch in data.val_dataloader())]
        for step, batch in numbered:
            columns = [batch["index"], batch["label"], *batch["images"], *batch["superpixels"]]
            found += [
                (step, *(x.numpy().tobytes() for x in row)) for row in zip(*columns, strict=True)
            ]
    return sorted(found)


@pytest.mark.parametrize(
    ("layout", "workers", "ranks"),
    [("folders", 2, 2), ("published", 0, 1), ("published", 2, 2), ("packs", 0, 2), ("packs", 4, 1)],
)
def test_the_first_hundred_samples_do_not_depend_on_where_the_images_are(
    layout: str, workers: int, ranks: int, roots: dict[str, Path]
) -> None:
    found, reference = samples(roots[layout], workers, ranks), samples(roots["folders"], 0, 1)
    assert len(reference) == 105
    assert found == reference


@pytest.mark.parametrize("layout", LAYOUTS[2:])
def test_check_reads_it(
    layout: str, roots: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", "data=imagenet", f"data.root={roots[layout]}", "superpixel=grid"]
    assert main([*command, "data.expected_images={train: 12, val: 5}"]) == 0
    said = capsys.readouterr().out
    assert "train: 12 readable images, 3 of 3 classes" in said
    assert "val: 5 readable images, 3 of 3 classes" in said


def test_all_files_that_images_and_classes_are_read_from_are_known(roots: dict[str, Path]) -> None:
    def files(layout: str, split: Split) -> list[str]:
        found = ImageNet(split, roots[layout]).files()
        return [str(Path(path).relative_to(roots[layout])) for path in found]

    assert files("packs", "val") == ["val.tar"]
    assert files("published", "train") == ["ILSVRC2012_img_train.tar"]
    assert files("published", "val") == ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar"]
    images = [f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_{n:08}.JPEG" for n in (4, 1, 5, 2, 3)]
    assert files("kaggle", "val") == ["LOC_val_solution.csv", *images]


def test_what_is_missing_is_named(roots: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"<root>/ILSVRC2012_img_train.tar or <root>/ILSVRC/Data/"):
        ImageNet("train", tmp_path)
    shutil.copytree(roots["published"], tmp_path / "a")
    (tmp_path / "a/ILSVRC2012_devkit_t12.tar.gz").rename(tmp_path / "devkit")
    with pytest.raises(UserError, match=r"no ILSVRC2012_devkit_t12.tar.gz in .*/a; .*put it there"):
        ImageNet("train", tmp_path / "a")
    (tmp_path / "a/ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"devkit_t12.tar.gz cannot be read \(ReadError.*again"):
        ImageNet("val", tmp_path / "a")
    (tmp_path / "a/ILSVRC2012_img_val.tar").unlink()
    assert len(ImageNet("train", tmp_path / "a")) == 12
    with pytest.raises(UserError, match=r"ILSVRC2012_img_val.tar with ILSVRC2012_devkit_t12"):
        ImageNet("val", tmp_path / "a")
    shutil.copytree(roots["kaggle"], tmp_path / "b")
    solution = tmp_path / "b/LOC_val_solution.csv"
    lines = solution.read_text().splitlines()
    solution.write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match=r"LOC_val_solution.csv has no class for 1 of the 5 images"):
        ImageNet("val", tmp_path / "b")
    solution.write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match=r"LOC_val_solution.csv cannot be read .*download it again"):
        ImageNet("val", tmp_path / "b")
    solution.unlink()
    with pytest.raises(UserError, match=r"no LOC_val_solution.csv in .*/b; .*put it there"):
        ImageNet("val", tmp_path / "b")
    with pytest.raises(NoSuchSplit):
        ImageNet("val", tmp_path / "b", val=None, held_out=0)
