"""Builds of creatures: outlines, limbs and individuals."""

import numpy as np
import pytest

from cast_exp.data.datasets.shapes.creatures import Form


@pytest.mark.parametrize(("length", "width"), [(1, 1), (2, 0.5), (0.3, 4)])
def test_outlines_have_the_areas_of_ellipse_box_and_triangle(length: float, width: float) -> None:
    def area(form: Form) -> float:
        x, y = form.outline(corners=4000).T
        return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2

    assert area(Form(length, width)) == pytest.approx(np.pi / 4 * length * width, rel=1e-3)
    assert area(Form(length, width, squareness=60)) == pytest.approx(length * width, rel=0.02)
    triangle = Form(length, width, squareness=60, taper=1).outline(corners=4000)
    back, front = triangle[triangle[:, 0].argmin()], triangle[:, 1].max()
    assert abs(back[1]) < 0.02 * width
    assert front == pytest.approx(width, rel=0.02)
    bent = Form(length, width, bend=0.4)
    assert area(bent) == pytest.approx(area(Form(length, width)), rel=1e-3)  # a shear keeps it
    shift = bent.outline(corners=4000) - Form(length, width).outline(corners=4000)
    assert np.ptp(shift[:, 1]) == pytest.approx(0.4 * length)
