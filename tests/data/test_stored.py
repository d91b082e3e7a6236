"""Files of tensors that know what they were computed from."""

from pathlib import Path

import pytest
import torch

from cast_exp.data.stored import load_parts, load_tensors, save_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "some.safetensors"
    save_tensors(path, TENSORS, "key")
    found = load_tensors(path, "key", ["b", "a"])
    assert found is not None
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing half written"
    save_tensors(path, {"a": torch.zeros(1)}, "other")
    assert load_tensors(path, "other", ["a"]) == {"a": torch.zeros(1)}


def test_files_that_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "some.safetensors"
    assert load_tensors(path, "key", ["a"]) is None
    assert not caplog.records, "there is nothing to say of a file that is not there"
    save_tensors(path, TENSORS, "key")
    assert load_tensors(path, "another", ["a"]) is None
    assert "another backbone or other data" in caplog.text
    path.write_bytes(path.read_bytes()[:20])
    assert load_tensors(path, "key", ["a"]) is None
    assert "cannot be read" in caplog.text


def test_any_flipped_byte_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "some.safetensors"
    tensors = TENSORS | {"c": torch.tensor(True), "d": torch.ones(2, dtype=torch.bfloat16)}
    save_tensors(path, tensors, "key")
    whole = path.read_bytes()
    found = load_tensors(path, "key")
    assert found is not None
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        caplog.clear()
        found = load_tensors(path, "key")
        if found is None:
            assert len(caplog.records) == 1
            assert "\n" not in caplog.text.strip()
        else:  # in a word of the header that nobody reads
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert "some.safetensors is damaged (checksum of c); computed anew" in caplog.text


def test_parts_that_are_of_no_use_are_told_once_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, key in enumerate(["key", "other", "key", "other"]):
        save_tensors(tmp_path / f"{number}.safetensors", {"n": torch.tensor(number)}, key)
    cut = tmp_path / "2.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    found = list(load_parts(tmp_path, "key"))
    assert [(path.name, int(part["n"])) for path, part in found] == [("0.safetensors", 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"{tmp_path / '1.safetensors'} is of another backbone or other data " + (
        "(and 2 more files); computed anew"
    )
    assert not list(load_parts(tmp_path / "none", "key"))
