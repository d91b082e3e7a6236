from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from omegaconf import OmegaConf
from pydantic import Field
from support.toys import Bell

from cast_exp import plugins
from cast_exp.config import Builds
from cast_exp.config.validate import mistakes

TOYS = "support.toys"
GOOD = """
bell: {_target_: support.toys.Bell}
part: {_target_: torch.nn.Linear, _partial_: true}
bicycle:
  _target_: support.toys.Bicycle
  wheel: ${wheel}
  gears: ${gears}
wheel: {_target_: support.toys.Wheel, spokes: 8}
gears: 3
seed: 0
name: x
"""


@pytest.fixture(autouse=True)
def _toys_are_allowed() -> Iterator[None]:
    with plugins.only("support", "torch.nn", "no"):
        yield


def ride(*, bicycle: Any, seed: Annotated[int, Field(ge=0)], name: str, **parts: Any) -> None:
    """An entry point."""


def check(changes: str = "{}", entry: Callable[..., None] = ride) -> list[str]:
    config = OmegaConf.create(GOOD)
    config.merge_with(OmegaConf.create(changes))
    return mistakes(config, entry)


def test_good_config_has_no_mistakes() -> None:
    assert check() == []


@pytest.mark.parametrize(
    "value",
    [
        "colour: green",
        "gears: many",
        "bell: {_target_: support.toys.Bell, tone: 3}",
        "bell: null",
        "ratios: [1, 2.5]",
        "names: [a, b]",
        "shop: /not/there",
        "paint: {_target_: torch.nn.Linear, _partial_: true, in_features: 3}",
        "spares: {a: {_target_: support.toys.BigWheel, spokes: 2, size: 0.5}}",
        "stack: [{_target_: support.toys.Wheel}, {_target_: support.toys.build_wheel}]",
        "rider: {_target_: support.toys.Wheel}",
        "used: true",
    ],
)
def test_values_that_fit_their_annotation(value: str) -> None:
    assert check(f"bicycle: {{{value}}}") == []


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("colour: blue", "bicycle.colour=blue: should be 'red' or 'green'"),
        ("used: 1", "bicycle.used=1: should be a valid boolean"),
        ("ratios: [1]", "bicycle.ratios=[1]: item 1 Field required"),
        ("names: x", "bicycle.names=x: should be a valid"),
        ("names: [1]", "bicycle.names=[1]: item 0 should be a valid string"),
        ("paint: 3", "bicycle.paint=3: "),
        (
            "bell: {_target_: support.toys.Wheel}",
            f"bicycle.bell._target_={TOYS}.Wheel: makes a Wheel; here should be a Bell",
        ),
        (
            "wheel: '${bell}'",
            f"bell._target_={TOYS}.Bell: makes a Bell; here should be a Wheel",
        ),
        ("wheel: '${part}'", "part: should be an instance of Wheel"),
        (
            "wheel: {_target_: support.toys.build_anything}",
            f"bicycle.wheel._target_={TOYS}.build_anything: does not say what it returns; here",
        ),
        (
            "paint: {_target_: support.toys.build_wheel, _partial_: true}",
            f"bicycle.paint._target_={TOYS}.build_wheel: makes a Wheel; here should be a Module",
        ),
        (
            "bell: {_target_: support.toys.Bell, _args_: [3]}",
            "bicycle.bell._args_: give these arguments by their names",
        ),
        (
            "spares: {a: {_target_: support.toys.Bell}}",
            "bicycle.spares.a._target_=support.toys.Bell: makes a Bell; here should be a Wheel",
        ),
        (
            "stack: [{_target_: support.toys.Bell}]",
            "bicycle.stack.0._target_=support.toys.Bell: makes a Bell",
        ),
        ("garage: /not/there", "bicycle.garage=/not/there: Path does not point to a directory"),
        ("load: {front: -3, back: 1}", "bicycle.load.front=-3: should be greater than or equal"),
        ("load: {side: 3}", "bicycle.load={'side': 3}: side should be 'front' or 'back'"),
        ("shop: ''", "bicycle.shop=: should be a path; is a variable of the shell not set?"),
        ("gears: '3'", "bicycle.gears=3: should be a valid integer or should be 'many'"),
        ("gears: 31", "bicycle.gears=31: should be less than or equal to 30"),
        ("ratios: [1, .nan]", "bicycle.ratios.1=nan: should be a finite number"),
        ("tilt: [-.inf, 0]", "bicycle.tilt.0=-inf: should be a finite number"),
        ("tilt: [3, 1]", "bicycle.tilt=[3, 1]: the second number should not be below the first"),
        (
            "paint: {_target_: support.toys.polish, _partial_: true, every_n_epochs: -1}",
            "bicycle.paint.every_n_epochs=-1: should be greater than or equal to 0",
        ),
    ],
)
def test_values_that_do_not_fit(value: str, complaint: str) -> None:
    (found,) = check(f"bicycle: {{{value}}}")
    assert found.startswith(complaint)


