"""Downloads from a server on this machine."""

import hashlib
import shutil
import threading

import pytest
from support.file_server import file_server

from cast_exp.download import url as module
from cast_exp.download.records import recorded
from cast_exp.download.url import download
from cast_exp.errors import UserError

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with file_server() as server:
        server.files["/things.tar"] = CONTENT
        yield server


def fetch(server, folder, md5=MD5):
    return download(f"{server.url}/things.tar", folder / "things.tar", md5)


def names(folder):
    return {path.name for path in folder.iterdir()} - {"things.tar.lock"}


def answer(*lines, body=b""):
    return "\r\n".join(("HTTP/1.0 " + lines[0], *lines[1:], "", "")).encode() + body


def cut(server, folder):
    """Leave a part of 5,000 bytes."""
    server.cuts = [1000] * 5
    with pytest.raises(UserError, match=r"failed 5 times.*5,000 bytes.*same command goes on"):
        fetch(server, folder)
    server.ranges.clear()


def test_once_and_recorded(server, tmp_path):
    path = fetch(server, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert recorded(path) == {
        "url": f"{server.url}/things.tar",
        "size": len(CONTENT),
        "mtime_ns": path.stat().st_mtime_ns,
        "md5": MD5,
    }
    assert names(path.parent) == {"things.tar", "things.tar.json"}
    fetch(server, tmp_path / "new")
    assert server.ranges == [None]


def test_a_cut_download_goes_on_by_itself(server, tmp_path):
    server.cuts = [1000, 500]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_and_by_the_same_command(server, tmp_path):
    cut(server, tmp_path)
    assert names(tmp_path) == {"things.tar.part", "things.tar.part.etag"}
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]
    assert names(tmp_path) == {"things.tar", "things.tar.json"}


def test_not_with_the_rest_of_another_file(server, tmp_path):
    cut(server, tmp_path)
    other = server.files["/things.tar"] = CONTENT[::-1]
    assert fetch(server, tmp_path, hashlib.md5(other).hexdigest()).read_bytes() == other


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_from_the_start_where_the_server_does_not_say_which_bytes_it_has(server, tmp_path, tag):
    server.etags = False
    headers = ["Content-Length: 256000", *([f"ETag: {tag}"] if tag else [])]
    server.raw = [answer("200 OK", *headers, body=CONTENT[:1000])]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    (tmp_path / "things.tar.part").write_bytes(CONTENT + b"more")
    (tmp_path / "things.tar.part.etag").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Range: bytes 4000-255999/256000", "Content-Length: 252000"],
        ["Content-Range: bytes 5000-255999/256000", "Content-Length: 1000"],
        ["Content-Range: bytes 5000-255999/256000", "Content-Length: 251000", 'ETag: "other"'],
        ["Content-Length: 251000"],
    ],
)
def test_another_part_than_asked_for_is_not_taken(server, tmp_path, headers):
    """Not appended, although the published digest would have caught it in the end."""
    cut(server, tmp_path)
    server.raw = [answer("206 Partial Content", *headers, body=bytes(251000))]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-", None]


def test_a_server_without_ranges_sends_all_of_it(server, tmp_path):
    cut(server, tmp_path)
    server.raw = [answer("200 OK", f"Content-Length: {len(CONTENT)}", body=CONTENT)]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]


PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PAGE, "the server answered with a web page"),
        (b"not found", "it does not begin as a tar archive does"),
        (b"\x1f\x8b" + CONTENT, r"its MD5 is [0-9a-f]{32}, not " + MD5),
    ],
)
@pytest.mark.parametrize("length", [True, False])
def test_another_file_than_published_is_not_kept(server, tmp_path, body, reason, length):
    headers = [f"Content-Length: {len(body)}"] * length
    server.raw = [answer("200 OK", *headers, body=body)]
    with pytest.raises(UserError, match=rf"/things\.tar is not the published archive: {reason}"):
        fetch(server, tmp_path)
    assert names(tmp_path) == set()
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_an_empty_file_is_none(server, tmp_path):
    server.raw = [answer("200 OK", "Content-Length: 0"), answer("200 OK"), answer("204 No Content")]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    server.files["/things.tar"] = b""
    with pytest.raises(UserError, match=r"failed 5 times.*nothing came"):
        fetch(server, tmp_path / "again")


def test_a_cut_that_does_not_show_is_told_by_the_digest(server, tmp_path):
    server.raw = [answer("200 OK", body=CONTENT[:1000])]
    with pytest.raises(UserError, match="is not the published archive"):
        fetch(server, tmp_path)


def test_an_endless_file_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 100_000)
    monkeypatch.setattr(module, "_CHUNK", 1 << 12)
    server.raw = [answer("200 OK", body=CONTENT)]
    with pytest.raises(UserError, match=r"does not end: it has sent more than 100,000 bytes"):
        fetch(server, tmp_path)
    assert (tmp_path / "things.tar.part").stat().st_size < 110_000
    assert fetch(server, tmp_path).read_bytes() == CONTENT, "its length is told"


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[::-1]])
def test_a_file_that_has_changed_since(server, tmp_path, damaged):
    path = fetch(server, tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"is not the published archive.*delete it to fetch"):
        fetch(server, tmp_path)
    path.unlink()
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "code"), [("other", 404), ("things.tar", 403)])
def test_no_such_file(server, tmp_path, name, code):
    server.errors = [code] * (code == 403)
    with pytest.raises(UserError, match=rf"127\.0\.0\.1:\d+ refused .*/{name} \({code}") as told:
        download(f"{server.url}/{name}", tmp_path / "other", MD5)
    assert "\n" not in str(told.value)
    assert len(server.ranges) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.errors = [503, 500, 429]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    server.errors = [503] * 5
    with pytest.raises(UserError, match=r"failed 5 times.*\(503 Service Unavailable\)"):
        fetch(server, tmp_path / "again")


def test_a_server_that_says_nothing_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SILENCE", 0.05)
    monkeypatch.setattr(module, "_TRIES", 2)
    silent = threading.Event()
    monkeypatch.setattr(server, "finish_request", lambda *_: silent.wait(10))
    with pytest.raises(UserError, match=r"failed 2 times, at last after 0 bytes \(timed out\)"):
        fetch(server, tmp_path)
    silent.set()


def test_offline(tmp_path, server):
    url = f"{server.url}/things.tar"
    server.server_close()
    with pytest.raises(
        UserError, match=r"cannot reach 127\.0\.0\.1.*put the file of .* at .*/things\.tar$"
    ) as error:
        download(url, tmp_path / "things.tar", MD5)
    assert "\n" not in str(error.value)


def test_offline_with_the_file_put_there_by_hand(tmp_path):
    path = tmp_path / "things.tar"
    path.write_bytes(CONTENT)
    assert download("http://127.0.0.1:1/things.tar", path, MD5) == path
    assert recorded(path)["md5"] == MD5
    path.write_bytes(PAGE)
    with pytest.raises(UserError, match="the server answered with a web page; delete it"):
        download("http://127.0.0.1:1/things.tar", path, MD5)


def test_no_space(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UserError, match=r"needs 256,000 bytes, but .* has only 10 left"):
        fetch(server, tmp_path)


def test_only_one_of_several_downloads(server, tmp_path):
    threads = [threading.Thread(target=fetch, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ranges == [None]
