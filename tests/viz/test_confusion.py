import numpy as np

from cast_exp.viz import confusion_matrix


def test_rows_are_shares_and_names_are_told() -> None:
    table = np.array([[3, 1, 0], [0, 0, 0]])
    figure = confusion_matrix(table, ["cat", "dog"], ["cat", "dog", "none of these"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_xticklabels()[2].get_text() == "none of these"
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0]]
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {
        (0, 0, "75"),
        (1, 0, "25"),
    }
