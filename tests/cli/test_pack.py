from pathlib import Path

import pytest
from support.tiny_data import noise

from cast_exp.cli import main, pack
from cast_exp.data.datasets import ImageFolder
from cast_exp.errors import UserError


def test_packs_of_class_folders_are_verified(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    data = ["data=image_folder", "superpixel=grid"]
    assert main(["pack", *data, f"data.root={folder}", "--out", str(out)]) == 0
    assert f"{out}/train.tar: 24 images" in capsys.readouterr().out
    assert main(["pack", *data, f"data.root={out}", "--verify"]) == 0
    assert "val.tar: 9 images, 0 of them damaged" in capsys.readouterr().out
    content = bytearray((out / "val.tar").read_bytes())
    content[content.index((folder / "val/ant/1.jpg").read_bytes()) + 50] ^= 1
    (out / "val.tar").write_bytes(content)
    assert main(["pack", *data, f"data.root={out}", "--verify"]) == 1
    said = capsys.readouterr().out
    assert f"{out}/val.tar/ant/1.jpg: damaged since it was packed" in said
    assert "val.tar: 9 images, 1 of them damaged" in said
    assert main(["check", *data, f"data.root={out}"]) == 1
    assert "8 readable images" in capsys.readouterr().out


def test_a_folder_without_validation_images_is_one_pack(tmp_path: Path) -> None:
    for number in range(9):
        noise(tmp_path / f"in/deep/{number}.jpg", seed=number)
    data = "data=unlabelled_folder"
    assert main(["pack", data, f"data.root={tmp_path}/in", "--out", str(tmp_path)]) == 0
    options = {"train": ".", "val": None, "labelled": False, "held_out": 0.3}
    for split in ("train", "val"):
        packed, plain = (
            ImageFolder(split, tmp_path / root, **options) for root in ("images.tar", "in")
        )
        assert list(packed.names()) == list(plain.names())
        assert packed[0]["image"].tobytes() == plain[0]["image"].tobytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=shapes", "--out", "there"], "Shapes is more than a folder of images"),
        (["data=image_folder", "data.root=ROOT", "--verify"], "train has no checksums; only"),
        (["data=image_folder", "data.root=ROOT", "--out", "ROOT"], "has a folder train, which"),
        (["data=image_folder", "data.root=ROOT/x", "--out", "there"], "no folder .*/x/train"),
    ],
)
def test_mistakes(words: list[str], message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        pack.main([word.replace("ROOT", str(folder)) for word in words])
