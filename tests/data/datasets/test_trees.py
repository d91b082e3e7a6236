from pathlib import Path

import pytest

from cast_exp.data.datasets.trees import Folder, SortedTree
from cast_exp.errors import UserError


@pytest.fixture
def tree(tmp_path: Path) -> Folder:
    for name in ("a-b/1.jpg", "a/2.PNG", "a/deep/1.jpg", "é/x.jpg", "a/note.txt", ".git/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Folder(tmp_path)


def test_a_folder(tree: Folder) -> None:
    assert tree.folders() == {"a", "a-b", "é"}
    assert tree.images("a").tolist() == [b"2.PNG", b"deep/1.jpg"]
    assert tree.images().tolist() == [b"a-b/1.jpg", b"a/2.PNG", b"a/deep/1.jpg", "é/x.jpg".encode()]
    with tree.open("a/deep/1.jpg") as file:
        assert file.read() == b"a/deep/1.jpg"
    assert tree.path("a/2.PNG") == str(tree.place / "a/2.PNG")


def test_images_sorted_into_classes(tree: Folder, tmp_path: Path) -> None:
    classes = {"a-b/1": "dog", "a/2": "do", "a/deep/1": "dog", "é/x": "dog.x"}
    found = SortedTree(tree, classes, tmp_path / "list.csv")
    assert found.folders() == {"dog", "do", "dog.x"}
    assert found.images("dog").tolist() == [b"a-b/1.jpg", b"a/deep/1.jpg"]
    assert found.images("do").tolist() == [b"a/2.PNG"]
    assert found.images("d").tolist() == []
    with found.open("dog/a/deep/1.jpg") as file:
        assert file.read() == b"a/deep/1.jpg"
    paths = [str(tmp_path / name) for name in ("list.csv", "a/2.PNG")]
    assert list(found.files(["do/a/2.PNG"])) == paths
    assert found.path("do/a/2.PNG") == paths[1]
    del classes["a/2"]
    with pytest.raises(UserError, match=r"list.csv has no class for 1 of the 4 images .*: a/2;"):
        SortedTree(tree, classes, tmp_path / "list.csv")
