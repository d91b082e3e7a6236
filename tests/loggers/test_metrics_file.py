import csv
import errno
from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.loggers import MetricsFile


def read(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_continues_its_metrics_file(tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    first.log_metrics({"loss": 1.0}, step=0)
    first.log_metrics({"loss": 0.5, "knn": 0.2}, step=1)
    first.finalize("failed")
    second = MetricsFile(tmp_path)
    second.log_metrics({"loss": 0.25, "knn": 0.3}, step=2)
    second.save()
    second.log_metrics({"new": 7.0}, step=3)
    second.finalize("success")
    rows = read(tmp_path)
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["loss"] for row in rows] == ["1.0", "0.5", "0.25", ""]
    assert [row["knn"] for row in rows] == ["", "0.2", "0.3", ""]
    assert rows[3]["new"] == "7.0"


@pytest.mark.parametrize("left", [-3, 5, 0])  # of the last row, of the header, nothing
def test_what_a_kill_has_cut_off_is_not_gone_on_with(left: int, tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    for step in range(2):
        first.log_metrics({"loss": 1.5}, step)
    first.save()
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:left])
    second = MetricsFile(tmp_path)
    second.log_metrics({"loss": 2.5, "knn": 0.5}, step=2)
    second.save()
    rows = read(tmp_path)
    assert [(row["step"], row["loss"]) for row in rows] == [("0", "1.5")] * (left < 0) + [
        ("2", "2.5")
    ]


def test_new_columns_do_not_put_the_old_rows_at_risk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    former = (tmp_path / "metrics.csv").read_text()
    logger.log_metrics({"knn": 0.5}, step=1)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"metrics\.csv cannot be written: no space left"):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text() == former


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_rows_reach_the_disk_before_the_end(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path, flush_logs_every_n_steps=2)
    for step in range(3):
        logger.log_metrics({"loss": float(step)}, step)
    assert len(read(tmp_path)) == 2
