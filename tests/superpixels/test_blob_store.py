"""Values are found again by all later processes, whatever has happened to those that added them."""

import logging
import multiprocessing
import struct
from pathlib import Path
from random import Random

import pytest

from cast_exp.superpixels.blob_store import KEY_BYTES, BlobStore


def pairs(count: int, seed: int = 0) -> dict[bytes, bytes]:
    rng = Random(seed)
    return {rng.randbytes(KEY_BYTES): rng.randbytes(rng.randrange(300)) for _ in range(count)}


def add(store: BlobStore, values: dict[bytes, bytes]) -> None:
    for key, value in values.items():
        store.put(key, value)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store", "what it is\n")


def found(store: BlobStore, values: dict[bytes, bytes]) -> int:
    """How many of the values a process finds that opens the store now; none may be wrong."""
    there = {key: BlobStore(store.folder, "").get(key) for key in values}
    assert all(there[key] in (None, value) for key, value in values.items())
    return sum(value is not None for value in there.values())


def test_what_was_added_is_there_at_once_and_later(store: BlobStore) -> None:
    values, later = pairs(50), pairs(20, seed=1)
    assert not found(store, values)
    assert not store.folder.exists()
    add(store, values)
    assert [store.get(key) for key in values] == [*values.values()]
    about = store.folder / "about.txt"
    assert about.read_text() == "what it is\n"
    written = about.stat().st_mtime_ns
    another = BlobStore(store.folder, "what it is\n")
    add(another, later)
    assert about.stat().st_mtime_ns == written  # of a user whom others may not write for
    assert found(store, values | later) == 70
    assert all(store.get(key) is None for key in pairs(5, seed=2))


def test_keys_that_begin_alike_are_kept_apart(store: BlobStore) -> None:
    values = {b"8 bytes." + bytes([n] * 8): bytes([n]) for n in range(9)}
    add(store, values)
    assert found(store, values) == 9
    assert BlobStore(store.folder, "").get(b"8 bytes." + b"x" * 8) is None


def test_processes_add_at_once(store: BlobStore) -> None:
    """Also the same values, and where the store was in use before they were forked."""
    values = pairs(60)
    add(store, dict([*values.items()][:5]))
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        workers = [context.Process(target=add, args=(store, values)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert not worker.exitcode
    assert found(store, values) == 60
    assert len([*store.folder.glob("*.values")]) == 5


@pytest.mark.parametrize(("offset", "size"), [(2**64 - 1, 3), (2**63, 3), (0, 2**32 - 1)])
def test_an_entry_that_reaches_beyond_its_file_is_damaged(
    store: BlobStore, offset: int, size: int
) -> None:
    values = pairs(1)
    add(store, values)
    (entries,) = store.folder.glob("*.entries")
    with entries.open("rb+") as file:
        file.seek(16)
        file.write(struct.pack("<QI", offset, size))
    assert not found(store, values)
    add(BlobStore(store.folder, ""), values)
    assert found(store, values) == 1


@pytest.mark.parametrize("kind", ["values", "entries"])
def test_a_file_may_be_cut_anywhere_or_damaged(store: BlobStore, kind: str) -> None:
    values = pairs(4)
    add(store, values)
    (file,) = store.folder.glob(f"*.{kind}")
    whole, counts = file.read_bytes(), []
    for length in range(len(whole) + 1):
        file.write_bytes(whole[:length])
        counts.append(found(store, values))
    assert counts == sorted(counts)
    assert {*counts} == {0, 1, 2, 3, 4}
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        assert found(store, values) == 3
    file.write_bytes(whole)
    add(again := BlobStore(store.folder, ""), values)  # a damaged value is added anew
    file.unlink()
    assert again.get(next(iter(values))) == next(iter(values.values()))


def test_files_that_cannot_be_read_are_passed_over(store: BlobStore) -> None:
    values = pairs(3)
    add(store, values)
    (store.folder / "0.entries").mkdir()
    assert found(store, values) == 3


def test_where_nothing_can_be_written_that_is_told_once(
    store: BlobStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.folder.write_text("in the way")
    values = pairs(3)
    with caplog.at_level(logging.WARNING):
        add(store, values)
    assert len(caplog.messages) == 1
    assert str(store.folder) in caplog.text
    assert "nothing more is kept there" in caplog.text
    assert all(store.get(key) is None for key in values)
