from pathlib import Path

import numpy as np
import pytest
from PIL import Image

wandb = pytest.importorskip("wandb")

from support.wandb_files import OfflineRun  # noqa: E402

from cast_exp.checkpoints import save_pretrained  # noqa: E402
from cast_exp.data.datasets import Shapes  # noqa: E402
from cast_exp.models import create_model  # noqa: E402
from cast_exp.segment import main  # noqa: E402


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    wandb.teardown()


def test_photos_go_to_wandb_with_their_levels_and_their_checkpoint(tmp_path: Path) -> None:
    save_pretrained(create_model("cast_tiny"), tmp_path / "model")
    Shapes("val", size=96)[0]["image"].save(tmp_path / "a.png")
    out = tmp_path / "out"
    words = [tmp_path / "a.png", "--checkpoint", tmp_path / "model", "--out", out]
    small = ["--size", "64", "--superpixels", "36", "--levels", "12,6,3"]
    assert main([*map(str, words), *small, "--wandb", "lab/cast"]) == 0
    kept = OfflineRun(out)
    assert (kept.run.job_type, kept.run.project, kept.run.entity) == ("segment", "cast", "lab")
    assert list(kept.run.tags) == ["hierarchy"]
    assert kept.config["source"]["checkpoint"] == str(tmp_path / "model")
    (masks,) = kept.summary["segments/masks"]["all_masks"]
    assert sorted(masks) == ["level 1", "level 2", "level 3"]
    stored = np.asarray(Image.open(out / "a/level_3.png"))
    mask = np.asarray(Image.open(kept.folders[0] / "files" / masks["level 3"]["path"]))
    assert mask.shape == (96, 96)
    assert len(np.unique(mask)) == len(np.unique(stored))
    assert {"segments/a/overlay", "segments/a/level_3_painted"} <= kept.summary.keys()


def test_a_mistake_ends_the_run_and_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [str(tmp_path / "missing.png"), "--out", str(tmp_path / "out")]
    assert main([*missing, "--checkpoint", str(tmp_path / "none"), "--wandb", "cast"]) == 2
    assert "error: " in capsys.readouterr().err
    assert wandb.run is None
