"""The exception whose message is all that a user sees."""

import pickle

from cast_exp.data.datasets import NoSuchSplit
from cast_exp.errors import UserError


def test_it_is_its_message_in_any_process() -> None:
    error = pickle.loads(pickle.dumps(UserError("no file x; correct data.root")))
    assert type(error) is UserError
    assert str(error) == "no file x; correct data.root"
    assert issubclass(NoSuchSplit, UserError)
