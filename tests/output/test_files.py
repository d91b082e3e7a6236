"""Files that appear whole or not at all."""

import csv
import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import save_file

from cast_exp.errors import UserError
from cast_exp.output.files import PARTIAL, atomic_write, room_for, write_csv, write_json, write_text


def test_the_file_is_as_it_was_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as new:
        new.write_bytes(b"one")
        assert not path.exists()
    with atomic_write(path) as new:
        new.write_bytes(b"tw")
        assert path.read_bytes() == b"one"
        assert list(path.parent.glob("*.txt")) == [path]  # no half of a file among the whole ones
        with new.open("ab") as file:
            file.write(b"o")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("begun", [False, True])
def test_a_failure_leaves_the_former_file_and_no_other(
    tmp_path: Path, error: type[BaseException], begun: bool
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("former")

    def fail() -> None:
        with atomic_write(path) as new:
            if begun:
                new.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_process_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("former")
    code = (
        "import os, pathlib, sys\nfrom cast_exp.output.files import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as new:\n"
        "    new.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
    assert path.read_text() == "former"


def test_the_content_is_on_disk_before_the_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.txt", []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "text")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    contents = [[number] * 20_000 for number in range(8)]
    write_json(path, contents[0])
    errors: list[Exception] = []

    def work(content: list[int]) -> None:
        try:
            for _ in range(5):
                write_json(path, content)
                assert json.loads(path.read_text()) in contents
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert os.listdir(tmp_path) == ["a.json"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "ours", "")
    with atomic_write(tmp_path / "tensors") as new:
        save_file({}, new)
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "ours", "tensors")}
    assert len(modes) == 1


def nested(error: Exception) -> Exception:
    """What torch makes of an error of the file that it is given."""
    try:
        try:
            raise error
        finally:
            raise RuntimeError("unexpected pos 576 vs 534")
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "no space"), "no space left on device"),
        (OSError(errno.EDQUOT, "quota"), "disk quota exceeded"),
        (nested(OSError(errno.ENOSPC, "no space")), "no space left on device"),
        (SafetensorError("I/O error: No space (os error 28)"), "no space left on device"),
    ],
)
def test_a_full_disk_is_told_in_one_line(error: Exception, told: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"

    def fail() -> None:
        with atomic_write(path) as new:
            new.write_bytes(bytes(3 << 20))
            raise error

    line = rf"{path} cannot be written: {told} \(needed: {{}}, free in {path.parent}: [\d,.]+ MiB\)"
    with pytest.raises(UserError, match=line.format("more than 3.0 MiB")) as caught:
        fail()
    assert "\n" not in str(caught.value)
    assert os.listdir(path.parent) == []
    path.write_bytes(bytes(5 << 20))
    with pytest.raises(UserError, match=line.format("about 5.0 MiB")):
        fail()
    assert os.listdir(path.parent) == ["a.bin"]
    with pytest.raises(UserError, match=str(path)), room_for(path):
        raise error


def test_other_errors_are_not_those_of_a_full_disk(tmp_path: Path) -> None:
    inner = UserError("of another file")
    inner.__cause__ = OSError(errno.ENOSPC, "no space")
    for error in (inner, OSError(errno.EIO, "broken"), nested(ValueError("28"))):
        with pytest.raises(type(error)) as caught, room_for(tmp_path / "a"):
            raise error
        assert caught.value is error


def test_a_file_that_is_not_finished_is_known_by_its_name(tmp_path: Path) -> None:
    for name in ("a.txt", "last.ckpt", ".hidden"):
        with atomic_write(tmp_path / name) as new:
            new.touch()
            assert PARTIAL.fullmatch(new.name)
        assert not PARTIAL.fullmatch(name)


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path(), Path("..")):
        with pytest.raises(IsADirectoryError), atomic_write(folder):
            pytest.fail("it is told before anything is written")


def test_kinds_of_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "ä ± 日\n")
    assert path.read_bytes() == "ä ± 日\n".encode()
    write_json(path, {"a": [1, None], "b": "x"})
    assert path.read_text().endswith("}\n")
    assert json.loads(path.read_text()) == {"a": [1, None], "b": "x"}
    rows = [["a", "b"], ["1,5", 'say "ä"\nor not'], [None, 2]]
    write_csv(path, iter(rows))
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1,5", 'say "ä"\nor not'], ["", "2"]]
