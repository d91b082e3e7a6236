"""Files of tensors that know what they were computed from."""

from pathlib import Path

import pytest
import torch

from cast_exp.data.stored import load_tensors, save_tensors

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
