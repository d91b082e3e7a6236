"""A command for many pictures: what is done, passed over, failed and refused."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cast_exp.checkpoints import save_pretrained
from cast_exp.data.datasets import Shapes
from cast_exp.errors import UserError
from cast_exp.models import Pooling, create_model
from cast_exp.predict.job import Job
from cast_exp.superpixels import Seeds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_pretrained(create_model("cast_tiny", pooling=Pooling((12, 6, 3))), folder)
    return str(folder)


@pytest.fixture
def job(checkpoint: str, tmp_path: Path) -> Job:
    """Two pictures, small."""
    for index in range(2):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Shapes("val", size=64)[index]["image"].save(tmp_path / "photos" / f"{index}.png")
    return Job(
        photos=[tmp_path / "photos"],
        checkpoint=checkpoint,
        weights="trained",
        out=tmp_path / "out",
        task="hierarchy",
        levels=None,
        html=False,
        size=64,
        method=Seeds(36, histogram_bins=5, iterations=4),
        sampling=None,
        device="cpu",
        value_range=None,
        overwrite=False,
    )


def test_pictures_are_done_once_for_the_same_settings(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [{}, {}, {"levels": (5,)}, {"levels": (5,), "overwrite": True}]
    changes.append({"levels": (5,), "value_range": (0, 4095)})
    said = []
    for change in changes:
        assert replace(job, **change).run() == 0
        said.append(capsys.readouterr().out.strip().splitlines()[-1])
    assert said == [
        f"2 done: {job.out}",
        f"0 done, 2 done before: {job.out}",
        f"2 done: {job.out}",
        f"2 done: {job.out}",
        f"2 done: {job.out}",
    ]
    assert sorted(path.name for path in job.out.iterdir()) == ["0", "1"]
    assert (job.out / "0" / "level_1.png").is_file()
    assert not (job.out / "0" / "level_2.png").exists(), "what other settings made goes"


def test_one_bad_picture_takes_no_other_along(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    Path(job.photos[0], "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (3, 2)).save(Path(job.photos[0], "tiny.png"))
    assert job.run() == 1
    captured = capsys.readouterr()
    assert "2 done, 2 failed" in captured.out
    assert [line.split(":")[0] for line in captured.err.splitlines()] == ["failed", "failed"]
    assert "fewer than 12 segments" in captured.err


def test_figure_and_ground(job: Job) -> None:
    assert replace(job, task="figure_ground", photos=[Path(job.photos[0], "1.png")]).run() == 0
    assert {path.name for path in (job.out / "1").iterdir()} >= {"heads.png", "figure_ground.json"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"html": True, "task": "figure_ground"}, "--html shows a hierarchy"),
        ({"checkpoint": None}, "no --checkpoint; .* published one: .*cast_small_in1k_moco"),
        ({"device": "abacus"}, "--device abacus cannot be used"),
        ({"levels": (3, 6)}, "^--levels 3,6: every level must have fewer"),
        ({"levels": (9, 8, 7, 6)}, "the model has 3 groupings; give at most that many"),
        ({"levels": (40,)}, "36 superpixels cannot make 40 segments; set --superpixels higher"),
        ({"task": "semantic"}, "has no head for segmentation"),
    ],
)
def test_what_cannot_be_done_is_known_before_any_work(
    changes: dict[str, object], complaint: str, job: Job
) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(job, **changes).run()
    assert not job.out.exists()


def test_a_name_that_is_not_utf8_stops_no_other_picture(job: Job) -> None:
    first, _ = sorted(job.photos[0].iterdir())
    strange = first.with_name(os.fsdecode(b"\xff.png"))
    try:
        first.rename(strange)
    except OSError:  # macOS
        pytest.skip("the file system has names in UTF-8 only")
    assert replace(job, html=True).run() == 0
    pages = [path.read_text(encoding="utf-8") for path in job.out.rglob("page.html")]
    assert sorted("<title>?.png" in page for page in pages) == [False, True]
