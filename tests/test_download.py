"""Downloads from a server on this machine."""

import hashlib
import threading

import pytest
from support.file_server import file_server

from cast_exp import download as module
from cast_exp.download import cache_dir, download, recorded
from cast_exp.errors import UserError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with file_server() as server:
        server.files["/weights.bin"] = CONTENT
        yield server


def fetch(server, folder):
    return download(f"{server.url}/weights.bin", folder / "weights.bin")


def names(folder):
    return {path.name for path in folder.iterdir()} - {"weights.bin.lock"}


def test_once_and_recorded(server, tmp_path):
    path = fetch(server, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    url = f"{server.url}/weights.bin"
    assert recorded(path) == {"url": url, "size": len(CONTENT), "sha256": sha256}
    assert names(path.parent) == {"weights.bin", "weights.bin.json"}
    fetch(server, tmp_path / "new")
    assert server.ranges == [None]


def test_a_cut_download_goes_on_by_itself(server, tmp_path):
    server.cuts = [1000, 500]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_and_by_the_same_command(server, tmp_path):
    server.cuts = [1000] * 5
    with pytest.raises(UserError, match=r"failed 5 times.*5,000 bytes.*same command goes on"):
        fetch(server, tmp_path)
    assert names(tmp_path) == {"weights.bin.part", "weights.bin.part.etag"}
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=5000-"
    assert names(tmp_path) == {"weights.bin", "weights.bin.json"}


def test_not_with_the_rest_of_another_file(server, tmp_path):
    server.cuts = [1000] * 5
    with pytest.raises(UserError):
        fetch(server, tmp_path)
    server.files["/weights.bin"] = CONTENT[::-1]
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_from_the_start_where_the_server_does_not_say_which_file_it_is(server, tmp_path):
    server.etags = False
    server.cuts = [1000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "weights.bin.part.etag").write_text(f'"{hash(CONTENT)}"')
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("damaged", "key"), [(CONTENT[:-1], "size"), (CONTENT[::-1], "sha256")])
def test_a_file_that_has_changed_since(server, tmp_path, damaged, key):
    path = fetch(server, tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=f"its {key} is .*delete"):
        fetch(server, tmp_path)
    path.unlink()
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_source_that_has_changed_since(server, tmp_path):
    fetch(server, tmp_path).unlink()
    server.files["/weights.bin"] = CONTENT[::-1]
    with pytest.raises(UserError, match="at the source is known to have changed"):
        fetch(server, tmp_path)
    assert names(tmp_path) == {"weights.bin.json"}
    (tmp_path / "weights.bin.json").unlink()
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_no_such_file(server, tmp_path):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+ refused .*/other \(404"):
        download(f"{server.url}/other", tmp_path / "other")
    assert len(server.ranges) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.errors = [503, 500]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_offline(tmp_path, server):
    url = f"{server.url}/weights.bin"
    server.server_close()
    with pytest.raises(
        UserError, match=r"cannot reach 127\.0\.0\.1.*put the file of .* at"
    ) as error:
        download(url, tmp_path / "weights.bin")
    assert "\n" not in str(error.value)


def test_offline_with_the_file_put_there_by_hand(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(CONTENT)
    assert download("http://127.0.0.1:1/weights.bin", path) == path
    assert recorded(path)["size"] == len(CONTENT)


def test_no_space(server, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UserError, match=r"needs 256,000 bytes, but .* has only 10 left"):
        fetch(server, tmp_path)


def test_only_one_of_several_downloads(server, tmp_path):
    threads = [threading.Thread(target=fetch, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ranges == [None]


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("CAST_EXP_CACHE")
    assert cache_dir().parts[-2:] == (".cache", "cast_exp")
