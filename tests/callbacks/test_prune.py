"""A trial that falls behind ends on all processes; one that does not is left alone."""

from pathlib import Path

import pytest
from support import stops
from support.two_ranks import on_two_ranks

from cast_exp.study import claimed, open_study, report, tell

pytest.importorskip("optuna")


@pytest.mark.parametrize(
    ("others", "epochs", "pruned"),
    [(0.5, 3, 1.0), pytest.param(0.05, 6, None, marks=pytest.mark.slow)],
)
def test_all_processes_end_with_the_epoch_in_which_a_trial_falls_behind(
    others: float, epochs: int, pruned: float | None, tmp_path: Path
) -> None:
    study = open_study(tmp_path, "maximize", journal=True)
    for number in range(6):
        with claimed(study, tmp_path, {"seed": ["0"]}, 6, lambda _: False) as trial:
            assert trial is not None
            for epoch in range(6) if number < 5 else ():
                report(tmp_path / f"{number}_seed-0", epoch, others)
            if number < 5:
                tell(study, trial, others, pruned=False)
    assert on_two_ranks(stops.pruned_at, tmp_path / "5_seed-0") == [(epochs, pruned)] * 2
    curve = study.get_trials()[5].intermediate_values
    assert curve == dict.fromkeys(range(min(epochs, 5)), pytest.approx(0.1))
