"""The command for the published weights, with a server on this machine in the place of the hub."""

import io
import json
import re
from zipfile import ZipFile

import pytest
import torch
from safetensors.torch import load_file
from support.file_server import file_server
from support.official import (
    backbone_shapes,
    backbone_state,
    blank,
    deit,
    linear_probe,
    moco,
    segmenter,
    spml,
)
from timm.models.vision_transformer import VisionTransformer

from cast_exp.api import Run
from cast_exp.checkpoints import load_pretrained
from cast_exp.checkpoints.published import PUBLISHED
from cast_exp.cli import zoo
from cast_exp.cli.zoo import main
from cast_exp.download import records
from cast_exp.download.records import digest_of
from cast_exp.errors import UserError
from cast_exp.eval import evaluate_model
from cast_exp.models.config import ModelConfig
from cast_exp.run.preflight import checked_command
from cast_exp.run.resolvers import register_resolvers
from cast_exp.train import train

NAME = "cast_small_in1k_moco"
FILE = "/twke/CAST/resolve/main/snapshots/moco/imagenet1k/cast_small/checkpoint_0099.pth.tar"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub and an empty cache."""
    with file_server() as server:
        server.commit = "0123456789" * 4
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("COLUMNS", "200")
        yield server


def as_file(checkpoint):
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def test_list(hub, capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert len(PUBLISHED) == 8
    for name, weights in PUBLISHED.items():
        assert name in printed
        assert weights.figure.reported[:10] in printed


def test_where_the_weights_are(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert PUBLISHED[NAME].url == f"https://huggingface.co{FILE}"


def test_by_name(hub, tmp_path, capsys, monkeypatch):
    hub.files[FILE] = as_file(moco(blank(backbone_shapes("cast"))))
    assert main(["info", NAME]) == 0
    assert "not downloaded" in capsys.readouterr().out
    model = load_pretrained(NAME)
    assert model.config.depths == (3, 3, 3, 2)
    assert main(["info", NAME]) == 0
    printed = capsys.readouterr().out
    assert digest_of(PUBLISHED[NAME].path) in printed
    assert f"{len(hub.files[FILE]):,} bytes" in printed
    assert hub.commit in printed
    assert "68.1 %" in printed
    monkeypatch.setattr(records.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert PUBLISHED[NAME].fetch() == PUBLISHED[NAME].path
    assert hub.ranges == [None]


def test_convert_by_name(hub, tmp_path, capsys):
    hub.files[FILE] = as_file(moco(backbone_state("cast")))
    assert main(["convert", NAME, "--out", str(tmp_path / "out")]) == 0
    assert "wrote" in capsys.readouterr().out
    converted, direct = load_pretrained(tmp_path / "out"), load_pretrained(NAME)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights.keys() == direct.state_dict().keys()
    for name, value in direct.state_dict().items():
        assert torch.equal(converted.state_dict()[name], value)
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert ModelConfig.from_dict(card["config"]) == direct.config
    assert card["about"] == {
        "name": NAME,
        "source": hub.url + FILE,
        "sha256": digest_of(PUBLISHED[NAME].path),
        "trained": "ImageNet-1k, MoCo-v3, 100 epochs",
        "reported": "68.1 % top-1, ImageNet-1k linear probe",
    }
    for path in (PUBLISHED[NAME].path, tmp_path / "out" / "model.safetensors"):
        path.unlink()  # they are large


def test_convert_a_file(hub, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(moco(blank(backbone_shapes("vit"))), path)
    assert main(["convert", str(path), "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert card["about"] == {"source": "mine.pth", "sha256": digest_of(path)}
    (tmp_path / "out" / "model.safetensors").unlink()


def test_what_the_file_of_a_vit_does_not_tell_is_told(tmp_path):
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=1, num_classes=0)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    told = ["--heads", "4", "--normalization", "inception", "--out", str(tmp_path / "out")]
    assert main(["convert", str(tmp_path / "vit.pth"), *told]) == 0
    converted = load_pretrained(tmp_path / "out")
    assert converted.config.heads == 4
    assert not torch.equal(converted.stem.projection.bias, vit.patch_embed.proj.bias)


def test_check_tells_of_each_and_goes_on_after_one_that_is_not_there(hub, capsys):
    hub.files[FILE] = as_file(moco(blank(backbone_shapes("cast"))))
    assert main(["check", NAME]) == 0
    built, figure = capsys.readouterr().out.splitlines()
    assert built.startswith(f"{NAME}: verified, CAST of 2")
    assert figure == (
        "  published 68.1 % top-1, ImageNet-1k linear probe: python -m cast_exp.train "
        f"experiment=in1k_linear checkpoint={NAME} compat=official data.root=DIR"
    )
    assert main(["check"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("404 Not Found") == len(PUBLISHED) - 1
    assert built in printed
    PUBLISHED[NAME].path.write_bytes(b"something else")
    assert main(["check", NAME]) == 1
    assert "is not the file it should be" in capsys.readouterr().out


def test_check_measures_the_published_figure(hub, tmp_path, capsys, monkeypatch):
    name = "cast_small_coco_moco_150"
    state = moco(blank(backbone_shapes("cast")))
    hub.files[f"/twke/CAST/resolve/main/snapshots/{PUBLISHED[name].file}"] = as_file(state)
    told = []

    def run(overrides):
        told.extend(overrides)
        return Run(tmp_path, {"retrieval/miou": 0.3849})

    monkeypatch.setattr(zoo, "run_evaluation", run)
    assert main(["check", name, "--root", "/data/voc"]) == 0
    assert "published 38.4 % mIoU, VOC segment retrieval; found 38.5 %" in capsys.readouterr().out
    assert "data.root=/data/voc" in told


def test_check_takes_each_file_of_an_archive_for_what_it_is(hub, tmp_path, capsys, monkeypatch):
    """The official one holds files that its README does not link, under names nobody tells."""
    cast = blank(backbone_shapes("cast"))
    state = {
        PUBLISHED[NAME].file: moco(cast),
        "probe.pth.tar": linear_probe(cast),
        "in100.pth.tar": {**moco(cast), "epoch": 200},
        "spml/model-29999.pth": spml(blank(backbone_shapes("cast_seg"))),
        "coco.pth.tar": {**moco(blank(backbone_shapes("cast_seg"))), "epoch": 150},
        "deit/mine.pth": deit(blank(backbone_shapes("cast_deit"))),
        "segmenter.pth": segmenter(blank(backbone_shapes("cast_seg_deit"))),
        "broken.pth": None,
    }
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        for file, checkpoint in state.items():
            content = as_file(checkpoint) if checkpoint else b"no checkpoint"
            archive.writestr(f"snapshots/{file}", content)
        archive.writestr("snapshots/spml/model-29999.state.pth", b"of an optimizer")
    hub.files["/twke/CAST/resolve/main/snapshots.zip"] = packed.getvalue()
    measured = []

    def run(overrides):
        measured.append(overrides)
        return Run(tmp_path, {"retrieval/miou": 0.3849, "segmentation/miou": 0.6712})

    monkeypatch.setattr(zoo, "run_evaluation", run)
    assert main(["check", "--archive", "--root", "voc=/voc"]) == 1
    told = capsys.readouterr().out
    lines = dict(zip(state, re.split(r"\n(?=\S)", told), strict=True))
    assert f"train experiment=in1k_linear checkpoint={NAME}" in lines[PUBLISHED[NAME].file]
    assert "published 68.1 % top-1" in lines["probe.pth.tar"]
    assert "eval experiment=in1k_linear" in lines["probe.pth.tar"]
    assert "published 38.4 % mIoU, VOC segment retrieval; found 38.5 %" in lines["coco.pth.tar"]
    assert (
        "published 67.6 % mIoU, VOC after fine-tuning; found 67.1 %"
        in lines["spml/model-29999.pth"]
    )
    assert "published 80.4 %" in lines["deit/mine.pth"]
    for file in ("in100.pth.tar", "segmenter.pth"):
        assert "reports no figure of it" in lines[file]
    assert "cannot be read as a checkpoint" in lines["broken.pth"]
    assert all("data.root=/voc" in overrides for overrides in measured)
    assert PUBLISHED[NAME].fetch().is_file()  # there it is, so that nothing is fetched
    assert main(["check", NAME, "--archive", str(tmp_path / "cache" / "zoo")]) == 0
    assert capsys.readouterr().out.startswith(PUBLISHED[NAME].file)


@pytest.mark.parametrize(
    "name", {weights.figure.experiment: n for n, weights in PUBLISHED.items()}.values()
)
def test_what_measures_a_published_figure_is_a_command_that_there_is(name, hub):
    figure, task = PUBLISHED[name].figure, {"train": train, "eval": evaluate_model}
    register_resolvers()
    given = [f"experiment={figure.experiment}", f"checkpoint={name}", "compat=official"]
    checked_command([*given, "data.root=DIR"], figure.entry, task[figure.entry])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check", "cast_smal_in1k_moco"], "did you mean cast_small_in1k_moco"),
        (["info", "cast_smal_in1k_moco"], "did you mean cast_small_in1k_moco"),
        (["check", "--root", "x"], "name one of the published weights"),
        (["check", "--archive", "nowhere.zip"], "no archive at nowhere.zip"),
        (["convert", "nothing", "--out", "x"], "no checkpoint at nothing"),
        (["convert", NAME, "--out", "x"], "404 Not Found"),
    ],
)
def test_mistakes(hub, command, message):
    with pytest.raises(UserError) as told:
        main(command)
    assert message in str(told.value)
