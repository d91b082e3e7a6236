"""`python -m cast_exp.segment` on drawn pictures, with a small backbone."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.run_folders import run_folder

from cast_exp import predict
from cast_exp.checkpoints import save_pretrained
from cast_exp.checkpoints.files import CONFIG
from cast_exp.checkpoints.segmentation import CLASSES
from cast_exp.data.datasets import Shapes
from cast_exp.models import create_model
from cast_exp.models.heads import SegmentationHead
from cast_exp.predict.job import Job
from cast_exp.segment import main

SMALL = ("--size", "64", "--superpixels", "36")
LEVELS = ("--levels", "12,6,3")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_pretrained(create_model("cast_tiny"), folder)
    return str(folder)


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    save_pretrained(create_model("vit_tiny"), folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two pictures in a folder and one below it, of several sizes."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    shapes = Shapes("val", size=96)
    shapes[0]["image"].save(folder / "a.png")
    shapes[1]["image"].resize((150, 80)).save(folder / "b.jpg")
    shapes[2]["image"].convert("L").save(folder / "more" / "c.png")
    return folder


def segment(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_superpixels_are_as_dense_as_in_the_run_unless_told_otherwise(
    photos, tmp_path, monkeypatch
):
    counts = []
    monkeypatch.setattr(Job, "run", lambda job: counts.append(job.method.count) or 0)
    data = {"data": {"image_size": 64}, "superpixel": {"count": 36}}
    run = run_folder(tmp_path / "run", config=data)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    for options in ((), ("--superpixels", "50")):
        assert segment(photos, "--checkpoint", run, "--size", "128", *options) == 0
    assert counts == [144, 50]


def test_superpixels_read_the_grid_as_in_training_unless_told_otherwise(
    photos, checkpoint, tmp_path, capsys
):
    def levels(*options: str) -> list[np.ndarray]:
        out = tmp_path / "-".join(options)
        given = ("--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS, *options)
        assert segment(photos / "a.png", *given) == 0
        return [read(out / "a" / f"level_{level}.png") for level in range(4)]

    own, nearest, other = levels(), *map(levels, ("--sampling=nearest", "--sampling=interpolated"))
    assert np.array_equal(own, nearest)  # as the card of the checkpoint has it
    assert not np.array_equal(own, other)
    assert segment(photos, "--task", "semantic", "--sampling=nearest") == 2
    assert "leave it out with --task semantic" in capsys.readouterr().err


def test_hierarchy(photos, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(photos, "--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS) == 0
    assert "3 done" in capsys.readouterr().out
    for name, size in {"a": (96, 96), "b": (80, 150), "more/c": (96, 96)}.items():
        tree = json.loads((out / name / "tree.json").read_text())
        assert (tree["height"], tree["width"]) == size
        counts = [level["segments"] for level in tree["levels"]]
        assert counts[0] > 12
        assert all(fine > coarse for fine, coarse in pairwise(counts))
        segments = tree["segments"]
        maps = [read(out / name / f"level_{level}.png") for level in range(4)]
        for level, labels in enumerate(maps):
            assert labels.shape == size
            ids, areas = np.unique(labels, return_counts=True)
            assert [segments[i]["level"] for i in ids] == [level] * counts[level]
            assert [segments[i]["area"] for i in ids] == areas.tolist()
            if level:
                below = np.unique(np.stack([maps[level - 1], labels]).reshape(2, -1), axis=1).T
                for child, parent in below.tolist():  # one parent for each
                    assert segments[child]["parent"] == parent
                    assert child in segments[parent]["children"]
            painted = read(out / name / f"level_{level}_painted.png")
            inside = ~(painted == 255).all(-1)
            for label in ids[:5]:
                assert len(np.unique(painted[inside & (labels == label)], axis=0)) <= 1
        overlay = read(out / name / "overlay.png")
        edge = maps[0][:, 1:] != maps[0][:, :-1]
        assert (overlay[:, 1:][edge] == 255).all()
        assert not (out / name / "page.html").exists()


def test_what_is_done_is_passed_over(photos, checkpoint, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = (photos, "--checkpoint", checkpoint, "--out", out, *SMALL)
    levels = ("--levels", "12,6")
    assert segment(*command, *levels) == 0
    (out / "b" / "overlay.png").unlink()
    before = (out / "a" / "tree.json").stat().st_mtime_ns
    assert segment(*command, *levels) == 0
    assert "1 done, 2 done before" in capsys.readouterr().out
    assert (out / "b" / "overlay.png").exists()
    assert (out / "a" / "tree.json").stat().st_mtime_ns == before
    assert segment(*command, "--levels", "12") == 0
    assert "3 done:" in capsys.readouterr().out
    assert not (out / "a" / "level_2.png").exists()
    assert segment(*command, "--levels", "12", "--overwrite") == 0
    assert "3 done:" in capsys.readouterr().out
    Image.new("RGB", (60, 60)).save(photos / "a.png")
    assert segment(*command, "--levels", "12") == 0
    assert "1 done, 2 done before" in capsys.readouterr().out


def test_page(photos, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    command = (photos / "b.jpg", "--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS)
    assert segment(*command, "--html") == 0
    assert capsys.readouterr().out.lstrip() == f"1 done: {out / 'b' / 'page.html'}\n"
    page = (out / "b" / "page.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["size"] == [150, 80]
    assert len(data["heads"]) == 3
    tree = json.loads((out / "b" / "tree.json").read_text())
    assert data["area"] == [s["area"] for s in tree["segments"]]
    start = sum(data["counts"][data["headLevel"] + 1 :])
    for head in data["heads"]:
        assert sum(head["share"]) == pytest.approx(1, abs=0.01)
        assert sum(head["share"][i - start] for i in head["mask"]) >= 0.595


@pytest.mark.parametrize("family", ["checkpoint", "vit"])
def test_figure_ground(photos, family, tmp_path, request):
    out, weights = tmp_path / "out", request.getfixturevalue(family)
    command = (photos / "b.jpg", "--task", "figure_ground", "--checkpoint", weights, "--out", out)
    assert segment(*command, *SMALL, *(LEVELS if family == "checkpoint" else ())) == 0
    heads = json.loads((out / "b" / "figure_ground.json").read_text())["heads"]
    assert len(heads) == 3
    for head in heads:
        mask = read(out / "b" / head["mask"])
        assert mask.shape == (80, 150)
        assert set(np.unique(mask)) == {0, 255}
        assert head["area"] == (mask > 0).sum()
        assert head["share"] == pytest.approx((mask > 0).mean(), abs=1e-4)
    assert (out / "b" / "heads.png").exists()


def test_semantic(photos, tmp_path):
    out, names = tmp_path / "out", ["background", "cat", "dog"]
    torch.manual_seed(0)
    backbone = create_model("cast_tiny", fusion=True, sampling="interpolated").eval()
    head = SegmentationHead(backbone.dim, len(names))
    state = {f"backbone.{k}": v for k, v in backbone.state_dict().items()}
    state |= {f"head.{k}": v for k, v in head.state_dict().items()}
    saved = {CONFIG: backbone.config.to_dict(), CLASSES: names, "state_dict": state}
    torch.save(saved, tmp_path / "tuned.ckpt")
    command = ("--task", "semantic", "--checkpoint", tmp_path / "tuned.ckpt", "--out", out, *SMALL)
    assert segment(photos, *command) == 0
    labels = read(out / "b" / "semantic.png")
    assert labels.shape == (80, 150)
    found = json.loads((out / "b" / "semantic.json").read_text())["classes"]
    assert [(row["class"], row["area"]) for row in found] == [
        (int(n), int(a)) for n, a in zip(*np.unique(labels, return_counts=True), strict=True)
    ]
    assert all(row["name"] == names[row["class"]] for row in found)
    overlay = read(out / "b" / "semantic_overlay.png")
    assert overlay.shape[0] > 80
    assert overlay.shape[1] == 150


def test_open_vocabulary(photos, checkpoint, image_text, tmp_path, capsys):
    out = tmp_path / "out"
    command = (photos, "--task", "open", "--checkpoint", checkpoint, "--out", out, "--html")
    command = (*command, "--image-text", image_text, *SMALL, *LEVELS)
    words = "dog(head,body,tail),grass(blade,root),sky(cloud,sun)"
    assert segment(*command, "--classes", words) == 0
    assert "3 done" in capsys.readouterr().out
    for name in ("a", "b", "more/c"):
        segments = json.loads((out / name / "open_tree.json").read_text())["segments"]
        for each in segments:
            assert each["object"] in ("dog", "grass", "sky")
            if each["level"] == 3:
                assert each["name"] == each["object"]
            else:
                assert each["name"].startswith(each["object"] + " ")
                assert each["object"] == segments[each["parent"]]["object"]
        page = (out / name / "open_page.html").read_text()
        data = json.loads(page.split('id="data">')[1].split("</script>")[0])
        assert data["names"] == [each["name"] for each in segments]
        parts = json.loads((out / name / "open_parts.json").read_text())["classes"]
        ids = read(out / name / "open_level_2.png")
        for row in parts:
            own = [each["id"] for each in segments if each["name"] == row["name"]]
            assert row["area"] == np.isin(ids, own).sum()
        assert (read(out / name / "open_parts.png") < 7).all()
    segment(*command, "--classes", words)
    assert "0 done, 3 done before" in capsys.readouterr().out
    assert segment(*command, "--classes", "dog,grass", "--prompt", "{}", "--prompt", "the {}") == 0
    assert "3 done" in capsys.readouterr().out
    assert not (out / "a" / "open_parts.png").exists()
    assert (out / "a" / "open_objects.png").exists()
    for wrong, message in (
        ((), '--task open needs names, as in --classes "dog,grass,sky"'),
        (("--classes", "dog", "--image-text", "nowhere"), "no image-text model nowhere"),
        (("--classes", "dog", "--task", "hierarchy"), "--classes is for --task open"),
    ):
        assert segment(*command, *wrong) == 2
        assert message in capsys.readouterr().err


def test_broken_pictures_are_told_at_the_end(photos, checkpoint, tmp_path, capsys):
    (photos / "a2.jpg").write_bytes(b"rubbish")
    Image.new("RGB", (3, 3)).save(photos / "tiny.png")
    out = tmp_path / "out"
    assert segment(photos, "--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS) == 1
    printed = capsys.readouterr()
    assert "3 done, 2 failed" in printed.out
    first, second = printed.err.splitlines()
    assert "a2.jpg: not an image of a known format" in first
    assert "tiny.png: it has only" in second
    assert not (out / "a2").exists()
    assert segment(photos / "a2.jpg", "--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS)
    # and no folder, for there is none
    assert capsys.readouterr().out.lstrip() == "0 done, 1 failed\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--levels", "6,12"), "--levels 6,12: every level must have fewer segments"),
        (("--levels", "0.5,12"), "counts and fractions cannot be mixed"),
        (("--levels", "20,9,8,7,6"), "has 4 groupings"),
        (("--levels", "40,9"), "36 superpixels cannot make 40 segments"),
        ((), "36 superpixels cannot make 64 segments"),
        (("--task", "semantic"), "has no head for segmentation"),
        (("--task", "figure_ground", "--html"), "leave it out"),
        (("--method", "seed"), "no superpixel method 'seed'"),
        (("--device", "tpu9"), "--device tpu9 cannot be used"),
    ],
)
def test_mistakes(photos, checkpoint, tmp_path, capsys, arguments, message):
    command = (photos, "--checkpoint", checkpoint, "--out", tmp_path / "out", *SMALL)
    assert segment(*command, *arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_range_of_values(checkpoint, tmp_path, capsys):
    deep = np.linspace(-1000, 3000, 80 * 80).reshape(80, 80)
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "scan.tiff")
    out = tmp_path / "out"
    command = (tmp_path / "scan.tiff", "--checkpoint", checkpoint, "--out", out, *SMALL, *LEVELS)
    assert segment(*command) == 1
    assert "scan.tiff: int32 values from -1000 to 3000" in capsys.readouterr().err
    assert segment(*command, "--value-range=-1000,3000") == 0
    for wrong, message in (("5", "two numbers"), ("a,b", "two numbers"), ("5,5", "higher")):
        with pytest.raises(SystemExit):
            segment(*command, f"--value-range={wrong}")
        assert message in capsys.readouterr().err


def test_more_mistakes(photos, vit, tmp_path, capsys):
    assert segment(photos) == 2
    assert "no --checkpoint; give" in capsys.readouterr().err
    assert segment(tmp_path / "nothing") == 2
    assert "no file or folder" in capsys.readouterr().err
    assert segment(photos, "--checkpoint", vit) == 2
    assert "groups nothing: no hierarchy; take a CAST" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        segment(photos, "--levels", "many")
    assert end.value.code == 2


def test_help_waits_for_no_library() -> None:
    code = "import sys, cast_exp.segment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_interrupt(photos, checkpoint, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict.job, "hierarchy_files", interrupted)
    command = (photos, "--checkpoint", checkpoint, "--out", tmp_path / "out", *SMALL, *LEVELS)
    assert segment(*command) == 130
    assert "goes on" in capsys.readouterr().err
