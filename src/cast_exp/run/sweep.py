"""What came out of a multirun: a table and a plot over its jobs, renewed after each of them."""

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from cast_exp.output.files import atomic_write, write_csv, write_text
from cast_exp.output.markdown import markdown_table
from cast_exp.output.rounding import rounded, rounded_overrides
from cast_exp.run.folder import read_summary, sole_writer, write_summary
from cast_exp.run.record import is_result
from cast_exp.run.saved import Saved

_GFLOPS = "model/gflops"
_SIZE = re.compile(r"_(tiny|small|base)(_deep)?$")


@dataclass(frozen=True)
class Job:
    """A job of a multirun that has ended, well or not.

    Attributes:
        folder: Name of its folder in that of the multirun.
        overrides: What it was started with, by key.
        summary: Its `summary.json`.
    """

    folder: str
    overrides: dict[str, str]
    summary: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics; empty for a job that failed."""
        metrics: dict[str, float] = self.summary.get("metrics", {})
        return metrics


class SweepSummary(Callback):  # type: ignore[misc]
    """Keeps `summary.csv`, `.md`, `.png` and `.json` in the folder of a multirun.

    The CSV file has a row for each job that has ended: folder, status, the overrides that differ
    between jobs, final metrics.
    The Markdown table has a row for each choice and a column for each figure that tells how good it
    is, with mean and standard deviation over seeds. The plot has a panel for each figure: a dot for
    each job, a bar for the mean over seeds. The JSON file says whether all jobs have finished. If
    models cost differently, `gflops.png` shows the figures over what they cost, as on the right of
    the paper's table 1; see `cost_plot`.
    """

    def __init__(self) -> None:
        self._alone = ExitStack()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mark the multirun as unfinished, so that it can be resumed, by nobody else meanwhile.

        Raises:
            UserError: It is at work already, in another process.
        """
        folder = Path(config.hydra.sweep.dir)
        with suppress(OSError):  # Hydra fails to make the folder, too, and tells of it
            folder.mkdir(parents=True, exist_ok=True)
            self._alone.enter_context(sole_writer(folder))
            write_summary(folder, "running")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take in the job that has just ended, if it is one of a multirun."""
        if not OmegaConf.is_missing(config.hydra.job, "num"):
            summarise(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Record how it went and say where the summary is."""
        folder = Path(config.hydra.sweep.dir)
        jobs = summarise(folder)
        bad = [job for job in jobs if job.summary["status"] != "finished"]
        write_summary(folder, "failed" if bad else "finished")
        self._alone.close()
        print(f"{len(jobs) - len(bad)} of {len(jobs)} jobs finished: {folder / 'summary.csv'}")
        for job in bad:
            print(f"  {job.summary['status']}: {job.folder}: {job.summary.get('error')}")


def summarise(folder: Path) -> list[Job]:
    """Write table and plot of a multirun's folder; return its jobs in order."""
    jobs = []
    places = {path: int(path.name.partition("_")[0]) for path in folder.glob("[0-9]*/")}
    for place in sorted(places, key=places.__getitem__):
        if summary := read_summary(place):
            lines = Saved.read(place).overrides
            overrides = {k.lstrip("+~"): v for k, _, v in (line.partition("=") for line in lines)}
            jobs.append(Job(place.name, overrides, summary))
    _write_table(folder / "summary.csv", jobs)
    _write_markdown(folder / "summary.md", jobs)
    _plot(folder / "summary.png", jobs)
    if figure := cost_plot(jobs):
        _save(figure, folder / "gflops.png")
    return jobs


def _names(jobs: list[Job], of: str) -> list[str]:
    """The keys that any of the jobs has, in order of appearance."""
    return list(dict.fromkeys(name for job in jobs for name in getattr(job, of)))


def _write_table(path: Path, jobs: list[Job]) -> None:
    overrides, metrics = _varied(jobs), _names(jobs, "metrics")
    rows = [
        [
            job.folder,
            job.summary["status"],
            job.summary.get("seconds"),
            *(job.overrides.get(name) for name in overrides),
            *(job.metrics.get(name) for name in metrics),
            job.summary.get("error"),
        ]
        for job in jobs
    ]
    write_csv(path, [["folder", "status", "seconds", *overrides, *metrics, "error"], *rows])


