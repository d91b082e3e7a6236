import json
import re
from pathlib import Path

import pytest
from support.run_folders import run_folder

from cast_exp.cli import main, report
from cast_exp.errors import UserError
from cast_exp.run import record

pytest.importorskip("plotly", reason="needs Plotly")


def content(page: Path) -> dict:
    data = re.search(r'type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert data
    return json.loads(data[1])


def test_a_report_has_all_readable_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path / "runs/a/1", metrics={"val/knn": 0.5})
    broken = run_folder(tmp_path / "runs/a/2")
    (broken / ".hydra/hydra.yaml").write_text("- 1")
    run_folder(tmp_path / "runs/b/1")
    out = tmp_path / "deep/r.html"
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert [run["name"] for run in content(out)["runs"]] == ["a/1", "b/1"]
    assert content(out)["title"] == "runs"
    said = capsys.readouterr().out
    assert f"warning: left out: {broken}/.hydra/hydra.yaml is damaged" in said
    assert f"{out}: 2 runs" in said


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "a")
    assert main(["report", f"{tmp_path}/b"]) == 2
    assert "does not exist" in capsys.readouterr().err
    for arguments, told in {
        (str(run), "--out", f"{run}/config.yaml/r.html"): "config.yaml is a file, not a folder",
        (str(run), "--out", str(tmp_path)): "is a folder, not a file",
        (str(run), "--pictures", "inf"): "'inf' is not a number above 0",
        (str(run), "--pictures", "-1"): "'-1' is not a number above 0",
        (str(run), "--watch", "0"): "'0' is not a whole number from 1 up",
    }.items():
        with pytest.raises(SystemExit):
            main(["report", *arguments])
        assert told in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot write"):
        report.write_report(tmp_path, [run], "", 0)
    (run / ".hydra/hydra.yaml").write_text("- 1")
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 2
    assert "none of the runs can be read" in capsys.readouterr().err


def test_a_watched_report_is_renewed_when_runs_get_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_folder(tmp_path / "runs/1", rows=[{"step": 1, "val/knn": 0.5}], status="running")
    at_work = {first.resolve()}
    monkeypatch.setattr(record, "idle", lambda folder: folder not in at_work)
    out = tmp_path / "r.html"
    written = []

    def wait(seconds: float) -> None:
        written.append(out.stat().st_mtime_ns)
        assert seconds == 7
        if len(written) == 2:  # nothing has happened before, now there is one more
            run_folder(tmp_path / "runs/2")
        if len(written) == 3:
            at_work.clear()  # it is killed
        if len(written) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(report.time, "sleep", wait)
    assert main(["report", str(tmp_path / "runs"), "--out", str(out), "--watch", "7"]) == 130
    assert written[0] == written[1] < written[2] < written[3]
    runs = [(run["name"], run["status"]) for run in content(out)["runs"]]
    assert runs == [("1", "killed?"), ("2", "finished")]
    assert content(out)["reload"] == 7
