"""What is said of options without importing what they are of."""

from typing import get_args

import pytest

from cast_exp.checkpoints import Weights
from cast_exp.checkpoints.foreign import Normalization
from cast_exp.cli import parsers
from cast_exp.cli.parsers import OPTIONS
from cast_exp.data.packing import JPEG_QUALITY
from cast_exp.export import FORMATS
from cast_exp.run.options import WEIGHTS


def test_choices_are_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(FORMATS) == parsers.FORMATS
    assert get_args(Weights) == WEIGHTS
    assert get_args(Normalization) == parsers.NORMALIZATIONS
    with pytest.raises(SystemExit):
        OPTIONS["pack"](["--help"])
    assert f"JPEG of quality {JPEG_QUALITY}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("sweep --trials 0", "'0' is not a whole number from 1 up"),
        ("pack --verify --short-side 0", "'0' is not a whole number from 1 up"),
        ("advise --seconds nan", "'nan' is not a number above 0"),
        ("cost --batch 0", "'0' is not a whole number from 1 up"),
        ("cost --models=", "it is empty"),
        (f"cost --out {__file__}", f"{__file__} is a file, not a folder"),
        (f"pack --out {__file__}", f"{__file__} is a file, not a folder"),
        (f"zoo convert a --out {__file__}/b", f"{__file__} is a file, not a folder"),
        (f"compare --images a --ground-truth b --out {__file__}", "is a file, not a folder"),
        (f"export a --format torch --out {__file__}/m", f"{__file__} is a file, not a folder"),
        ("export a --format torch --out .", "is a folder, not a file"),
        ("pack data=shapes", "one of the arguments --out --verify is required"),
        ("compare --images a --ground-truth b --size -1", "'-1' is not a whole number from 0 up"),
        ("compare --images a --ground-truth b --limit 0", "'0' is not a whole number from 1 up"),
        ("export a --format torch --size 1x2x3", "'1x2x3' is neither a number nor like 480x640"),
        ("export a --format pickle", "invalid choice: 'pickle'"),
        ("zoo convert a", "the following arguments are required: --out"),
    ],
)
def test_mistakes_are_told(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *arguments = words.split()
    with pytest.raises(SystemExit) as end:
        OPTIONS[name](arguments)
    assert end.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("480x640", (480, 640))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert OPTIONS["export"](["a", "--format", "torch", "--size", text]).size == size


def test_options_may_stand_between_overrides() -> None:
    options = OPTIONS["sweep"](["a=1", "--trials", "3", "b=2"])
    assert (options.overrides, options.trials) == (["a=1", "b=2"], 3)
