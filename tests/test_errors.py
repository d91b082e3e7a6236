"""The exception whose message is all that a user sees."""

import pickle

from cast_exp.data.datasets import NoSuchSplit
from cast_exp.errors import UserError, listing


def test_it_is_its_message_in_any_process() -> None:
    error = pickle.loads(pickle.dumps(UserError("no file x; correct data.root")))
    assert type(error) is UserError
    assert str(error) == "no file x; correct data.root"
    assert issubclass(NoSuchSplit, UserError)


def test_names_of_a_stranger_are_printable_and_few() -> None:
    assert listing(["a", "b.c"]) == "a, b.c"
    assert listing(["a\nb\x1b[2J", 3]) == "a?b?[2J, 3"
    assert listing(map(str, range(30)), most=2) == "0, 1 and 28 more"
    assert len(listing(["x" * 10**6])) < 200
    assert listing(["well " * 50]) == "well " * 31 + "well..."
