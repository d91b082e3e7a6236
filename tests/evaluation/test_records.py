"""Records of images, which survive interruptions and other numbers of processes."""

import json
from pathlib import Path
from zlib import crc32

import pytest
import torch

from cast_exp.evaluation.records import RecordFile, dense, place, sparse

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


def test_a_damaged_record_is_told_and_measured_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = RecordFile(tmp_path, KEY)
    for index in range(3):
        file.add({"index": index, "path": "ä", "score": [index / 7]})
    whole = file.path.read_bytes()
    lines = whole.split(b"\n")
    start = len(lines[0]) + len(lines[1]) + 2  # of the second record
    for at in range(start, start + len(lines[2])):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        file.path.write_bytes(damaged)
        caplog.clear()
        again = RecordFile(tmp_path, KEY)
        assert again.known.keys() == {(0, 0), (0, 2)}
        assert caplog.text.count("1 damaged records, measured anew") == 1
    again.add({"index": 1, "path": "ä", "score": [1 / 7]})
    assert RecordFile(tmp_path, KEY).known == file.known


def test_records_are_plain_json(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, KEY)
    file.add({"index": 4, "score": 0.5})
    first, line = file.path.read_text().splitlines()
    assert json.loads(first) == KEY
    record = json.loads(line)
    assert record.pop("checksum") == crc32(b'{"index": 4, "score": 0.5}')
    assert record == {"index": 4, "score": 0.5}


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


def test_a_sparse_tensor_comes_back() -> None:
    values = torch.tensor([[0, 3], [0, 0], [-1, 2**40]])
    assert sparse(values) == [[1, 4, 5], [3, -1, 2**40]]
    assert torch.equal(dense(sparse(values), torch.ones(3, 2, dtype=torch.int64)), values)
    assert dense(sparse(torch.zeros(2)), torch.ones(2)).tolist() == [0, 0]
