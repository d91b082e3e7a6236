"""The cost table and the counter under it."""

import csv

import pytest

from cast_exp.cli.cost import Cost, main, measure, save, savings
from cast_exp.errors import UserError
from cast_exp.models import create_model

BLOCK = 12  # squares of the width in the weights of a transformer block


def linear_macs(tokens, dim):
    """Of a block: its four linear layers, and scores and sums of its attention."""
    return BLOCK * dim * dim * tokens + 2 * tokens * tokens * dim


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("cast_tiny", (16, 5, 3, 1)), ("vit_tiny", (16,)), ("tome_tiny", (16, 8, 4, 2, 1))],
)
def test_a_row(name, tokens):
    cost = measure(name, 64, batch=2, repeats=1)
    assert cost.tokens == tokens
    assert cost.superpixels == 16
    assert cost.gflops == 2 * cost.gmacs
    assert cost.gmacs == pytest.approx(cost.stem + cost.blocks + cost.groupings)
    assert (cost.groupings > 0) == (name == "cast_tiny")
    weights = sum(weight.numel() for weight in create_model(name).parameters())
    assert cost.parameters == weights
    assert cost.images_per_second > 0
    assert cost.peak_mib >= 4 * weights / 2**20


def test_the_stem_is_counted_whole():
    cost = measure("cast_tiny", 64, repeats=1)
    convolutions = 9 * (32**2 * 3 * 12 + 16**2 * 12 * 24 + 8**2 * 24 * 48 + 8**2 * 48 * 96)
    assert cost.stem * 1e9 == pytest.approx(convolutions + 16 * 96 * 96)


def test_savings():
    def cost(name, gmacs, blocks):
        return Cost(name, 224, 196, 1, gmacs, 0, blocks, 0, 2 * gmacs, (196,), 1, 1, 1)

    rows = [cost("cast_small", 3, 1), cost("vit_small", 4, 2.5), cost("cast_base", 9, 9)]
    assert savings(rows) == [
        "cast_small at 224 px: 25.0% less than vit_small (3.00 against 4.00 GMACs), "
        "60.0% in the blocks alone."
    ]


def test_the_files(tmp_path):
    save([measure(name, 64, repeats=1) for name in ("cast_tiny", "vit_tiny")], tmp_path, "a GPU")
    with open(tmp_path / "cost.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["cast_tiny", "vit_tiny"]
    assert rows[0]["tokens"] == "16 5 3 1"
    text = (tmp_path / "cost.md").read_text()
    for expected in ("On a GPU", "| cast_tiny | 64 |", "less than vit_tiny", "66.8 %"):
        assert expected in text


def test_the_command(tmp_path, capsys):
    assert main(["--models", "cast_tiny", "--sizes", "64", "--out", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    for expected in ("cast_tiny", "16 5 3 1", "GMACs are", "wrote"):
        assert expected in printed
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"cost.csv", "cost.md"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--models", "vit_huge"], "unknown model 'vit_huge': did you mean vit_base? models are"),
        (["--sizes", "224,x"], "--sizes x: sides"),
        (["--device", "gpu"], "--device gpu"),
    ],
)
def test_mistakes(option, message):
    with pytest.raises(UserError) as told:
        main(option)
    assert message in str(told.value)
