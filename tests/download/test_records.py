"""What is recorded of a file spares reading it again, and nothing else."""

import hashlib
import json
import os

import pytest

from cast_exp.download import records
from cast_exp.download.records import cache_dir, digest_of, only_one, record, recorded
from cast_exp.errors import UserError


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("CAST_EXP_CACHE")
    assert cache_dir().parts[-2:] == (".cache", "cast_exp")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_is_read_once(tmp_path, monkeypatch, algorithm):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    digest = hashlib.new(algorithm, b"content").hexdigest()
    assert digest_of(path, algorithm) == digest
    record(path, **{algorithm: digest})
    with monkeypatch.context() as unread:
        unread.setattr(records.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert digest_of(path, algorithm) == digest
    for changed in (lambda: path.write_bytes(b"c0ntent"), lambda: path.write_bytes(b"content+")):
        time = path.stat().st_mtime_ns
        changed()
        os.utime(path, ns=(time, time + 1))
        assert digest_of(path, algorithm) == hashlib.new(algorithm, path.read_bytes()).hexdigest()


def test_what_is_no_record_is_none(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for other in ('["sha256"]', "{", json.dumps({"sha256": "0" * 64})):
        (tmp_path / "file.json").write_text(other)
        assert digest_of(path) == hashlib.sha256(b"content").hexdigest()
    (tmp_path / "file.json").unlink()
    assert recorded(path) == {}


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "folder" / "name"
    message = r"cannot write to .*file/folder \(Not a directory\)"
    with pytest.raises(UserError, match=message), only_one(path):
        pass