def test_mistake_is_reported_where_it_was_made() -> None:
    (found,) = check("{gears: none, bicycle: {spares: {a: '${wheel}'}}}")
    assert found.startswith("gears=none: should be a valid integer")
    (found,) = check("{wheel: {spokes: 0}, bicycle: {spares: {a: '${wheel}', b: '${wheel}'}}}")
    assert found == "wheel.spokes=0: should be greater than or equal to 1"


def test_a_reference_to_itself_is_a_mistake() -> None:
    assert check("seed: '${seed}'") == ["seed: refers to itself"]
    assert check("{seed: '${gears}', gears: '${seed}'}")[0].endswith(": refers to itself")
    assert check("name: '${name}x'") == ["name: name: refers to itself"]


def shop(
    *, bell: Annotated[Any, Builds(Bell)], bells: dict[str, Annotated[Any, Builds(Bell)] | None]
) -> None:
    """An entry point that builds what it is given."""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ("bells: {a: null, b: {_target_: support.toys.Bell}}", None),
        ("bells: {a: 5}", "bells.a=5: should be null or a node with a _target_ that makes a Bell"),
        ("bells: {a: {tone: 3}}", "bells.a={'tone': 3}: should be null or a node with a _target_"),
        ("bell: null", "bell=null: should be a node with a _target_ that makes a Bell"),
    ],
)
def test_what_is_to_be_built_is_a_node(changes: str, complaint: str | None) -> None:
    config = OmegaConf.create("{bell: {_target_: support.toys.Bell}, bells: {}}")
    config.merge_with(OmegaConf.create(changes))
    if "bell: null" in changes:
        config.bell = None
    found = mistakes(config, shop)
    assert [line[: len(complaint or "")] for line in found] == [complaint] * bool(complaint)


def test_what_a_resolver_says_of_a_value_is_reported_under_its_key() -> None:
    def doubled(gears: int) -> int:
        raise ValueError(f"gears={gears}: should be even")

    OmegaConf.register_new_resolver("doubled", doubled, replace=True)
    assert check("{seed: '${doubled:${gears}}'}") == ["gears=3: should be even"]


def test_all_mistakes_are_reported() -> None:
    found = check("{seed: x, gears: 0, wheel: {spoke: 3}, bicycle: {color: red}}")
    assert {line.split(":")[0] for line in found} == {
        "seed=x",
        "gears=0",
        "wheel.spoke",
        "bicycle.color",
    }


def test_wrong_key_comes_with_the_nearest() -> None:
    (found,) = check("bicycle: {color: red}")
    assert found == "bicycle.color: Bicycle has no such option; did you mean colour?"
    assert check("{wheel: {xyz: 1}, bicycle: {spares: {a: {xyz: '${wheel.xyz}'}}}}") == check(
        "wheel: {xyz: 1}"
    )
    (found,) = check("wheel: {xyz: 1}")
    assert found == "wheel.xyz: Wheel has no such option; options are spokes"


def test_missing_values() -> None:
    config = OmegaConf.create(GOOD)
    config.wheel.spokes = "???"
    assert mistakes(config, ride) == ["wheel.spokes: required; set it with wheel.spokes=..."]
    (found,) = check("wheel: {_target_: support.toys.BigWheel, spokes: 2}")
    assert found == "wheel.size: required; it has no value"
    part = "{_target_: torch.nn.Conv2d, _partial_: true}"
    assert check(f"wheel: {part}") != []
    assert check(f"bicycle: {{paint: {part}}}") == []


def test_targets_that_cannot_be_imported() -> None:
    (found,) = check("wheel: {_target_: support.toys.Weel}")
    assert found.startswith("wheel._target_=support.toys.Weel: cannot be imported")
    (found,) = check("wheel: {_target_: no.such.module}")
    assert found == (
        "wheel._target_=no.such.module: cannot be imported (ModuleNotFoundError: No module named "
        "'no'); correct the path or mend the module"
    )


def test_broken_references() -> None:
    (found,) = check("bicycle: {colour: '${nothing.here}'}")
    assert "bicycle.colour" in found
    assert "nothing.here" in found


def test_the_entry_point_is_a_schema_too() -> None:
    def strict(bicycle: Any, bell: Any, part: Any, wheel: Any, gears: Any, sed: int) -> None: ...

    found = check(entry=strict)
    assert [line.partition(";")[0] for line in found] == [
        "seed: strict has no such option",
        "name: strict has no such option",
        "sed: required",
    ]
    assert check("{seed: -1, name: 3}") == [
        "seed=-1: should be greater than or equal to 0",
        "name=3: should be a valid string",
    ]


def test_a_part_that_lacks_a_method_is_told_before_it_is_built() -> None:
    (found,) = check("bicycle: {wheel: {_target_: support.toys.Unfinished}}")
    assert found.endswith("Unfinished lacks turn, which its base class asks for")
