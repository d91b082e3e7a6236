"""Tests mirror the code name for name, and files stay short."""

from pathlib import Path
from statistics import median

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "cast_exp"
FILES = sorted(SOURCE.rglob("*.py"))
FORMER_NAMES = {"data/check.py", "models/cost.py", "models/zoo.py", "superpixels/compare.py"}
"""Of commands that moved to `cli`; tests/cli/test_main.py runs each."""
LONGEST = 350
MEDIAN = 100


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_module_has_a_file_of_tests_of_its_name() -> None:
    modules = {
        path.relative_to(SOURCE) for path in FILES if path.stem not in ("__init__", "__main__")
    }
    assert {Path(name) for name in FORMER_NAMES} <= modules
    untested = [
        str(module)
        for module in sorted(modules)
        if not (TESTS / module.parent / f"test_{module.name}").is_file()
    ]
    assert not set(untested) - FORMER_NAMES


def test_files_are_short() -> None:
    assert not {str(path): lines(path) for path in FILES if lines(path) > LONGEST}
    assert median(map(lines, FILES)) <= MEDIAN
