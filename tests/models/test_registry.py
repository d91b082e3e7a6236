"""Backbones by name and by size."""

import pytest

from cast_exp.errors import UserError
from cast_exp.models import Pooling, Size, create_model


def test_parameter_counts_are_the_official_ones():
    # The official counts, less the fixed position codes and the unused 1000-way head.
    for name, total in [("cast_small", 28_339_864), ("cast_base", 111_799_624)]:
        model = create_model(name)
        head, codes = 1000 * (model.dim + 1), 785 * model.dim
        assert sum(p.numel() for p in model.parameters()) == total - head - codes


def test_bad_requests_say_what_to_do():
    with pytest.raises(UserError, match="did you mean cast_small"):
        create_model("cast_smal")
    with pytest.raises(UserError, match="4 stages"):
        create_model("cast_tiny", pooling=Pooling((32, 16, 8, 4, 2)))
    with pytest.raises(UserError, match="neither a count"):
        Pooling((1.5,))
    with pytest.raises(UserError, match="fewer segments"):
        Pooling((8, 0.5, 16))


def test_a_size_of_ones_own_and_a_name_differ_in_numbers_only():
    own = create_model(Size(96, (1, 2), heads=3), pooling=Pooling((8, 4)), sampling="interpolated")
    assert (own.config.dim, own.config.depths, own.config.heads) == (96, (1, 2), 3)
    assert own.config.levels == (8, 4)
    assert own.config.sampling == "interpolated"
    for family in ("vit", "tome", "cast"):
        assert create_model(f"{family}_tiny").config.family == family


def test_levels_are_given_as_a_pooling():
    with pytest.raises(UserError, match=r"pooling=\[8, 4\]: give Pooling\(levels\)"):
        create_model("cast_tiny", pooling=[8, 4])
