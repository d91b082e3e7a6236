"""What a report shows of runs, as plain values small enough for one page."""

import base64
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cast_exp.output.pictures import fitted
from cast_exp.predict.files import jpeg
from cast_exp.run.objective import direction
from cast_exp.run.record import Curve, RunRecord, is_result, varying

_POINTS = 600_000
"""Of all curves of a page, about 16 bytes each."""
_OF_A_CURVE = (60, 1000)
"""Fewest and most points of a curve."""
_WIDTH = 640
"""Longest side of a picture, in pixels."""


def report_content(records: Sequence[RunRecord], picture_bytes: int) -> dict[str, Any]:
    """Collect what a report shows.

    Args:
        records: The runs, in order.
        picture_bytes: Room for all pictures; those of the last steps go first.

    Returns:
        `choices`, the keys of all choices, and `varying`, those that differ; `results` and
        `asides`, names of metrics, those of most runs first, and `lower`, those of which less is
        better; `runs`, each with name, folder, status, choices, metrics,
        curves and numbers of `pictures` by folder and step; `left_out`, the number of pictures
        for which there was no room.
    """
    differing = varying(records)
    names = _names(records)
    for name, record in zip(list(names), list(records), strict=True):
        if began := record.beginning():
            names, records = [*names, f"{name} untrained"], [*records, began]
    keys = dict.fromkeys([*differing, *(key for record in records for key in record.choices)])
    metrics = Counter(name for record in records for name in record.metrics)
    common = [name for name, _ in metrics.most_common()]
    if any(record.untrained for record in records):
        differing = ["weights", *differing]
        keys = dict.fromkeys(["weights", *keys])
    curves = sum(len(record.curves) for record in records)
    points = int(np.clip(_POINTS / max(curves, 1), *_OF_A_CURVE))
    pictures, shown, left_out = _pictures(records, picture_bytes)
    return {
        "choices": list(keys),
        "varying": differing,
        "results": [name for name in common if is_result(name)],
        "lower": [name for name in common if direction(name) == "minimize"],
        "asides": [name for name in common if not is_result(name)],
        "runs": [
            {
                "name": name,
                "folder": str(record.folder),
                "kind": record.kind,
                "status": record.status,
                "error": record.reason,
                "started": record.started,
                "choices": {key: _choice(record, key) for key in keys},
                "metrics": {key: _short(value) for key, value in record.metrics.items()},
                "curves": {
                    key: _thinned(curve, points)
                    for key, curve in ({} if record.untrained else record.curves).items()
                },
                "pictures": shown[number],
            }
            for number, (name, record) in enumerate(zip(names, records, strict=True))
        ],
        "pictures": pictures,
        "left_out": left_out,
    }


def _names(records: Sequence[RunRecord]) -> list[str]:
    """The shortest end of each folder that says which run it is."""
    folders = [record.folder for record in records]
    common = Path(os.path.commonpath([folder.parent for folder in folders]))
    if len(folders) == 1:
        common = common.parent
    return [folder.relative_to(common).as_posix() for folder in folders]


def _choice(record: RunRecord, key: str) -> str:
    if key == "weights" and key not in record.choices:
        return "untrained" if record.untrained else "trained"
    return record.value(key)


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _thinned(curve: Curve, points: int) -> tuple[list[int], list[float]]:
    """A curve of at most so many points, means of neighbours."""
    steps, values = curve
    if len(steps) <= points:
        return steps, list(map(_short, values))
    parts = np.array_split(np.array([steps, values]), points, axis=1)
    means = [part.mean(axis=1) for part in parts]
    return [round(step) for step, _ in means], [_short(value) for _, value in means]


def _pictures(
    records: Sequence[RunRecord], room: int
) -> tuple[list[str], list[dict[str, dict[str, int]]], int]:
    """As many pictures as there is room for, then their numbers by run, folder and step."""
    encoded: list[str] = []
    shown: list[dict[str, dict[str, int]]] = [
        {kind: {} for kind in record.pictures()} for record in records
    ]
    left_out = 0
    for run, kind, title, path in _by_importance([record.pictures() for record in records]):
        if room <= 0:
            left_out += 1
        elif uri := _encoded(path):
            room -= len(uri)
            shown[run][kind][title] = len(encoded)
            encoded.append(uri)
    for run, record in enumerate(records):  # in the order of steps again
        shown[run] = {
            kind: {title: shown[run][kind][title] for title in titles if title in shown[run][kind]}
            for kind, titles in record.pictures().items()
        }
    return encoded, shown, left_out


def _by_importance(
    pictures: Sequence[Mapping[str, Mapping[str, Path]]],
) -> Iterator[tuple[int, str, str, Path]]:
    """Those of the last steps of all runs, then those of the steps before, and so on."""
    rounds = [
        (turn, run, kind, title, path)
        for run, kinds in enumerate(pictures)
        for kind, titles in kinds.items()
        for turn, (title, path) in enumerate(reversed(list(titles.items())))
    ]
    for _, run, kind, title, path in sorted(rounds, key=lambda entry: entry[0]):
        yield run, kind, title, path


def _encoded(path: Path) -> str | None:
    """A picture as the address of a JPEG; None if it cannot be read."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    if max(height, width) > _WIDTH:
        size = fitted((height, width), _WIDTH)
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    content = jpeg(np.ascontiguousarray(pixels[..., ::-1], np.uint8))
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
