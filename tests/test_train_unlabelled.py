"""Training on a folder of one's own photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli import cast_train, runs

from cast_exp.run.folder import write_summary

SMALL = (
    "experiment=in1k_moco",
    "data.image_size=32",
    "data.workers=0",
    "data.batch_size=4",
    "augmentation=byol_small",
    "superpixel=grid",
    "superpixel.count=16",
    "pooling.levels=[8,4]",
    "model.name={_target_:cast_exp.models.Size,dim:24,depths:[1,1],heads:2}",
    "model.image_size=32",
    "precision=fp32",
    "optim.schedule.warmup_epochs=0",
    "task.hidden_dim=32",
    "task.projection_dim=16",
    "trainer.max_steps=2",
    "callbacks.progress=null",
    "callbacks.pictures.count=2",
    "+trainer.enable_progress_bar=false",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def photographs(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 40)).save(root / name)
    return root


def album(root: Path, count: int = 24) -> Path:
    return photographs(root, *(f"{number % 3}/{number}.jpg" for number in range(count)))


def test_photographs_train_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = album(tmp_path / "album")
    (root / "broken.jpg").write_bytes(b"no image")
    command = (*SMALL, "data=unlabelled_folder", f"data.root={root}", "data.dataset.held_out=0.2")
    assert cast_train(*command) == 0
    output = capsys.readouterr()
    off = "callbacks.knn and callbacks.best are off: the images have no classes to tell apart"
    assert output.err.count(off) == 1
    (run,) = runs()
    held_out = (run / "held_out.txt").read_text().splitlines()
    assert 0 < len(held_out) < 12
    assert all((root / name).is_file() for name in held_out)
    assert output.err.count(f"{len(held_out)} of 25 images validate and are not trained on") == 1
    assert f"images: {25 - len(held_out)}\n" in (run / "hparams.yaml").read_text()
    assert (run / "images/step0000002.png").is_file()
    assert not (run / "checkpoints/best.ckpt").exists()

    write_summary(run, "interrupted")
    assert cast_train(f"resume={run}", "trainer.max_steps=4") == 0
    assert (run / "held_out.txt").read_text().splitlines() == held_out
    assert (run / "images/step0000004.png").is_file()


def test_class_folders_that_share_no_class_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"train/{name}/{number}.jpg" for name in "ab" for number in range(4)]
    root = photographs(tmp_path / "mine", *names, "val/c/1.jpg", "val/d/1.jpg")
    assert cast_train(*SMALL, "callbacks=with_probe", f"data.root={root}") == 0
    off = "callbacks.knn and callbacks.probe and callbacks.best are off: no class has both"
    assert capsys.readouterr().err.count(off) == 1
    for name in ("knn", "linear_probe"):
        assert cast_train(*SMALL, f"data.root={root}", f"evaluate=[{name}]") == 2
        output = capsys.readouterr()
        assert "no class has both training and validation images" in output.err
        assert "plan" not in output.out


@pytest.mark.parametrize(
    ("count", "overrides", "expected"),
    [
        (1, [], "there is one image only"),
        (2, ["data.batch_size=1"], "MoCo contrasts images of a batch"),
        (5, ["data.batch_size=64"], "is more than the 4 training images"),
        (5, ["data.batch_size=2", "evaluate=[knn]"], "the images have no classes to tell apart"),
        (5, ["experiment=in1k_supervised", "data.batch_size=2"], "at least two classes"),
        (
            5,
            ["experiment=in1k_linear", "data.batch_size=2", "model=cast_tiny"],
            "the images have no classes to tell apart",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_printed(
    count: int,
    overrides: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = album(tmp_path / "album", count)
    given = () if overrides[:1] and overrides[0].startswith("experiment") else SMALL
    command = ("data=unlabelled_folder", f"data.root={root}", "data.workers=0", "precision=fp32")
    assert cast_train(*given, *command, *overrides) == 2
    output = capsys.readouterr()
    assert expected in output.err
    assert "Traceback" not in output.err
    assert output.out == ""
