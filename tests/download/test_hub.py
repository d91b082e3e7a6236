"""Files of Hugging Face, from a server on this machine that answers as its servers do."""

import errno
import hashlib
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import file_download, hf_hub_download
from support.file_server import file_server

from cast_exp.download import hub as module
from cast_exp.download import records
from cast_exp.download.hub import download_from_hub, told_in_a_line, verify_cached
from cast_exp.download.records import recorded
from cast_exp.errors import UserError

CONTENT = bytes(range(256)) * 100
PLACE = "/them/model/resolve/main/some/file.pth"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NEW = pytest.mark.skipif(
    int(huggingface_hub.__version__.partition(".")[0]) < 2,
    reason="former releases begin anew, or try again by themselves",
)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    with file_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        server.commit = "0123456789" * 4
        server.files[PLACE] = CONTENT
        yield server


def fetch(folder):
    return download_from_hub("them/model", "some/file.pth", folder / "file.pth")


def names(folder):
    return {path.name for path in folder.iterdir()} - {"file.pth.lock"}


def test_once_and_pinned(hub, tmp_path, monkeypatch):
    path = fetch(tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert recorded(path) == {
        "url": hub.url + PLACE,
        "revision": hub.commit,
        "size": len(CONTENT),
        "sha256": SHA256,
        "mtime_ns": path.stat().st_mtime_ns,
    }
    assert names(path.parent) == {"file.pth", "file.pth.json"}
    hub.server_close()
    monkeypatch.setattr(records.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert fetch(tmp_path / "new") == path
    assert hub.ranges == [None]


@NEW
def test_a_cut_download_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(file_download.constants, "DOWNLOAD_CHUNK_SIZE", 500)
    hub.cuts = [1000, 500]
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=1000-", "bytes=1500-"]


@pytest.mark.parametrize(
    "sent",
    [
        CONTENT[::-1],
        pytest.param(CONTENT[:-1], marks=NEW),
        pytest.param(b"<html></html>", marks=NEW),
        b"",
    ],
)
def test_what_is_not_as_the_hub_says_is_not_kept(hub, tmp_path, sent):
    hub.sent = sent
    with pytest.raises(
        UserError, match=r"file\.pth (is not the file|cannot be fetched: Con)"
    ) as told:
        fetch(tmp_path)
    assert "\n" not in str(told.value)
    assert "file.pth" not in names(tmp_path)
    assert not recorded(tmp_path / "file.pth")
    hub.sent = None
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == {"file.pth", "file.pth.json"}


@pytest.mark.parametrize("digests", [True, False])
def test_a_later_other_file_must_be_accepted(hub, tmp_path, digests):
    hub.digests = digests
    fetch(tmp_path).unlink()
    hub.files[PLACE] = CONTENT[::-1]
    asked = len(hub.ranges)
    with pytest.raises(UserError, match=rf"its sha256 is .*, not {SHA256}; delete .*\.json to"):
        fetch(tmp_path)
    assert len(hub.ranges) == asked + (not digests), "told before it is fetched"
    assert names(tmp_path) == {"file.pth.json"}
    (tmp_path / "file.pth.json").unlink()
    assert fetch(tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(("damaged", "key"), [(CONTENT[:-1], "size"), (CONTENT[::-1], "sha256")])
def test_a_file_that_has_changed_since(hub, tmp_path, damaged, key):
    path = fetch(tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=f"its {key} is .*delete it to fetch it again"):
        fetch(tmp_path)
    path.unlink()
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_pinned(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    (tmp_path / "file.pth").write_bytes(CONTENT)
    assert recorded(fetch(tmp_path))["sha256"] == SHA256
    (tmp_path / "file.pth").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="its sha256 is"):
        fetch(tmp_path)


@pytest.mark.parametrize("code", [401, 403, 404, pytest.param(503, marks=NEW)])
def test_refusals(hub, tmp_path, code):
    hub.errors = [code]
    with pytest.raises(UserError, match=rf"cannot be fetched: the server says {code} \w+") as told:
        fetch(tmp_path)
    assert "\n" not in str(told.value)


def test_a_login_page_is_not_the_hub(hub, tmp_path):
    """Not even where it would be told how to take another file than the pinned one."""
    fetch(tmp_path).unlink()
    hub.commit = None
    hub.files[PLACE] = b"<html></html>"
    with pytest.raises(
        UserError, match=r"the server is not one of Hugging Face \(a login page\?\)"
    ):
        fetch(tmp_path)


def test_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=r"Connection refused; check the connection, or put .* at"):
        fetch(tmp_path)


def test_no_space(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UserError, match=r"needs 25,600 bytes, but .* has only 10 left"):
        fetch(tmp_path)


def test_a_disk_that_fills_up(hub, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "hf_hub_download", full)
    with pytest.raises(UserError, match="cannot be written: no space left on device"):
        fetch(tmp_path)


def test_an_error_of_any_kind_is_a_line():
    message = r"^it cannot be fetched: one; do this$"
    with pytest.raises(UserError, match=message), told_in_a_line("it", "do this"):
        raise RuntimeError("one\ntwo")


def cached(hub, folder):
    """A file in the cache of the library."""
    link = hf_hub_download("them/model", "some/file.pth", cache_dir=folder, endpoint=hub.url)
    return Path(link)


def test_the_cache_of_the_library_is_verified_once(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path / "ours"))
    hub.sent = CONTENT[::-1]
    with pytest.raises(UserError, match=rf"is damaged; delete .*blobs/{SHA256} to fetch it"):
        verify_cached(cached(hub, tmp_path))
    cached(hub, tmp_path).resolve().unlink()
    hub.sent = None
    link = cached(hub, tmp_path)
    verify_cached(link)
    with monkeypatch.context() as unread:
        unread.setattr(records.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        verify_cached(link)
    link.write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="is damaged"):
        verify_cached(link)


def test_and_only_where_it_keeps_files_by_their_sha256(hub, tmp_path):
    hub.digests = False
    verify_cached(cached(hub, tmp_path))
    (tmp_path / "copied").write_bytes(CONTENT)
    verify_cached(tmp_path / "copied")
    verify_cached(tmp_path / "missing")
