"""Makes a notebook, without outputs, of each script in this folder: python notebooks/generate.py.

The scripts are what is edited, in jupytext's percent format; `pip install 'cast-exp[notebooks]'`.
"""

from pathlib import Path
from typing import Any

import jupytext
import nbformat

FOLDER = Path(__file__).parent
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path != Path(__file__))


def notebook(script: Path) -> Any:
    """The notebook of a script, the same at every call."""
    made = jupytext.read(script)
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    return made


def main() -> None:
    """Write all notebooks beside their scripts."""
    for script in SCRIPTS:
        nbformat.write(notebook(script), script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
