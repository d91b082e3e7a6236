"""What becomes of a run whose disk fills up; see `support.full_disk`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.faults
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    own = ["unshare", "-rm"]  # a user and mount namespace, for which nobody need be root
    if (
        not shutil.which("unshare")
        or subprocess.run([*own, "true"], capture_output=True).returncode
    ):
        pytest.skip("this machine does not let a user mount a small file system")
    command = [*own, sys.executable, "-m", "support.full_disk", str(tmp_path)]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])

    start = found["at the start"]
    assert (start["code"], start["runs"]) == (2, 0)
    assert start["told"].count("\n") == 1
    assert start["told"].startswith("error: the folder of the run cannot be written")

    full = found["in training"]
    assert (full["code"], full["runs"]) == (2, 1)
    assert "Traceback" not in full["told"]
    assert full["summary"]["status"] == "failed"
    assert ".ckpt cannot be written: no space left on device (needed: " in full["summary"]["error"]
    assert f"error: {full['summary']['error']}\n" in full["told"]
    assert full["hidden"] == []
    assert 0 < len(full["steps"]) < 12
    assert min(full["sizes"]) > 0.9 * max(full["sizes"]), "half of a checkpoint is left"

    after = found["after room was made"]
    assert (after["code"], after["runs"], len(after["steps"])) == (0, 1, 12)
    assert after["summary"]["status"] == "finished"
