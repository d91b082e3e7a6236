from itertools import chain

import pytest
from support.streams import PLACES, Greys, shown

from cast_exp.data.datasets import UnreadableImage
from cast_exp.data.datasets.streamed import class_list, class_number
from cast_exp.errors import UserError


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (5, 0, 1), (7,)])
@pytest.mark.parametrize("readers", [1, 2, 3, 4, 8])
def test_readers_share_out_all_images(readers: int, sizes: tuple[int, ...]) -> None:
    stream = Greys(sizes=sizes)
    shares = [[image.number for image in stream.share(r, readers)] for r in range(readers)]
    assert sorted(chain(*shares)) == stream.numbers()
    assert stream.values(stream.numbers()) == [*range(sum(sizes))]
    if readers <= len(sizes):  # each shard is read by one of them
        shards = [{number // PLACES for number in share} for share in shares]
        assert sum(map(len, shards)) == len(set().union(*shards))
    some = [image.number for image in stream.share(0, 1, [len(sizes) - 1, 0])]
    assert (
        stream.values(some)
        == [*range(sum(sizes) - sizes[-1], sum(sizes)), *range(sizes[0])][: len(some)]
    )


def test_images_are_had_by_number_without_reading_while_they_pass() -> None:
    stream = Greys(sizes=(30, 10))
    for value, number in enumerate(stream.passing(stream.share(0, 1))):
        assert shown(stream[number]) == (value, value % 3)
        others = stream.values(stream.others(number))
        before = [*range(value - 1, max(value - 16, -1), -1)]
        assert others[: len(before)] == before
        assert len(others) == 15
        assert [shown(stream[other])[0] for other in stream.others(number)] == others
    assert stream.opened == ["shard0", "shard1"]
    assert shown(stream[PLACES + 3]) == (33, 0)
    assert shown(stream[2]) == (2, 2)  # which passed long ago
    assert stream.opened == ["shard0", "shard1", "shard0"]


def test_images_of_a_shard_are_named_by_their_place() -> None:
    stream = Greys(damaged=(6,))
    assert stream.path(PLACES + 2) == "shard1, image 2"
    with pytest.raises(UnreadableImage, match="shard1, image 2"):
        stream[PLACES + 2]
    with pytest.raises(UserError, match=r"shard1 has fewer images than before: no 4"):
        stream[PLACES + 4]


def test_what_no_stream_tells_is_asked_for() -> None:
    class Untold(Greys):
        def __init__(self) -> None:
            super(Greys, self).__init__("val", ["a"], {"train": 3, "val": None}, [], 1)

    with pytest.raises(UserError, match=r"data\.dataset\.images\.val is not set.*cast-exp check"):
        Untold()
    assert class_list(3) == ["0", "1", "2"]
    assert class_list(["ant", 7]) == ["ant", "7"]
    with pytest.raises(UserError, match=r"data\.dataset\.classes is not set"):
        class_list(None)
    assert class_number(1, {"0": 0, "1": 1}, "here") == 1
    with pytest.raises(UserError, match="here has the label 'bee', which is none of the 1 classes"):
        class_number("bee", {"ant": 0}, "here")
