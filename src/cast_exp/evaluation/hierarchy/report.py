"""The figures of hierarchies as tables and curves."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cast_exp.output.files import atomic_write, write_csv, write_text
from cast_exp.output.markdown import markdown_table
from cast_exp.viz import level_curves

TITLES = {
    "model": "model",
    "kmeans": "K-Means of its tokens",
    "kmedoids": "K-Medoids of its tokens",
    "trained_kmedoids": "trained with K-Medoids",
    "color": "merged by colour",
    "vit": "ViT, K-Means",
}
"""What methods are called in pictures."""

_CURVES = {"covering": "region covering (IoU)", "boundary_f": "boundary F"}

_NOTE = (
    "The lower the better: vi, in bits, and nesting, the share of pixels that leave their segment "
    "at the next level.\n"
)
_AP_NOTE = (
    "\nbsds_ap is the area under the curve through these {} levels. Published figures have 99 "
    "thresholds, so they are not comparable; bsds_f_ods and bsds_f_ois are.\n"
)

Figures = Mapping[str, Mapping[str, float]]


def write_report(figures: Figures, levels: Sequence[int], folder: Path) -> None:
    """Write `levels.csv`, `levels.md` and `curves.png`.

    Args:
        figures: Figures of each method by name, those of a level as "<name>/<level>"; among them
            "segments/<level>".
        levels: Segments asked for at each level, fine to coarse.
        folder: Where they go.
    """
    rows = list(_rows(figures, levels))
    write_csv(folder / "levels.csv", rows)
    tables = [markdown_table(each, numbers=True) for each in (rows, [*_whole_rows(figures)])]
    ap = any("bsds_ap" in found for found in figures.values())
    note = _NOTE + _AP_NOTE.format(len(levels)) * ap
    write_text(folder / "levels.md", "\n".join([*tables, note]))
    panels = {
        title: {
            TITLES[method]: [(found[f"segments/{k}"], found[f"{name}/{k}"]) for k in levels]
            for method, found in figures.items()
        }
        for name, title in _CURVES.items()
    }
    with atomic_write(folder / "curves.png") as new:
        level_curves(panels).savefig(new, format="png", dpi=120, bbox_inches="tight")


def _rows(figures: Figures, levels: Sequence[int]) -> Iterable[list[str]]:
    """A row for each method and level."""
    names = [
        key.split("/")[0] for key in next(iter(figures.values())) if key.endswith(f"/{levels[0]}")
    ]
    yield ["method", "level", *names]
    for method, found in figures.items():
        for level in levels:
            yield [method, str(level), *(_text(name, found[f"{name}/{level}"]) for name in names)]


def _whole_rows(figures: Figures) -> Iterable[list[str]]:
    """A row for each method, with what is not of one level."""
    names = [key for key in next(iter(figures.values())) if "/" not in key]
    yield ["method", *names]
    for method, found in figures.items():
        yield [method, *(_text(name, found[name]) for name in names)]


def _text(name: str, value: float) -> str:
    return f"{value:.1f}" if name == "segments" else f"{value:.4f}"
