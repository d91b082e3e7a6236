import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.file_server import file_server
from support.tiny_data import CIFAR10_CLASSES, cifar10_tree
from torchvision import datasets

from cast_exp.data.datasets import CIFAR10
from cast_exp.errors import UserError

NAMES = list(CIFAR10_CLASSES)


def test_class_folders(tmp_path: Path) -> None:
    cifar10_tree(tmp_path)
    train, val = CIFAR10("train", tmp_path), CIFAR10("val", tmp_path)
    assert (len(train), len(val)) == (30, 20)
    assert train.classes == val.classes == NAMES
    item = val[5]
    assert item["label"] == 2
    assert item["image"].getpixel((0, 0)) == (2, 1, 7)
    assert val.path(5) == str(tmp_path / "test/bird/1.png")


def test_published_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five batches and a test batch in the published form, with checksums of our own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()

    def save(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    pixels = rng.integers(0, 256, (6, 4, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    saved = [
        save(name, {"data": data, "labels": [0, 3, 9, i]})
        for i, (name, data) in enumerate(zip(names, pixels, strict=True))
    ]
    meta, checksum = save("batches.meta", {"label_names": NAMES})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", saved[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", saved[5:])
    monkeypatch.setattr(
        datasets.CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": checksum}
    )
    train, val = CIFAR10("train", tmp_path), CIFAR10("val", tmp_path)
    assert (len(train), len(val), train.classes) == (20, 4, NAMES)
    assert [train[i]["label"] for i in (0, 1, 7, 19)] == [0, 3, 1, 4]
    assert np.array_equal(
        np.asarray(train[6]["image"]), pixels[1, 2].reshape(3, 32, 32).transpose(1, 2, 0)
    )
    assert val.path(3).endswith("cifar-10-batches-py[test 3]")

    (folder / "data_batch_2").write_bytes(b"damaged")
    with pytest.raises(UserError, match="incomplete or damaged"):
        CIFAR10("train", tmp_path)


def test_missing_data_and_failing_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"data.root is not set.*cifar-10-batches-py"):
        CIFAR10("train")
    with pytest.raises(UserError, match=r"no CIFAR-10 in .*download=true"):
        CIFAR10("train", tmp_path)
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:1/cifar.tar.gz")
    with pytest.raises(UserError, match=r"cannot reach .* put the file of .* at .*/cifar\.tar\.gz"):
        CIFAR10("train", tmp_path, download=True)
    with file_server() as server:
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.url}/cifar.tar.gz")
        server.files["/cifar.tar.gz"] = b"<html>Moved</html>"
        with pytest.raises(UserError, match="answered with a web page"):
            CIFAR10("train", tmp_path, download=True)
