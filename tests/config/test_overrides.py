from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from cast_exp.config import combinations, explain
from cast_exp.errors import UserError

FILES = {
    "main.yaml": """
defaults: [_self_, {wheel: small}, {sport: null}]
seed: 0
frame: {size: 3, paint: {colour: red}}
""",
    "wheel/small.yaml": "spokes: 8",
    "wheel/large.yaml": "spokes: 36\nradius: 3",
    "wheel/_shared.yaml": "spokes: 1",
    "sport/racing.yaml": "# @package _global_\ndefaults: [{override /wheel: large}]\nspeed: 3",
    "sport/slurm.yaml": """# @package _global_
defaults: [{override /hydra/launcher: submitit_slurm}]
""",
    "sport/wrong.yaml": "# @package _global_\nspeed: [1\nseed: 2",
    "sport/broken.yaml": "# @package _global_\ndefaults: [{override /whee: large}]",
}


@pytest.fixture(autouse=True)
def hydra(tmp_path: Path) -> Iterator[None]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        yield


def explained(overrides: Sequence[str]) -> list[str]:
    with pytest.raises(Exception) as caught:
        compose("main", list(overrides))
    return explain("main", overrides, caught.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("wheel=lage", "wheel=lage: there is no such wheel; did you mean large?"),
        (
            "wheel=xyz",
            "wheel=xyz: there is no such wheel; options are large, small; for a file of your own "
            "add --config-dir FOLDER",
        ),
        ("wheel=5", "wheel=5: there is no such wheel; options are large, small"),
        ("wheel=null", "wheel=null: name one of large, small, or leave it out"),
        ("sport=null", "sport=null: name one of broken, racing, slurm, wrong, or leave it out"),
        ("sport=racin", "sport=racin: there is no such sport; did you mean racing?"),
        (
            "hydra/sweeper=optuna",
            "hydra/sweeper=optuna: there is no such hydra/sweeper; it is of a plug-in of Hydra: "
            "pip install hydra-optuna-sweeper",
        ),
        (
            "sport=slurm",
            "In 'hydra/config': Could not find 'hydra/launcher/submitit_slurm'; it is of a plug-in "
            "of Hydra: pip install hydra-submitit-launcher",
        ),
        ("sed=3", "sed: there is no such key; did you mean seed?"),
        ("frame.siz=3", "frame.siz: there is no such key; did you mean frame.size?"),
        ("colour=blue", "colour: there is no such key; did you mean frame.paint.colour?"),
        ("whel=large", "whel: there is no such key; did you mean wheel?"),
        ("frame.xyz.abc=1", "frame.xyz.abc: there is no such key; did you mean frame.size?"),
        ("+seed=3", "+seed=3: Could not append to config. An item is already at 'seed'."),
        ("~wings", "wings: there is no such key; --help lists all keys"),
        ("--seed", "--seed: not an override; write key=value"),
        ("seed", "seed: not an override; write key=value"),
        ("seed=[1,2", "seed=[1,2: "),
    ],
)
def test_one_mistake(override: str, expected: str) -> None:
    (found,) = explained([override])
    assert found.startswith(expected)


def test_all_mistakes_are_found() -> None:
    found = explained(["wheel=lage", "sed=3", "seed=1", "frame.siz=3", "sport=racing", "x="])
    assert [line.split(":")[0] for line in found] == ["wheel=lage", "sed", "frame.siz", "x"]


def test_keys_of_the_chosen_options_are_known() -> None:
    assert explained(["wheel=large", "wheel.radius=4", "speed=3", "sed=1"])[0].startswith("speed: ")
    assert explained(["sport=racing", "wheel.radius=4", "speed=3", "sed=1"])[0].startswith("sed: ")


def test_mistakes_in_the_files_themselves() -> None:
    (found,) = explained(["sport=broken"])
    assert "whee" in found
    (found,) = explained(["sport=wrong"])
    assert "wrong.yaml, line 3: no YAML (" in found


def test_sweeps() -> None:
    (found,) = explained(["wheel=small,lage", "seed=1,2"])
    assert found == "wheel=lage: there is no such wheel; did you mean large?"
    (found,) = explained(["sport=racing,null"])
    assert found.startswith("sport=null: ")


@pytest.mark.parametrize(
    "overrides",
    [
        ["a=1,2", "b.c=x,y", "d=3"],
        ["a=1,2", "a=3"],
        ["+a=range(1,4)", "~b", "c='q r'", "group@node=x"],
        ["a=choice([1,2],{k:v})"],
        ["a=sort(3,1,2)"],
    ],
)
def test_jobs_are_those_of_hydra(overrides: list[str]) -> None:
    parsed = OverridesParser.create().parse_overrides(overrides)
    assert combinations(overrides) == BasicSweeper.split_arguments(parsed, None)[0]


def test_an_interval_is_refused() -> None:
    with pytest.raises(UserError, match=r"a=interval\(0,1\): not a list of values"):
        combinations(["a=interval(0,1)"])
