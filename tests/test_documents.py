"""The Python that documents show runs."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[Any]:
    """Each block once, those that train in the slow suite."""
    files = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
    found = {block: path for path in files for block in BLOCK.findall(path.read_text("utf-8"))}
    return [
        pytest.param(block, id=path.name, marks=[pytest.mark.slow] * ("run_training" in block))
        for block, path in found.items()
    ]


@pytest.mark.parametrize("block", blocks())
def test_python_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, "block", "exec"), names)
    assert names.keys() - {"__builtins__"}, "the block neither imports nor makes anything"
