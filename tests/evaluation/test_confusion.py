from pathlib import Path

import numpy as np

from cast_exp.evaluation.confusion import write_confusion


def test_pairs_are_in_order_and_a_class_without_images_is_no_trouble(tmp_path: Path) -> None:
    table = np.array([[5, 3, 0], [7, 0, 1], [0, 0, 0]])
    write_confusion(tmp_path, table, "abc", "abc")
    lines = (tmp_path / "confused.csv").read_text().split()
    assert lines == ["true,predicted,count,share", "b,a,7,0.875", "a,b,3,0.375", "b,c,1,0.125"]
    assert (tmp_path / "confusion.csv").read_text().split()[1:] == ["a,5,3,0", "b,7,0,1", "c,0,0,0"]
    assert (tmp_path / "confusion.png").is_file()


def test_many_classes_have_no_picture(tmp_path: Path) -> None:
    names = [*map(str, range(200))]
    write_confusion(tmp_path, np.ones((200, 200), np.int64), names, names)
    assert not (tmp_path / "confusion.png").exists()
    assert len((tmp_path / "confused.csv").read_text().split()) == 101