def _results(jobs: list[Job]) -> list[str]:
    """The metrics that tell how good a job's outcome is; all if none does."""
    metrics = _names(jobs, "metrics")
    return list(filter(is_result, metrics)) or metrics


def _varied(jobs: list[Job]) -> list[str]:
    """The keys whose values differ between jobs.

    Jobs that ran before the multirun was resumed do not say `resume`, the others do.
    """
    names = [name for name in _names(jobs, "overrides") if name != "resume"]
    return [name for name in names if len({job.overrides.get(name) for job in jobs}) > 1]


def _choices(jobs: list[Job]) -> tuple[list[str], dict[tuple[str, ...], list[Job]]]:
    """What is varied, the seed apart, and the jobs of each such choice."""
    varied = [name for name in _varied(jobs) if name != "seed"]
    groups: dict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[tuple(str(job.overrides.get(name)) for name in varied)].append(job)
    return varied, groups


def _write_markdown(path: Path, jobs: list[Job]) -> None:
    metrics = _results(jobs)
    varied, groups = _choices(jobs)
    rows = [[*varied, "runs", *metrics]]
    for choice, members in groups.items():
        ended = [job for job in members if job.metrics]
        cells = [_spread([job.metrics[m] for job in ended if m in job.metrics]) for m in metrics]
        rows.append([*map(rounded_overrides, choice), str(len(ended)), *cells])
    write_text(path, markdown_table(rows))


def _spread(values: list[float]) -> str:
    """Mean and, of several, standard deviation."""
    if not values:
        return ""
    return rounded(fmean(values)) + (f" ± {rounded(stdev(values))}" if len(values) > 1 else "")


def _plot(path: Path, jobs: list[Job]) -> None:
    metrics = [name for name in _results(jobs) if "untrained" not in name]
    if not metrics:
        return
    varied, choices = _choices(jobs)
    groups = {}
    for choice, members in choices.items():
        lines = [f"{name}={value}" for name, value in zip(varied, choice, strict=True)]
        groups["\n".join(lines) or "all"] = members
    height = 1.0 + len(groups) * (0.3 + 0.15 * max(len(varied), 1))
    figure = Figure(figsize=(8, height * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), squeeze=False).flat
    for axes, metric in zip(panels, metrics, strict=True):
        for label, members in groups.items():
            values = [job.metrics[metric] for job in members if metric in job.metrics]
            axes.barh(label, fmean(values) if values else 0.0, color="tab:blue", alpha=0.4)
            axes.plot(values, [label] * len(values), "o", color="tab:blue")
        axes.invert_yaxis()
        axes.set_title(metric, fontsize="medium")
    _save(figure, path)


def cost_plot(jobs: Sequence[Job]) -> Figure | None:
    """Plot figures over the GFLOPs of a forward pass of the backbone, those of `model.txt`.

    There is a panel for each figure and a point for each choice, the mean over seeds. A line joins
    the sizes of a model, such as `cast_small` and `cast_base`.

    Returns:
        The plot; None if there are no figures, or all models cost the same.
    """
    ended = [job for job in jobs if _GFLOPS in job.metrics]
    metrics = _results(ended)
    if len({job.metrics[_GFLOPS] for job in ended}) < 2 or metrics == _names(ended, "metrics"):
        return None
    figure = Figure(figsize=(7, 4 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), squeeze=False).flat
    for axes, metric in zip(panels, metrics, strict=True):
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for choice, members in _choices(ended)[1].items():
            if values := [job.metrics[metric] for job in members if metric in job.metrics]:
                point = members[0].metrics[_GFLOPS], fmean(values)
                model = members[0].overrides.get("model", "")
                family = ", ".join(
                    _SIZE.sub("", part) if part == model else part for part in choice
                )
                lines[family].append(point)
                axes.annotate(", ".join(choice), point, (4, 4), textcoords="offset points")
        for family, points in lines.items():
            axes.plot(*zip(*sorted(points), strict=True), "o-", label=family)
        axes.set(xscale="log", xlabel="GFLOPs (a multiply-add is 2)", ylabel=metric)
        axes.legend()
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as new:
        figure.savefig(new, format="png", dpi=120)
