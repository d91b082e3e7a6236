import hashlib

import numpy as np
import pytest

from cast_exp.data.datasets import NoSuchSplit
from cast_exp.data.datasets.held_out import part_of
from cast_exp.errors import UserError


def held_out(names: list[bytes], share: float) -> set[bytes]:
    part = part_of("val", names, share)
    assert np.array_equal(part_of("train", names, share), ~part)
    return {name for name, is_in in zip(names, part, strict=True) if is_in}


def photos(count: int) -> list[bytes]:
    return [b"%d/%d.jpg" % (number % 7, number) for number in range(count)]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3, 0.9])
def test_about_the_share_is_held_out(share: float) -> None:
    deviation = (share * (1 - share) / 5000) ** 0.5
    assert len(held_out(photos(5000), share)) / 5000 == pytest.approx(share, abs=4 * deviation)


def test_the_fate_of_an_image_depends_on_its_name_only() -> None:
    names = photos(1000)
    few, all_of_them = held_out(names[:400], 0.1), held_out(names, 0.1)
    assert few == all_of_them & set(names[:400])
    assert held_out(names[::-1], 0.1) == all_of_them
    assert all_of_them <= held_out(names, 0.2), "a larger share keeps what a smaller one has"
    assert few == held_out(names[:400], 0.1)


def test_the_rule_is_for_good() -> None:
    """Another rule would train on images that validated before."""
    assert held_out(photos(24), 0.1) == {b"4/11.jpg"}
    for share in (0.1, 0.5):
        expected = {
            name
            for name in photos(100)
            if int(hashlib.blake2b(name).hexdigest()[:16], 16) / 16**16 < share
        }
        assert held_out(photos(100), share) == expected


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("share", [1e-9, 0.05, 0.999999999])
def test_no_split_is_empty(count: int, share: float) -> None:
    assert 0 < len(held_out(photos(count), share)) < count


def test_names_that_occur_twice_stay_together() -> None:
    names = photos(2) * 2
    assert len(held_out(names, 1e-9)) == 1
    assert part_of("val", names, 1e-9).sum() == 2


def test_one_image_cannot_be_shared_out() -> None:
    for split in ("train", "val"):
        with pytest.raises(UserError, match=r"one image only.*data\.dataset\.held_out=0"):
            part_of(split, [b"a.jpg"], 0.05)
    assert part_of("train", [b"a.jpg"], 0).tolist() == [True]
    with pytest.raises(NoSuchSplit, match="no val split"):
        part_of("val", [b"a.jpg"], 0)
