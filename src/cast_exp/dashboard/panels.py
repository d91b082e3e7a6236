"""The panels of a dashboard: those that there is something to show in."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

from cast_exp.config.messages import nearest
from cast_exp.dashboard.project import (
    TrackedRun,
    best_run,
    checkpoint_of,
    differing,
    differing_settings,
)
from cast_exp.errors import UserError
from cast_exp.run.objective import direction
from cast_exp.run.record import is_result

Panel = Any
"""One of `wandb_workspaces`."""

_CURVES = (r"train/loss", r"val/knn", r"val/probe\w*", r"val/top1", r"val/miou", r"val/loss")
_LEVELS = {
    "mIoU": r"\w+/miou(/(level)?\d+)?",
    "boundary F": r"\w+/boundary_f(_ods)?(/(level)?\d+)?",
    "covering": r"\w+/covering(_ods)?(/\d+)?",
}
_SPEED = {
    "throughput/images_per_second": "images per second",
    "throughput/mfu": "utilisation: share of the device's peak FLOP/s",
    "throughput/model_tflops": "TFLOP/s of a device that the model needs",
    "throughput/data_wait": "share of the time that waits for data",
    "throughput/peak_memory_gib": "peak memory, GiB",
}
_GFLOPS = "model/gflops"
_BY_DEFAULT = "experiment"
_MOST_COLUMNS = 12
_WIDE = wr.Layout(w=24, h=9)


@dataclass(frozen=True)
class Section:
    """Panels under one title.

    Attributes:
        title: Of the section.
        about: A sentence on how to read them.
        panels: At least one.
    """

    title: str
    about: str
    panels: Sequence[Panel]


def grouping(runs: Sequence[TrackedRun], asked: Sequence[str] = ()) -> list[str]:
    """The choices to group curves and bars by: those asked for, or those that differ.

    Raises:
        UserError: No run has a key that is asked for.
    """
    keys = {key for run in runs for key in (*run.config, *run.settings)}
    if unknown := [key for key in asked if key not in keys]:
        raise UserError(f"no run has --by {unknown[0]}; {nearest(unknown[0], keys)}")
    return list(asked) or differing(runs) or [_BY_DEFAULT]


def sections(runs: Sequence[TrackedRun], metric: str, by: Sequence[str]) -> list[Section]:
    """All panels, in the order of interest.

    Args:
        runs: Of the project.
        metric: The result that runs are compared by.
        by: Keys of the config to group runs by; means and spread are over the runs of a group,
            such as those of other seeds.
    """
    best = best_run(runs, metric)
    spread = "Mean and standard deviation over the runs of a choice."
    found = [
        Section(
            "Choices and results",
            f"Which choices there were, and what came of them in {metric}.",
            _results(runs, metric, by),
        ),
        Section(
            "Best checkpoint",
            f"{best.name} is best in {metric}, with {best.metrics[metric]:.4g}.",
            _checkpoint(best, metric),
        ),
        Section("Curves", spread, _curves(runs, by)),
        Section("Levels of the hierarchy", spread, _levels(runs, by)),
        Section("Tables", "Figures of each evaluation, and of each class.", _tables(runs)),
        Section(
            "Pictures",
            "The same images over the course of training; masks can be switched on and off.",
            _pictures(runs),
        ),
        Section("Speed", "How fast training ran, and what it waited for.", _speed(runs, by)),
    ]
    return [section for section in found if section.panels]


def columns(runs: Sequence[TrackedRun], metric: str, by: Sequence[str]) -> list[str]:
    """The columns of the table of runs, as W&B names them: choices, then results.

    Args:
        runs: Of the project.
        metric: The first of the results.
        by: Keys of choices that are shown in any case.
    """
    settings = differing_settings(runs)[:_MOST_COLUMNS]
    choices = dict.fromkeys([*by, *differing(runs), "seed", *settings])
    names = dict.fromkeys([metric, *(name for run in runs for name in run.metrics)])
    main = [name for name in names if is_result(name) and not _in_detail(name)]
    return [
        "run:displayName",
        "run:state",
        "run:jobType",
        *map(_column, choices),
        *(f"summary:{name}" for name in main[:_MOST_COLUMNS]),
    ]


def _column(key: str) -> str:
    """A key of the config as columns have it: values are below the first name."""
    first, dot, rest = key.partition(".")
    return f"config:{first}.value{dot}{rest}"


def _in_detail(name: str) -> bool:
    """Whether a result is one of many of its kind, such as those of levels and of baselines."""
    return name.count("/") != 1


def _results(runs: Sequence[TrackedRun], metric: str, by: Sequence[str]) -> list[Panel]:
    bars = [
        wr.BarPlot(
            title=f"{metric} by {choice}",
            metrics=[metric],
            groupby=wr.Config(choice),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for choice in by
    ]
    axes: list[Any] = [wr.Config(key) for key in dict.fromkeys([*by, *differing_settings(runs)])]
    parallel = wr.ParallelCoordinatesPlot(
        title="choices and results",
        columns=[
            wr.ParallelCoordinatesPlotColumn(axis)
            for axis in [*axes[:_MOST_COLUMNS], wr.SummaryMetric(metric)]
        ],
        layout=_WIDE,
    )
    costs = [
        wr.ScatterPlot(
            title=f"{metric} against GFLOPs of an image",
            x=wr.SummaryMetric(_GFLOPS),
            y=wr.SummaryMetric(metric),
        )
    ] * any(_GFLOPS in run.metrics for run in runs)
    return [*bars, *costs, parallel, wr.RunComparer(diff_only="split", layout=_WIDE)]


def _checkpoint(best: TrackedRun, metric: str) -> list[Panel]:
    name = checkpoint_of(best)
    aim = "highest" if direction(metric) == "maximize" else "lowest"
    text = f"**{best.name}** has the {aim} `{metric}`: {best.metrics[metric]:.4g}"
    about = f"{text}\n\n`{best.config['variant']}`"
    shown = [
        wr.WeavePanelArtifact(artifact=name, tab=tab, layout=wr.Layout(w=12, h=10))
        for tab in ("overview", "lineage")
        if name
    ]
    return [wr.MarkdownPanel(markdown=about, layout=wr.Layout(w=24, h=4)), *shown]


def _curves(runs: Sequence[TrackedRun], by: Sequence[str]) -> list[Panel]:
    names = _matching(runs, _CURVES)
    return [_line(name, f"{name} by {choice}", choice) for name in names for choice in by]


def _levels(runs: Sequence[TrackedRun], by: Sequence[str]) -> list[Panel]:
    return [
        wr.BarPlot(
            title=f"{what} of each level, by {choice}",
            metrics=names,
            groupby=wr.Config(choice),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            layout=wr.Layout(w=12, h=8),
        )
        for what, pattern in _LEVELS.items()
        if (names := _matching(runs, [pattern]))
        for choice in by
    ]


def _tables(runs: Sequence[TrackedRun]) -> list[Panel]:
    names = sorted({name for run in runs for name in run.media("table-file")})
    return [wr.WeavePanelSummaryTable(table_name=name, layout=_WIDE) for name in names]


def _pictures(runs: Sequence[TrackedRun]) -> list[Panel]:
    names = sorted({name for run in runs for name in run.media("image")})
    return [
        wr.MediaBrowser(title=name, media_keys=[name], num_columns=2, layout=_WIDE)
        for name in names
    ]


def _speed(runs: Sequence[TrackedRun], by: Sequence[str]) -> list[Panel]:
    there = set(_matching(runs, map(re.escape, _SPEED)))
    return [
        _line(name, title, choice)
        for name, title in _SPEED.items()
        if name in there
        for choice in by[:1]
    ]


def _line(name: str, title: str, choice: str) -> Panel:
    return wr.LinePlot(
        title=title,
        x="Step",
        y=[name],
        groupby=wr.Config(choice),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=100,
    )


def _matching(runs: Sequence[TrackedRun], patterns: Iterable[str]) -> list[str]:
    """Figures that some run has, in the order of the patterns and then of levels."""
    names = {name for run in runs for name in run.metrics}
    return [
        name
        for pattern in patterns
        for name in sorted(filter(re.compile(pattern).fullmatch, names), key=_by_number)
    ]


def _by_number(name: str) -> list[tuple[str, int]]:
    """A key that sorts "level2" before "level10"."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D+)(\d*)", name)]
