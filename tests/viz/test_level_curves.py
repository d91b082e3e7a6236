"""Curves over the number of segments."""

from itertools import pairwise

import pytest

from cast_exp.viz import level_curves

CURVES = {
    "first": [(64.0, 0.5), (32.0, 0.4), (8.0, 0.3)],
    "second": [(60.0, 0.499), (30.0, 0.2), (7.0, 0.1)],
    "third": [(64.0, 0.501), (32.0, 0.45), (8.0, 0.35)],
    "fourth": [(64.0, 0.2), (32.0, 0.25), (8.0, 0.3)],
}


def test_each_method_has_its_points_and_its_name_in_one_colour():
    figure = level_curves({"covering": CURVES, "boundary F": CURVES})
    for axes, title in zip(figure.axes, ("covering", "boundary F"), strict=True):
        assert axes.get_title() == title
        names = {text.get_text(): text for text in axes.texts}
        assert list(names) != []
        for line, (name, points) in zip(axes.lines, CURVES.items(), strict=True):
            assert [*zip(*line.get_data(), strict=True)] == sorted(points)
            assert line.get_color() == names[name].get_color()


def test_names_stand_apart_in_the_order_of_the_ends_of_their_lines():
    (axes,) = level_curves({"covering": CURVES}).axes
    heights = sorted((text.get_position()[1], text.get_text()) for text in axes.texts)
    assert [name for _, name in heights] == ["fourth", "second", "first", "third"]
    for (low, _), (high, _) in pairwise(heights):
        assert high - low > 0.06


def test_the_ground_is_transparent(tmp_path):
    from PIL import Image

    level_curves({"covering": CURVES}).savefig(tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("points", [[(1.0, 0.5)], [(3.0, 0.5), (3.0, 0.5)]])
def test_one_point_is_a_curve_in_sight(points, tmp_path):
    figure = level_curves({"covering": {"only": points}})
    figure.savefig(tmp_path / "curves.png")
    (axes,) = figure.axes
    (line,) = axes.lines
    assert [*zip(*line.get_data(), strict=True)] == points
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert left < points[0][0] < right
    assert low < 0.5 < high
    assert line.get_marker() not in ("", "None")
