"""A workspace and a report of W&B: two ways to see the same panels."""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from cast_exp.dashboard.panels import Section
from cast_exp.errors import UserError

View = Any
"""A workspace or a report of `wandb_workspaces`."""


def make_workspace(
    entity: str, project: str, title: str, sections: Sequence[Section], columns: Sequence[str]
) -> ws.Workspace:
    """A workspace: it shows the runs of the project as they come in, and everyone can filter them.

    Args:
        entity: User or team.
        project: Of the runs.
        title: Of the workspace, without emoji.
        sections: See `cast_exp.dashboard.panels.sections`.
        columns: See `cast_exp.dashboard.panels.columns`.
    """
    return ws.Workspace(
        entity=entity,
        project=project,
        name=title,
        sections=[
            ws.Section(
                name=each.title,
                panels=list(each.panels),
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=2, rows=2),
            )
            for each in sections
        ],
        settings=ws.WorkspaceSettings(x_axis="Step", max_runs=100),
        runset_settings=ws.RunsetSettings(pinned_columns=list(columns)),
    )


def make_report(
    entity: str, project: str, title: str, sections: Sequence[Section], columns: Sequence[str]
) -> wr.Report:
    """A report: a page to hand on, with the table of runs under each section.

    Args: as of `make_workspace`.
    """
    blocks: list[Any] = [wr.TableOfContents()]
    for each in sections:
        runs = wr.Runset(
            entity=entity,
            project=project,
            name="runs",
            pinned_columns=list(columns),
            visible_columns=list(columns),
            lock_columns=True,
        )
        shown = wr.PanelGrid(runsets=[runs], panels=list(each.panels))
        blocks += [wr.H1(each.title), wr.P(each.about), shown]
    return wr.Report(entity=entity, project=project, title=title, blocks=blocks, width="fluid")


def save_view(view: View, replaced: str | None) -> str:
    """Save a view; returns its address.

    Args:
        view: A new one.
        replaced: Address of one of its kind, made before, whose place it takes.

    Raises:
        UserError: W&B does not take it, or there is none at that address.
    """
    try:
        if replaced and isinstance(view, wr.Report):
            view.id = wr.Report.from_url(replaced).id
        elif replaced:
            before = ws.Workspace.from_url(replaced)
            before.name, before.sections = view.name, view.sections
            before.settings, before.runset_settings = view.settings, view.runset_settings
            view = before
        view.save()
    except Exception as error:  # wandb raises what its transport does, and ValueError
        text = " ".join(str(error).split())
        at = f" in the place of {replaced}" if replaced else ""
        raise UserError(
            f"W&B did not save the {type(view).__name__.lower()}{at} ({text}); look whether this "
            f"account may write to {view.entity}/{view.project}"
        ) from error
    return str(view.url)


def is_report(address: str) -> bool:
    """Whether the address of a view is that of a report."""
    return "/reports/" in address
