"""The callbacks of a run, less those that its data leave nothing to do."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback

from cast_exp.callbacks.needs import NeedsData
from cast_exp.data.base import RawDataModule
from cast_exp.run.build import build
from cast_exp.run.figures import NAMED
from cast_exp.tasks import BaseTask

log = logging.getLogger(__name__)


def build_callbacks(
    nodes: Mapping[str, Any], data: RawDataModule, task: BaseTask
) -> list[Callback]:
    """Build callbacks; leave out those that cannot work, and say which and why.

    Left out are callbacks whose needs the data do not meet, such as kNN of images without classes,
    and then whatever monitors a figure that nothing in the run logs: the checkpoint of the best
    kNN, say. A figure that neither our callbacks nor our tasks know may come from anywhere.

    Args:
        nodes: Configs by name; None leaves one out.
        data: What the run trains on.
        task: What it trains.

    Raises:
        UserError: Missing data or a wrong layout, or raised by a callback that is built.
    """
    built = {name: build(node) for name, node in nodes.items() if node is not None}
    off: dict[str, list[str]] = defaultdict(list)  # names by reason
    gone: dict[str, str] = {}  # the reason by figure
    for name, callback in built.items():
        if isinstance(callback, NeedsData) and (reason := callback.obstacle(data)):
            off[reason].append(name)
            gone |= dict.fromkeys(callback.figures, reason)
    working = {name: c for name, c in built.items() if all(name not in n for n in off.values())}
    logged = {figure for c in working.values() for figure in getattr(c, "figures", ())}
    if task.figures is not None:
        logged |= set(task.figures)
        unknown = {name: f"nothing in this run logs {name}" for name in NAMED}
        gone = unknown | gone
    for name, callback in list(working.items()):
        monitored: Any = getattr(callback, "monitor", None)
        if monitored not in logged and (reason := gone.get(monitored)):
            off[reason].append(name)
            del working[name]
    for reason, names in off.items():
        shown = " and ".join(f"callbacks.{name}" for name in names)
        log.info("%s %s off: %s", shown, "is" if len(names) == 1 else "are", reason)
    return list(working.values())
