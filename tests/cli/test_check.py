import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.sources import encoded, write_shards
from support.streams import Greys
from support.voc import save_map, voc_tree

from cast_exp.cli.check import check_split, main
from cast_exp.data import ImageDataModule, SceneDataModule, TwoViews
from cast_exp.data.datasets import ImageFolder, Split, VOCFolder
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid

OVERRIDES = ["data=image_folder", "superpixel=grid"]


def report(
    root: Path | None, split: str, dataset: Any = ImageFolder, **options: object
) -> tuple[bool, str]:
    data = ImageDataModule(dataset, TwoViews(16), Grid(4), root, **options)
    console = Console(record=True, width=300, quiet=False)
    return check_split(data, split, console), console.export_text()


def test_sound_data(folder: Path) -> None:
    for split, each in (("train", 8), ("val", 3)):
        good, text = report(folder, split)
        assert good
        assert f"{3 * each} readable images, 3 of 3 classes" in text
        assert [line.split() for line in text.splitlines() if "ant" in line] == [
            ["│", "ant", "│", str(each), "│"]
        ]


def test_unreadable_files_are_all_listed(folder: Path) -> None:
    (folder / "val/ant/0.jpg").write_bytes(b"")
    (folder / "val/cat/2.jpg").write_text("no image")
    good, text = report(folder, "val")
    assert not good
    assert "7 readable images" in text
    assert f"{folder}/val/ant/0.jpg: empty file (0 bytes)" in text
    assert f"{folder}/val/cat/2.jpg: not an image" in text
    assert report(folder, "train")[0]


