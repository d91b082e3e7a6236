"""Runs on a disk that fills up: `unshare -rm python -m support.full_disk FOLDER`.

In a mount namespace of its own it mounts a small file system on the folder, and prints as JSON what
became of each run.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.cli import SMALL, cast_train, runs

OPTIONS = (
    *SMALL,
    *(
        "callbacks.knn=null",
        "callbacks.best=null",
        "callbacks.pictures=null",
        "trainer.max_epochs=3",
    ),
    *("callbacks.recent.every_n_train_steps=1", "callbacks.recent.save_top_k=-1"),
)
"""A checkpoint at each of twelve steps."""


def run(*overrides: str) -> dict[str, Any]:
    """What a run ends with, says and leaves."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        code = cast_train(*overrides)
    found: dict[str, Any] = {"code": code, "told": told.getvalue(), "runs": len(runs())}
    for folder in runs():
        found["summary"] = json.loads((folder / "summary.json").read_text())
        found["steps"] = sorted(path.stem for path in (folder / "checkpoints").glob("step*"))
        found["hidden"] = [p.name for p in folder.rglob(".*") if p.name not in (".hydra", ".lock")]
        found["sizes"] = [path.stat().st_size for path in (folder / "checkpoints").iterdir()]
    return found


def mount(folder: str, size: str, *, again: bool = False) -> None:
    options = f"remount,size={size}" if again else f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def main(folder: str) -> None:
    mount(folder, "64k")
    os.chdir(folder)
    found = {}
    with contextlib.suppress(OSError), open("filler", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    found["at the start"] = run(*OPTIONS)
    os.unlink("filler")
    mount(folder, "3m", again=True)
    found["in training"] = run(*OPTIONS, "resume=auto")
    mount(folder, "300m", again=True)
    found["after room was made"] = run(*OPTIONS, "resume=auto")
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(sys.argv[1])
