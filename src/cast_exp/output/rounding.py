"""Numbers as tables and names of folders show them."""

import re

# The value of an override; a whole number and one of few digits are short enough.
_LONG = re.compile(r"(?<![^=])-?\d+\.\d{5,}(?:e[+-]?\d+)?(?=,|$)")


def rounded(value: float) -> str:
    """A number with four decimals, or four significant digits where these would be none or many."""
    size = abs(value)
    if size == 0 or 0.1 <= size < 100:
        return f"{value:.4f}"
    return f"{value:.0f}" if 1000 <= size < 1e6 else f"{value:.4g}"


def rounded_overrides(overrides: str) -> str:
    """Overrides joined by commas, or a value; long decimal numbers get four significant digits."""
    return _LONG.sub(lambda match: f"{float(match[0]):.4g}", overrides)