def test_images_that_are_not_8_bit_rgb(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What becomes of them is told; what would be dark or has no known range is a fault."""
    command = [*OVERRIDES, f"data.root={folder}"]
    assert main(command) == 0
    assert "8-bit" not in capsys.readouterr().out
    Image.new("L", (20, 20)).save(folder / "val/ant/0.jpg")
    Image.new("RGBA", (20, 20)).save(folder / "val/ant/1.png")
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "1 images 8-bit grey, repeated" in said
    assert "1 images 8-bit with alpha, which is dropped" in said
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 10
    for name in ("a", "b"):
        Image.fromarray(deep).save(folder / f"val/bee/{name}.png")
        deep[0, 0] = 4000
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "2 images uint16 grey, black up to 0, white from 65535 (values from 0 to 4000)" in said
    assert "if they have 12 bits, set data.value_range=[0,4095]" in said
    assert main([*command, "data.value_range=[0,4095]"]) == 0
    said = capsys.readouterr().out
    assert "2 images uint16 grey, black up to 0, white from 4095" in said
    assert "dark" not in said
    Image.fromarray(deep.astype(np.float32)).save(folder / "train/bee/c.tiff")
    assert main(command) == 1
    path = folder / "train/bee/c.tiff"
    assert f"wrong {path}: float32 values from 10 to 4000" in capsys.readouterr().out
    for wrong in ("[5,5]", "[0,.inf]", "[7]", "bright"):
        with pytest.raises(UserError, match="value_range"):
            main([*command, f"data.value_range={wrong}"])


def test_wrong_layout_and_wrong_count(folder: Path) -> None:
    good, text = report(folder, "val", expected_images={"val": 10})
    assert not good
    assert "9 files, expected 10" in text
    (folder / "train/dog").mkdir()
    good, text = report(folder, "train")
    assert not good
    assert "hold no image: dog" in text


def test_images_held_out_for_validation(folder: Path) -> None:
    dataset = partial(ImageFolder, val=None, held_out=0.3)
    texts = {}
    for split in ("train", "val"):
        good, texts[split] = report(folder, split, dataset, expected_images={"train": 24, "val": 9})
        assert good
    held_out = len(dataset("val", folder))
    assert f"train: {24 - held_out} readable" in texts["train"]
    assert f"val (held out of the training images): {held_out} readable" in texts["val"]
    good, text = report(folder, "train", dataset, expected_images={"train": 25})
    assert not good
    assert "24 files, expected 25" in text


def test_classes_that_cannot_be_recognised_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*OVERRIDES, f"data.root={folder}"]
    assert main(command) == 0
    assert "kNN" not in capsys.readouterr().out
    for name in ("ant", "bee", "cat"):
        (folder / "val" / name).rename(folder / "val" / f"other {name}")
    assert main(command) == 0
    assert "kNN: no class has both training and validation images" in capsys.readouterr().out


def test_streams_are_counted() -> None:
    def streamed(split: Split, **options: Any) -> Greys:
        return Greys(split, sizes=(5, 7, 1), **options)

    good, text = report(None, "val", streamed)
    assert good
    assert "13 readable images, 3 of 3 classes" in text

    def told(split: Split) -> Greys:
        stream = streamed(split, damaged=(6,))
        stream.__dict__["_length"] = 20
        return stream

    good, text = report(None, "train", told)
    assert not good
    assert "unreadable shard1, image 1:" in text
    assert "the stream has 13 images, and data.dataset.images.train says 20; set it to 13" in text

    def wrong(split: Split) -> Greys:
        stream = told(split)
        stream.read_shard = Mock(side_effect=UserError("shard0 has the label 'x'"))
        return stream

    good, text = report(None, "train", wrong)
    assert not good
    assert "wrong shard0 has the label 'x'" in text
    assert "set it to" not in text  # nobody knows how many there are


def test_many_classes_are_summed_up(tmp_path: Path, folder: Path) -> None:
    for i in range(300):  # more than a label map can tell apart
        (tmp_path / f"train/{i:03}").mkdir()
        (tmp_path / f"train/{i:03}/0.jpg").write_bytes((folder / "val/ant/0.jpg").read_bytes())
    good, text = report(tmp_path, "train")
    assert good
    assert "324 readable images, 303 of 303 classes" in text
    assert text.count("│") == 3 * 3, "the smallest, the median and the largest"
    assert "cat" in text


def test_command(folder: Path) -> None:
    """In a process of its own: the exit code, no stack trace, no folder left behind."""
    command = [sys.executable, "-m", "cast_exp", "check", *OVERRIDES, "data.root=nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "no folder nowhere/train; expected <root>/train/<class>" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in folder.iterdir()) == ["train", "val"]


@pytest.mark.parametrize(
    ("missing", "lines"),
    [
        ("train", ["train: no shard shards/*train*.tar", "val: cannot be read, for the same"]),
        ("val", ["train: no shard shards/*val*.tar", "val: cannot be read, for the same"]),
        ("tiny", ["train: no shard shards/*train*.tar", "val: no shard shards/*val*.tar"]),
    ],
)
def test_each_split_is_said_to_lack_what_is_its_own(
    missing: str,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
    write_shards(tmp_path / "shards", encoded(tmp_path))
    for shard in (tmp_path / "shards").glob(f"*{missing}*.tar"):
        shard.unlink()
    assert main(["experiment=shapes_moco", "data=webdataset", "data.root=shards"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert all(line.startswith(begins) for line, begins in zip(shown, lines, strict=True))


def test_label_maps(tmp_path: Path) -> None:
    """The share of each class in the pixels; all faults, and what is right without them."""
    voc_tree(tmp_path)
    bad = tmp_path / "SegmentationClass/2007_02.png"
    files = [tmp_path / f"SegmentationClass/2007_0{i}.png" for i in (1, 3)]

    def checked(split: Split = "train") -> tuple[bool, str]:
        folder = partial(VOCFolder, classes=["background", "cat", "dog"])
        console = Console(record=True, width=300)
        good = check_split(SceneDataModule(folder, Grid(4), tmp_path), split, console)
        return good, console.export_text()

    assert checked()[0]
    pixels = np.concatenate([np.array(Image.open(file)).ravel() for file in [*files, bad]])
    assert f"{(pixels == 255).mean():.2%} of the pixels void" in checked()[1]
    with Image.open(bad) as drawn:
        width, height = drawn.size
    save_map(bad, np.array([[9]], np.uint8), (width, height))
    good, text = checked()
    assert not good
    assert f"wrong {bad} has the value 9" in text
    assert "2 readable images, 3 of 3 classes" in text
    pixels = np.concatenate([np.array(Image.open(file)).ravel() for file in files])
    share = f"{(pixels == 1).sum() / (pixels != 255).sum():.2%}"
    assert [line.split() for line in text.splitlines() if "cat" in line] == [
        ["│", "cat", "│", share, "│"]
    ]
    save_map(bad, np.array([[0]], np.uint8), (width, height + 1))
    assert f"is {width} x {height + 1} pixels, but its image" in checked()[1]
    bad.write_bytes(b"")
    assert f"unreadable {bad}: empty file" in checked()[1]
    bad.unlink()
    assert "1 of 3 listed images have no label map" in checked()[1]
    assert checked("val")[0]


def test_classes_without_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks of 0 and 255, of which 255 is void, are an error."""
    voc_tree(tmp_path)
    command = ["data=voc_folder", "superpixel=grid", f"data.root={tmp_path}"]
    assert main([*command, "data.dataset.classes=[background,cat,dog,cow]"]) == 1
    said = capsys.readouterr().out
    assert said.count("wrong 1 of 4 classes have no pixel: cow") == 1, "but not of validation"
    for path in (tmp_path / "SegmentationClass").iterdir():
        drawn = np.array(Image.open(path))
        save_map(path, np.where(drawn == 2, 0, 255).astype(np.uint8), drawn.shape[::-1])
    assert main([*command, "data.dataset.classes=[background,cell]"]) == 1
    said = capsys.readouterr().out
    assert said.count("wrong 1 of 2 classes have no pixel: cell; masks of 0 and 255?") == 2
    assert said.count("of the pixels are void (255)") == 2
    mapped = [*command, "data.dataset.label_map={0:0,255:1}"]
    assert main([*mapped, "data.dataset.classes=[background,cell]"]) == 0
    assert "2 of 2 classes, 0.00% of the pixels void" in capsys.readouterr().out


def test_scenes_by_command(tmp_path: Path) -> None:
    command = ["data=voc_folder", "superpixel=grid", f"data.root={voc_tree(tmp_path)}"]
    assert main([*command, "data.dataset.classes=[background,cat,dog]"]) == 0
    assert main([*command, "data.dataset.classes=[background,cat]"]) == 1
    with pytest.raises(UserError, match=r"data\.dataset\.classes"):
        main(command)


def test_mistakes_of_the_command(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.rot.*data\.root"):
        main([*OVERRIDES, f"data.rot={folder}"])
    with pytest.raises(UserError, match=r"data\.batch_size=0.*greater"):
        main([*OVERRIDES, f"data.root={folder}", "data.batch_size=0"])
    assert main([*OVERRIDES, f"data.root={folder}"]) == 0
    assert main([*OVERRIDES, f"data.root={folder}", "data.dataset.val=null"]) == 0
    assert main([*OVERRIDES]) == 1
