"""Tables in Markdown."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Lay out a table, a line for each row.

    Args:
        rows: Cells; the first row is the header.
        numbers: Align all columns but the first to the right.
    """
    rule = ["---:" if numbers and column else "---" for column in range(len(rows[0]))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))
