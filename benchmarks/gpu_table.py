"""The table of results/speed.md, made of the lines of results/speed.jsonl."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cast_exp.output.files import write_text
from cast_exp.output.markdown import markdown_table

BEGIN, END = "<!-- made by benchmarks/gpu.py -->", "<!-- end -->"
NOT_RUN = "not run here"
COLUMNS = {
    "images_s": ("images/s", "{:,.0f}"),
    "ms": ("ms", "{:.2f}"),
    "gib": ("GiB", "{:.1f}"),
    "tflops": ("TFLOP/s", "{:.1f}"),
    "of_peak": ("of the product's", "{:.0%}"),
    "busy": ("GPU busy", "{:.0%}"),
    "launches": ("launches", "{:,.0f}"),
    "waits": ("waits", "{:.0f}"),
    "breaks": ("graph breaks", "{:.0f}"),
    "recompiled": ("recompiled", "{:.0f}"),
}
SOURCE = ("hardware", "versions", "commit", "seed", "command")
Record = dict[str, Any]


def read(file: Path) -> list[Record]:
    """The records of a file of JSON lines; none if there is no file."""
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def table(rows: Sequence[str], records: Sequence[Record]) -> str:
    """The newest record of each row, and under it where these come from."""
    newest = {record["row"]: record for record in records}
    sources: list[str] = []
    lines = [["", *(title for title, _ in COLUMNS.values()), "run"]]
    for row in rows:
        record = newest.get(row)
        if record is None:
            lines.append([row, NOT_RUN, *[""] * len(COLUMNS)])
            continue
        source = "; ".join(f"{key} {record[key]}" for key in SOURCE)
        if source not in sources:
            sources.append(source)
        if "error" in record:
            cells = [f"failed: {record['error']}", *[""] * (len(COLUMNS) - 1)]
        else:
            cells = [
                form.format(record[key]) if key in record else ""
                for key, (_, form) in COLUMNS.items()
            ]
        lines.append([row, *cells, str(sources.index(source) + 1)])
    listed = "".join(f"{number}. {source}\n" for number, source in enumerate(sources, 1))
    return "\n".join([markdown_table(lines, numbers=True), listed]).rstrip() + "\n"


def rewrite(page: Path, rows: Sequence[str], records: Sequence[Record]) -> None:
    """Put the table between its marks on a page, or on a new page."""
    text = page.read_text("utf-8") if page.is_file() else f"{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    write_text(page, f"{before}{BEGIN}\n\n{table(rows, records)}\n{END}{after}")
