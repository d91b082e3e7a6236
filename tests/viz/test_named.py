"""Sheets of label maps with the names of what occurs."""

import numpy as np

from cast_exp.viz.named import named_sheet
from cast_exp.viz.semantic import class_colours, class_legend


def test_each_vocabulary_has_a_row_and_a_legend_of_what_occurs() -> None:
    names = ["background", "dog", "sky"]
    labels = np.zeros((20, 30), np.int64)
    labels[:, 15:] = 2
    image = np.full((20, 30, 3), (10, 200, 30), np.uint8)
    maps = {"truth": np.full((20, 30), 255), "model": labels}
    one = named_sheet(image, [(maps, names)], side=60)
    both = named_sheet(image, [(maps, names), (maps, ["nothing", "head", "tail"])], side=60)
    assert np.array_equal(both[: len(one)], one)
    assert not np.array_equal(both[len(one) :], one)
    colours = class_colours(names)
    legend = class_legend([names[0], names[2]], colours[[0, 2]], one.shape[1], 11)
    assert np.array_equal(one[-len(legend) :], legend)
    painted = {tuple(colour) for colour in one[: -len(legend)].reshape(-1, 3).tolist()}
    assert {(10, 200, 30), tuple(colours[0]), tuple(colours[2])} <= painted
    assert tuple(colours[1]) not in painted
