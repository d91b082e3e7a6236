"""What a sweeper is told of a run."""

from math import isnan
from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.run.folder import read_summary, write_summary
from cast_exp.run.objective import direction, outcome


@pytest.mark.parametrize(
    ("way", "metrics"),
    [
        ("maximize", "val/knn val/top1 val/miou linear_probe/top5 val/boundary_f figure_ground/x"),
        ("maximize", "hierarchy/covering/64 hierarchy/pri/8 throughput/images_per_second"),
        ("minimize", "train/loss val/loss throughput/data_wait time/training model/gflops"),
        ("minimize", "hierarchy/vi/64 hierarchy/nesting throughput/peak_memory_gib mine/ErrorRate"),
    ],
)
def test_the_direction_is_known_by_the_name(way: str, metrics: str) -> None:
    assert {direction(metric) for metric in metrics.split()} == {way}


def test_of_a_run_its_figure_nothing_or_what_it_had_to_offer(tmp_path: Path) -> None:
    write_summary(tmp_path, "finished", metrics={"val/knn": 0.25, "train/loss": 2.0})
    assert outcome(None, tmp_path) is None
    assert outcome("val/knn", tmp_path) == 0.25
    with pytest.raises(UserError, match=r"^objective=val/kn: .*did you mean val/knn\?$"):
        outcome("val/kn", tmp_path)
    assert read_summary(tmp_path)["status"] == "finished"
    write_summary(tmp_path, "failed", error="objective=val/kn: nothing in this run logs it")
    with pytest.raises(UserError, match=r"^objective=val/kn: nothing"):  # so the others are spared
        outcome("val/kn", tmp_path)
    write_summary(tmp_path, "failed", error="no data")
    value = outcome("val/knn", tmp_path)
    assert value is not None
    assert isnan(value)
