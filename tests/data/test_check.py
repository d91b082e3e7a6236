import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cast_exp.data import ImageDataModule, TwoViews
from cast_exp.data.check import check_split, main
from cast_exp.data.datasets import ImageFolder
from cast_exp.errors import UserError
from cast_exp.superpixels import Grid

OVERRIDES = ["data=image_folder", "superpixel=grid"]


def report(root: Path, split: str, **options: object) -> tuple[bool, str]:
    data = ImageDataModule(ImageFolder, TwoViews(16), Grid(4), root, **options)
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


def test_wrong_layout_and_wrong_count(folder: Path) -> None:
    good, text = report(folder, "val", expected_images={"val": 10})
    assert not good
    assert "9 files, expected 10" in text
    (folder / "train/dog").mkdir()
    good, text = report(folder, "train")
    assert not good
    assert "hold no image: dog" in text


def test_many_classes_are_summed_up(tmp_path: Path, folder: Path) -> None:
    for i in range(40):
        (tmp_path / f"train/{i:02}").mkdir()
        (tmp_path / f"train/{i:02}/0.jpg").write_bytes((folder / "val/ant/0.jpg").read_bytes())
    good, text = report(tmp_path, "train")
    assert good
    assert "64 readable images, 43 of 43 classes" in text
    assert text.count("│") == 3 * 3, "the smallest, the median and the largest"
    assert "cat" in text


def test_command(folder: Path) -> None:
    """In a process of its own: the exit code, no stack trace, no folder left behind."""
    command = [sys.executable, "-m", "cast_exp.data.check", *OVERRIDES, "data.root=nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "no folder nowhere/train; expected <root>/train/<class>" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in folder.iterdir()) == ["train", "val"]


def test_mistakes_of_the_command(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.rot.*data\.root"):
        main([*OVERRIDES, f"data.rot={folder}"])
    with pytest.raises(UserError, match=r"data\.batch_size=0.*greater"):
        main([*OVERRIDES, f"data.root={folder}", "data.batch_size=0"])
    assert main([*OVERRIDES, f"data.root={folder}"]) == 0
    assert main([*OVERRIDES, f"data.root={folder}", "data.dataset.val=null"]) == 0
    assert main([*OVERRIDES]) == 1
