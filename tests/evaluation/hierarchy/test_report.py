"""Tables and curves of hierarchies."""

import csv
from pathlib import Path

from PIL import Image

from cast_exp.evaluation.hierarchy.report import write_report

FIGURES = {
    method: {
        "ods": 0.25 + i,
        **{
            f"{name}/{level}": value + i
            for level in (8, 4)
            for name, value in (("segments", level - 0.25), ("covering", 0.5), ("boundary_f", 0.4))
        },
    }
    for i, method in enumerate(("model", "color"))
}


def test_every_figure_is_in_the_tables(tmp_path: Path) -> None:
    write_report(FIGURES, [8, 4], tmp_path)
    with (tmp_path / "levels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "method": method,
            "level": str(level),
            "segments": f"{level - 0.25 + i:.1f}",
            "covering": f"{0.5 + i:.4f}",
            "boundary_f": f"{0.4 + i:.4f}",
        }
        for i, method in enumerate(("model", "color"))
        for level in (8, 4)
    ]
    levels, whole, note = (tmp_path / "levels.md").read_text().split("\n\n")
    assert levels.splitlines()[:3] == [
        "| method | level | segments | covering | boundary_f |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| model | 8 | 7.8 | 0.5000 | 0.4000 |",
    ]
    assert whole.splitlines()[2:] == ["| model | 0.2500 |", "| color | 1.2500 |"]
    assert note.startswith("The lower the better")
    assert "bsds_ap" not in note
    assert Image.open(tmp_path / "curves.png").width > 800  # two panels


def test_the_area_under_a_curve_of_few_levels_gets_a_note(tmp_path: Path) -> None:
    figures = {name: found | {"bsds_ap": 0.1} for name, found in FIGURES.items()}
    write_report(figures, [8, 4], tmp_path)
    text = (tmp_path / "levels.md").read_text()
    assert "bsds_ap is the area under the curve through these 2 levels" in text
