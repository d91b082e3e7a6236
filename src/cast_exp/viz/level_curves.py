"""Curves of figures over the number of segments, one for each method."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Of each method, the number of segments and the figure at each level."""

# To be read on white and on black: a transparent ground, ink of middle grey, and those of Okabe and
# Ito's colours (told apart by the colour-blind) that are neither too light nor too dark.
_INK = "#808080"
_COLOURS = ("#D55E00", "#2C8BC8", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
_GAP = 0.065  # between two names, as a share of the height


def level_curves(panels: Mapping[str, Curves]) -> Figure:
    """Plot curves with the names of the methods at their ends.

    Args:
        panels: Curves by what they show; a panel for each, side by side. The first method stands
            out.

    Returns:
        The figure on a transparent ground; save it with `figure.savefig(path)`.
    """
    figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    figure.patch.set_alpha(0)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(row, panels.items(), strict=True):
        _draw(axes, title, curves)
    return figure


def _draw(axes: Axes, title: str, curves: Curves) -> None:
    colours = dict(zip(curves, cycle(_COLOURS), strict=False))
    for order, (name, points) in enumerate(curves.items()):
        axes.plot(
            *zip(*sorted(points), strict=True),
            color=colours[name],
            marker=_MARKERS[order % len(_MARKERS)],
            markersize=4.5,
            linewidth=1.4 if order else 2.4,
            zorder=3 - order,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("segments", color=_INK)
    axes.set_title(title, color=_INK)
    axes.patch.set_alpha(0)
    axes.tick_params(colors=_INK, which="both")
    axes.minorticks_off()
    axes.grid(color=_INK, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_INK)
    low, high = axes.get_ylim()
    ends = {name: (max(points)[1] - low) / (high - low) for name, points in curves.items()}
    foremost = next(iter(curves))
    for name, height in _apart(ends).items():
        axes.text(
            1.02,
            height,
            name,
            transform=axes.transAxes,
            color=colours[name],
            va="center",
            fontweight="bold" if name == foremost else None,
        )


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights, of which those too close to each other are pushed apart."""
    names = sorted(heights, key=lambda name: heights[name])
    moved = {name: heights[name] for name in names}
    for _ in range(50):
        for below, above in pairwise(names):
            lacking = _GAP - (moved[above] - moved[below])
            if lacking > 0:
                moved[below] -= lacking / 2
                moved[above] += lacking / 2
    return moved
