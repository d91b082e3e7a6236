"""Two processes that tell each other how it went."""

import pytest
from support.exchanges import told
from support.two_ranks import on_two_ranks

from cast_exp.distributed import gather_objects, together
from cast_exp.errors import UserError


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(
    ("error", "here", "there"),
    [
        ("UserError", "UserError: mend it", "mend it"),
        ("ValueError", "ValueError: no luck", "ValueError: no luck"),
    ],
)
def test_what_fails_on_one_fails_on_all(where: int, error: str, here: str, there: str) -> None:
    results = on_two_ranks(told, where, error)
    assert [objects for objects, _, _ in results] == [[{"rank": 0}, {"rank": 1}]] * 2
    assert results[where][1] == here
    assert results[1 - where][1] == f"UserError: process {where}: {there}"
    assert [after for _, _, after in results] == ["0", "1"], "they still understand each other"


def test_one_process_is_left_alone() -> None:
    def fail() -> None:
        raise UserError("mend it")

    assert gather_objects({"a": 1}) == [{"a": 1}]
    assert together(divmod, 7, 2) == (3, 1)
    with pytest.raises(UserError, match=r"^mend it$"):
        together(fail)
    with pytest.raises(KeyboardInterrupt):
        together(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
