"""What is chosen for trials, who takes them on, and which are cut short."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from cast_exp.study import Interval, Space, claimed, draw, open_study, report, tell

pytest.importorskip("optuna")
SPACE = {
    "pooling": ["graph", "none"],
    "count": Interval(low=25, high=64),
    "lr": Interval(low=1e-4, high=1e-2, log=True),
}


def idle(_: int) -> bool:
    return False


@pytest.mark.parametrize("journal", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_each_number_has_one_trial_with_values_of_the_space(journal: bool, tmp_path: Path) -> None:
    study, found = open_study(tmp_path, "minimize", journal), []
    for number in range(6):
        study = open_study(tmp_path)  # as another process would
        with claimed(study, tmp_path, SPACE, 6, idle) as trial:
            assert trial is not None
            assert trial.number == number
            found.append(trial.params)
            tell(study, trial, trial.params["lr"] if number else float("nan"), pruned=number == 1)
    with claimed(study, tmp_path, SPACE, 6, idle) as trial:
        assert trial is None
    assert {values["pooling"] for values in found} == {"graph", "none"}
    assert all(type(values["count"]) is int and 25 <= values["count"] <= 64 for values in found)
    assert all(1e-4 <= values["lr"] <= 1e-2 for values in found)
    assert len({values["lr"] for values in found}) == 6  # not those of the first again
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ["FAIL", "PRUNED", *["COMPLETE"] * 4]
    assert study.best_value == min(values["lr"] for values in found[2:])
    draw(study, tmp_path)
    for name in ("importance", "parallel"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert (tmp_path / ("search.journal" if journal else "search.db")).is_file()


def test_a_trial_that_was_left_is_taken_on_before_a_new_one(tmp_path: Path) -> None:
    study = open_study(tmp_path, "maximize")
    with claimed(study, tmp_path, SPACE, 9, idle) as first:
        assert first is not None
        with claimed(study, tmp_path, SPACE, 9, idle) as beside:  # the first is at work
            assert beside is not None
            assert beside.number == 1
    with claimed(open_study(tmp_path), tmp_path, SPACE, 9, idle) as again:
        assert again is not None
        assert (again.number, again.params) == (0, first.params)
    with claimed(study, tmp_path, SPACE, 9, lambda number: number == 0) as other:
        assert other is not None
        assert other.number == 1


@pytest.mark.parametrize(("direction", "good", "bad"), [("maximize", 2, 1), ("minimize", 1, 2)])
def test_a_trial_is_cut_short_when_it_is_worse_than_half_of_the_others(
    direction: str, good: float, bad: float, tmp_path: Path
) -> None:
    study = open_study(tmp_path, direction, journal=True)
    for number in range(7):
        with claimed(study, tmp_path, SPACE, 7, idle) as trial:
            assert trial is not None
            value = good if number < 6 else bad
            behind = [report(tmp_path / f"{number}_x", epoch, value) for epoch in range(4)]
            tell(study, trial, value, pruned=False)
    assert behind == [False, False, True, True]  # not in its first two epochs


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "at least 1 item"),
        ({"a": []}, "at least 1 item"),
        ({"a": {"low": 2, "high": 1}}, "low should be below high"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "low should be above 0"),
        ({"a": {"low": 0, "hihg": 1}}, "hihg"),
        ({"a": {"low": "0", "high": 1}}, "should be a valid"),
    ],
)
def test_a_space_of_another_form_is_refused(space: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Space).validate_python(space)
