"""Words as users give them, and as data sets have them."""

from pathlib import Path

import pytest

from cast_exp.errors import UserError
from cast_exp.naming import Vocabulary
from cast_exp.naming.vocabulary import check_prompts


def test_words_and_their_parts(tmp_path: Path) -> None:
    found = Vocabulary.parse("dog(head, left leg),grass , sky")
    assert found.objects == ("dog", "grass", "sky")
    assert found.parts == ("dog head", "dog left leg", "grass", "sky")
    assert found.owners == (0, 0, 1, 2)
    assert found.has_parts
    flat = Vocabulary.parse("dog,hot dog")
    assert flat.parts == flat.objects == ("dog", "hot dog")
    assert not flat.has_parts
    (tmp_path / "words.txt").write_text("dog(head,\tleft leg),\n\ngrass\nsky\n")
    assert Vocabulary.parse(str(tmp_path / "words.txt")) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog(head", r"cannot be read at 'dog\(head'; give words, and their parts in brackets"),
        ("dog)", "cannot be read at"),
        ("dog(head)tail", "cannot be read at"),
        ("dog,,cat", "empty name at ''"),
        ("", "empty name"),
        ("dog(head,)", "empty name at 'dog"),
        ("dog,cat,dog", "name twice: dog; leave one out"),
        ("dog(head,head)", "name twice: dog head"),
        ("nowhere/words.txt", "nowhere/words.txt cannot be read: No such file"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Vocabulary.parse(text)


def test_words_of_a_data_set() -> None:
    objects = ["background", "Car", "Cart"]
    parts = ["background", "Car Body", "Car Side Mirror", "Cart Body"]
    found = Vocabulary.of_data(objects, parts)
    assert found.parts == tuple(parts)
    assert found.owners == (0, 1, 1, 2)
    assert Vocabulary.of_data(objects, []).parts == tuple(objects)
    for wrong in (parts[:3], [*parts, "Wheel"], [parts[0], parts[3], *parts[1:3]]):
        with pytest.raises(UserError, match="not those of its objects"):
            Vocabulary.of_data(objects, wrong)


def test_prompts_have_one_place() -> None:
    check_prompts(["a {}", "{}"], "--prompt")
    for wrong in ("a", "{} {}"):
        with pytest.raises(UserError, match=r"--prompt: '.*' should have {} once"):
            check_prompts(["a {}", wrong], "--prompt")
    with pytest.raises(UserError, match="has no prompt; give one"):
        check_prompts([], "prompts=[]")
