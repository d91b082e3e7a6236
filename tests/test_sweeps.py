"""The paper's tables in miniature: each sweep pretrains, probes and leaves one table."""

import csv
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.cli import SMALL, cast_train

from cast_exp.config import conf_dir
from cast_exp.run.folder import read_summary, write_summary

# As SMALL, but with models by name, as a sweep over models needs them.
MINIATURE = (
    *(text for text in SMALL if not text.startswith(("model.", "pooling.", "superpixel"))),
    "superpixel.count=16",
    "pooling.levels=[8,4]",
    "trainer.max_epochs=1",
    "evaluation.linear_probe.epochs=2",
    "callbacks.pictures=null",
)
VOC = (
    *("data@scenes=shapes_scenes", "scenes.dataset.train=6", "scenes.dataset.val=4"),
    *("scenes.image_size=64", "scenes.superpixel.count=16", "scenes.workers=0"),
    *("model.fusion=true", "task.readout=fused_mean", "evaluation.retrieval.levels=[6,3]"),
)
TINY = {"table1": "vit_tiny,kmedoids_tiny,cast_tiny", "table1_sizes": "cast_tiny,cast_small"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(p.stem for p in Path(conf_dir(), "sweep").glob("table*")))
def test_a_table_in_miniature(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models = [f"hydra.sweeper.params.model='{TINY[name]}'"] if name in TINY else ["model=cast_tiny"]
    scenes = VOC if name.endswith("_voc") else ()
    figure = "retrieval/miou" if scenes else "linear_probe/cached_top1"
    assert cast_train(*MINIATURE, f"sweep={name}", *models, *scenes) == 0
    (sweep,) = (path.parent for path in tmp_path.glob("runs/*/*/multirun.yaml"))
    params = OmegaConf.load(Path(conf_dir(), "sweep", f"{name}.yaml")).hydra.sweeper.params
    *outer, key = params
    wanted = TINY.get(name, params[key]).split(",") * (
        len(params[outer[0]].split(",")) if outer else 1
    )

    with open(sweep / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row[key] for row in rows] == wanted
    for row in rows:
        assert row["status"] == "finished"
        assert 0 <= float(row[figure]) <= 1
    table = (sweep / "summary.md").read_text().splitlines()
    assert len(table) == 2 + len(wanted)
    assert figure in table[0]
    assert (sweep / "summary.png").stat().st_size

    # Resumed, only the job that has not finished is run again.
    last = sweep / rows[-1]["folder"]
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}
    write_summary(last, "interrupted", error="SIGINT")
    write_summary(sweep, "failed")
    of_hydra = [text for text in models if text.startswith("hydra.")]  # no folder can say that
    assert cast_train(f"resume={sweep}", *of_hydra) == 0
    after = {path: path.stat().st_mtime_ns for path in sweep.glob("*/summary.json")}
    assert {path for path in after if after[path] != before[path]} == {last / "summary.json"}
    assert read_summary(last)["status"] == "finished"
