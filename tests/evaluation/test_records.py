"""Records of images, which survive interruptions and other numbers of processes."""

from pathlib import Path

import pytest

from cast_exp.evaluation.records import RecordFile, place

KEY = {"weights": "abc"}


def test_records_are_on_disk_at_once(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "new", KEY)
    file.add({"index": 4, "score": 0.5})
    again = RecordFile(tmp_path / "new", KEY)
    assert again.known == {(0, 4): {"index": 4, "score": 0.5}}
    again.add({"index": 1, "split": 2})
    assert RecordFile(tmp_path / "new", KEY).known.keys() == {(0, 4), (2, 1)}


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, KEY)
    for index in range(3):
        file.add({"index": index})
    file.path.write_text(file.path.read_text()[:-4])
    again = RecordFile(tmp_path, KEY)
    assert again.known.keys() == {(0, 0), (0, 1)}
    again.add({"index": 2})
    assert RecordFile(tmp_path, KEY).known.keys() == {(0, 0), (0, 1), (0, 2)}


def test_records_of_something_else_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    RecordFile(tmp_path, KEY).add({"index": 0})
    other = RecordFile(tmp_path, {"weights": "xyz"})
    assert other.known == {}
    assert "another backbone or other data" in caplog.text
    other.add({"index": 1})
    assert RecordFile(tmp_path, {"weights": "xyz"}).known.keys() == {(0, 1)}
    assert RecordFile(tmp_path, KEY).known == {}


def test_one_file_of_all_processes_is_left_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = RecordFile(tmp_path, KEY)
    first.add({"index": 2})
    with monkeypatch.context() as patch:
        patch.setattr("cast_exp.evaluation.records.rank", lambda: 1)
        second = RecordFile(tmp_path, KEY)
        second.add({"index": 0})
        assert second.path != first.path
    assert RecordFile(tmp_path, KEY).known.keys() == {(0, 0), (0, 2)}
    joined = first.join([first.known, second.known])
    assert [path.name for path in tmp_path.iterdir()] == ["images.jsonl"]
    alone = RecordFile(tmp_path, KEY)
    assert alone.known == joined == {(0, 0): {"index": 0}, (0, 2): {"index": 2}}
    assert list(alone.known) == [(0, 0), (0, 2)]


def test_the_place_of_an_image() -> None:
    assert place({"index": 3}) == (0, 3)
    assert place({"index": 3, "split": 1}) == (1, 3)
