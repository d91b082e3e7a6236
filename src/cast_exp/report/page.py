"""The page of a report: HTML, style, script, plotting library and content in one file."""

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from cast_exp.extras import from_extra


def report_page(title: str, content: Mapping[str, Any], reload: int | None = None) -> str:
    """Make the page, which needs nothing but itself: no network, no other file.

    Args:
        title: Of the page.
        content: See `cast_exp.report.content.report_content`.
        reload: Seconds after which the page loads itself again.

    Raises:
        UserError: The plotting library is not installed.
    """
    plotly = from_extra("report", "a report", "plotly.offline")
    data = json.dumps({**content, "title": title, "reload": reload}, separators=(",", ":"))
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _part("page.css"),
        "PLOTLY": plotly.get_plotlyjs().replace("</script", "<\\/script"),
        "DATA": data.replace("<", "\\u003c"),
        "SCRIPT": _part("page.js"),
    }
    before, *pieces = _part("page.html").split("{{")
    text = [before]
    for piece in pieces:  # one pass, so that nothing within a part is taken for a mark
        name, _, after = piece.partition("}}")
        text += [parts[name], after]
    return "".join(text)


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
