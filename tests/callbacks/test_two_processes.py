import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "support" / "two_processes.py"


def test_processes_agree_and_stop_together(tmp_path: Path) -> None:
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert first == second  # the figures, and why they stop

    untrained, after_failure, _ = first["scores"]
    assert untrained == pytest.approx(first["expected"])
    assert 0.2 < untrained < 0.8  # a figure that depends on which images are seen
    assert after_failure == untrained  # on both, though only the second could not go on
    assert "kNN failed" in done.stderr
    assert first["exception"].startswith("after step 15 the loss is not finite")
    assert [file.name for file in (tmp_path / "nan").iterdir()] == ["step0000015_rank1.pt"]
    assert not list(tmp_path.glob("*.ckpt"))
    (launch,) = json.loads((tmp_path / "run.json").read_text())
    assert (launch["status"], launch["processes"]) == ("failed", 2)
    assert len(list((tmp_path / "images").iterdir())) == 4  # steps 0, 5, 10, 15
