"""Make dashboards of a W&B project: `cast-exp dashboard ENTITY/PROJECT`.

Makes a workspace, which follows the runs as they come in, and a report to hand on, with
what runs of cast_exp have logged (logger=wandb): a table of choices and results; curves of loss,
kNN and probes by choice, with mean and spread over seeds; mIoU, boundary F and covering of each
level; tables of evaluations; pictures; speed; the best checkpoint and what it came from.
It also links each run to the checkpoint it is built on, which runs that were offline could not do.
cast-exp report makes such a page without an account.
"""

import argparse
from collections.abc import Sequence

from cast_exp.errors import UserError
from cast_exp.extras import need_extra
from cast_exp.run.options import plain

_LONGEST_TITLE = 128
"""Characters that W&B takes."""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: See `Project`; or a figure, a key or a title is none, or W&B refuses.
    """
    options = _parser().parse_args(arguments)
    need_extra(
        "wandb",
        "cast-exp dashboard",
        "wandb",
        "wandb_workspaces",
        instead="compare runs with cast-exp report",
    )
    # These take seconds, which --help need not, and what may not be installed.
    from cast_exp.dashboard.panels import columns, grouping, sections
    from cast_exp.dashboard.project import Project, best_run, checkpoint_of, headline
    from cast_exp.dashboard.views import is_report, make_report, make_workspace, save_view

    project = Project(options.project)
    metric = headline(project.runs, options.metric)
    by = grouping(project.runs, options.by)
    shown = sections(project.runs, metric, by)
    best = best_run(project.runs, metric)
    print(f"{project}: {len(project.runs)} runs, compared by {metric}, grouped by {', '.join(by)}")
    print(f"best: {best.name} ({best.metrics[metric]:.4g}), {checkpoint_of(best) or 'no artifact'}")
    if options.dry_run:
        for section in shown:
            print(f"{section.title}: {len(section.panels)} panels")
        return 0
    linked, missing = project.link()
    print(f"linked to the checkpoints they are built on: {linked} runs")
    if missing:
        print(f"not in W&B are the checkpoints of: {', '.join(missing)}; upload their runs first")
    title = options.title or f"{project.name}: {metric} by {', '.join(by)}"[:_LONGEST_TITLE]
    about = (project.entity, project.name, title, shown, columns(project.runs, metric, by))
    try:
        views = {"workspace": make_workspace(*about), "report": make_report(*about)}
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"W&B takes no dashboard of the title {title!r}: {reason}") from error
    for kind, view in views.items():
        before = (url for url in options.replace if is_report(url) == (kind == "report"))
        print(f"{kind:10}{save_view(view, next(before, None))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cast-exp dashboard",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("project", metavar="ENTITY/PROJECT", help="or PROJECT, of the account's default entity")
    add(
        "--metric",
        help="result to compare runs by, such as val/knn; default: the main one there is",
    )
    add(
        "--by",
        type=_keys,
        default=(),
        metavar="KEY,...",
        help="choices to group runs by, such as pooling,model; default: those that differ",
    )
    add("--title", help="of both; default: what is compared")
    add(
        "--replace",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="of a workspace or a report made before, which the new one takes the place of; may "
        "be given for both",
    )
    add("--dry-run", action="store_true", help="only say what would be made")
    return parser


def _keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]
