"""The command that exports, and the examples that use what it writes."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from support.commands import ROOT
from support.run_folders import run_folder

from cast_exp.cli import export
from cast_exp.cli import main as cast_exp
from cast_exp.errors import UserError
from cast_exp.export import Exported, formats
from cast_exp.superpixels import Grid, Seeds

RUN = str(ROOT / "tests" / "golden" / "run_at_d48f020.ckpt")
EXAMPLES = ROOT / "docs" / "examples"
PHOTO = ROOT / "docs" / "creatures.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--format", "torch"], "no checkpoint at nothing"),
        ([RUN, "--format", "torch"], "4 superpixels cannot make 8 segments; set --superpixels"),
        ([RUN, "--format", "torch", "--levels", "4,8"], "every level must have fewer segments"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys, monkeypatch) -> None:
    monkeypatch.setattr(formats.torch.export, "export", lambda *_, **__: pytest.fail("too late"))
    assert cast_exp(["export", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("arguments", [["--format", "tflite"], ["--format=onnx", "--size=3x4x5"]])
def test_unknown_values_are_usage(arguments, capsys) -> None:
    with pytest.raises(SystemExit):
        export.main([RUN, *arguments])
    assert capsys.readouterr().err.splitlines()[-1].startswith("cast-exp export: error: argument")


def test_a_model_that_cannot_be_traced_is_told(tmp_path, monkeypatch) -> None:
    def branches(self, image, superpixels):
        return {"cls": image if image.sum() > 0 else -image}

    monkeypatch.setattr(Exported, "forward", branches)
    monkeypatch.setattr(Exported, "metadata", lambda self: {})
    options = ["--format", "torch", "--superpixels", "16", "--out", str(tmp_path / "model.pt2")]
    with pytest.raises(UserError, match="cannot be written as --format torch: "):
        export.main([RUN, *options])
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_called_the_same(tmp_path, monkeypatch, capsys) -> None:
    def write(model, path, metadata) -> None:
        path.touch()

    def run(path, image, superpixels):
        return {name: value + 1.0 for name, value in model(image, superpixels).items()}

    model = Exported.load(RUN, count=16)
    monkeypatch.setitem(export.FORMATS, "torch", formats.Format(".pt2", (), write, run))
    monkeypatch.chdir(tmp_path)
    assert export.main([RUN, "--format", "torch", "--superpixels", "16"]) == 1
    assert "do not use it" in capsys.readouterr().out
    assert (tmp_path / "model.pt2").is_file()


def test_of_a_run_there_are_as_many_superpixels_as_it_was_trained_with(
    tmp_path, monkeypatch, capsys
) -> None:
    counts = []

    def write(model, path, metadata) -> None:
        counts.append(model.count)
        path.touch()

    def run(path, image, superpixels):
        return Exported.load(RUN, count=counts[-1], size=image.shape[2:])(image, superpixels)

    monkeypatch.setitem(export.FORMATS, "torch", formats.Format(".pt2", (), write, run))
    monkeypatch.chdir(tmp_path)
    grid = {"_target_": "cast_exp.superpixels.Grid", "count": 17}
    folder = run_folder(tmp_path / "run", config={"superpixel": grid})
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    shutil.copy(RUN, checkpoint)
    assert cast_exp(["export", str(checkpoint), "--format", "torch"]) == 0
    assert "as Grid(count=17) makes, the method of the run" in capsys.readouterr().out
    assert cast_exp(["export", str(folder), "--format", "torch", "--size", "24x48"]) == 0
    assert cast_exp(["export", str(folder), "--format", "torch", "--superpixels", "20"]) == 0
    assert counts == [Grid(17).labels(32, 32), Grid(17).labels(24, 48), 20]
    (folder / "config.yaml").write_text("{}")
    assert cast_exp(["export", str(folder), "--format", "torch"]) == 2
    assert "does not say how it makes superpixels; set --superpixels" in capsys.readouterr().err


def in_another_process(example: str, *arguments: object) -> str:
    """Run an example where neither cast_exp nor what is named can be imported."""
    hidden = ["cast_exp", "timm", "lightning"] + ["torch"] * ("onnx" in example)
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({hidden}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"assert not any(sys.modules[name] for name in {hidden})\n"
    )
    words = [sys.executable, "-c", code, EXAMPLES / example, *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@torch.no_grad()
def test_onnx_runs_without_torch(tmp_path, capsys) -> None:
    pytest.importorskip("torch", minversion="2.15", reason="not tried with older exporters to ONNX")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    arguments = [RUN, "--format", "onnx", "--out", str(path), "--size", "48x64"]
    assert export.main([*arguments, "--superpixels", "24", "--levels", "8,3"]) == 0
    assert "run back by onnxruntime: the same segments" in capsys.readouterr().out
    about = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert (about["image_size"], about["superpixels"], about["levels"]) == ([48, 64], 24, [8, 3])

    in_another_process("onnx_segments.py", path, PHOTO, tmp_path / "segments.png")
    written = cv2.imread(str(tmp_path / "segments.png"))[..., ::-1]
    resized = cv2.resize(cv2.imread(str(PHOTO)), (64, 48), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(resized[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    model = Exported.load(RUN, size=(48, 64), count=24, levels=(8, 3))
    segments = model(image, Seeds(24)(image))["segmentation_2"][0].numpy()
    assert (written[:, :64] == resized[..., ::-1]).all()
    for segment in np.unique(segments):
        own = segments == segment
        assert np.ptp(written[:, 64:][own], axis=0).max() == 0
        mean = resized[..., ::-1][own].mean(0)
        assert np.abs(written[:, 64:][own][0] - mean).max() < 1


@pytest.mark.slow
def test_torch_runs_without_us(tmp_path) -> None:
    path = tmp_path / "model.pt2"
    assert export.main([RUN, "--format=torch", f"--out={path}", "--superpixels=16"]) == 0
    said = in_another_process("torch_shapes.py", path)
    assert "segmentation_2 (2, 32, 32)" in said
