"""Builds of creatures: outlines, limbs and individuals."""

import numpy as np
import pytest

from cast_exp.data.datasets.shapes.creatures import PARTS, SPECIES, Form, Limb, Species, grow


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


def test_a_limb_mirrored_twice_is_itself() -> None:
    limb = Limb((0.5, 0.7), 55, 0.6, 0.1, -25)
    assert limb.mirrored() == Limb((0.5, -0.7), -55, 0.6, 0.1, 25)
    assert limb.mirrored().mirrored() == limb


@pytest.mark.parametrize("species", SPECIES, ids=lambda species: species.name)
def test_individuals_fill_a_unit_and_have_the_parts_of_their_species(species: Species) -> None:
    parts = {"torso", "head", "eye", "upper arm", "forearm", "thigh", "shank"}
    parts |= {"tail"} if species.tail else set()
    parts |= {"ear"} if species.ears else set()
    for seed in range(5):
        creature = grow(species, np.random.default_rng(seed))
        assert max(creature.extent) == pytest.approx(1)
        assert {PARTS[piece.part] for piece in creature.pieces} == parts
        low = np.min([p.points.min(0) - p.thickness / 2 for p in creature.pieces], axis=0)
        high = np.max([p.points.max(0) + p.thickness / 2 for p in creature.pieces], axis=0)
        np.testing.assert_allclose(low, 0, atol=1e-9)
        np.testing.assert_allclose(high, creature.extent, atol=1e-9)


def test_individuals_differ_but_each_is_a_function_of_its_source() -> None:
    first, again, other = (grow(SPECIES[0], np.random.default_rng(seed)) for seed in (1, 1, 2))
    points = [np.concatenate([p.points for p in c.pieces]) for c in (first, again, other)]
    np.testing.assert_array_equal(points[0], points[1])
    assert np.abs(points[0] - points[2]).max() > 0.05
