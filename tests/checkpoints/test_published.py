"""Where the official release keeps its weights, and where they go."""

from pathlib import Path

import pytest
from support.file_server import file_server

from cast_exp.checkpoints.published import PUBLISHED, REPOSITORY


def test_files_are_fetched_from_a_mirror_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = PUBLISHED["cast_small_in1k_deit"]
    monkeypatch.setenv("CAST_EXP_CACHE", str(tmp_path))
    with file_server() as server:
        server.commit = "0" * 40
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        place = f"/{REPOSITORY}/resolve/main/snapshots/{published.file}"
        assert published.url == server.url + place
        server.files[place] = b"weights"
        for _ in range(2):
            path = published.fetch()
        assert server.ranges == [None]
    assert path == published.path
    assert tmp_path in path.parents
    assert path.read_bytes() == b"weights"


def test_no_two_names_are_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    urls = {published.url for published in PUBLISHED.values()}
    assert len(urls) == len(PUBLISHED) == 8
    assert all(url.startswith("https://huggingface.co/twke/CAST/") for url in urls)
    for name, published in PUBLISHED.items():
        assert name.split("_in1k")[0].split("_coco")[0] in published.file
