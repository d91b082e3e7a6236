import re
import sys

import pytest

pytest.importorskip("wandb_workspaces")

from support.wandb_project import FOUR, upload
from support.wandb_server import wandb_server

from cast_exp.cli import main


def test_a_project_gets_a_workspace_and_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with wandb_server(monkeypatch) as server:
        upload(server, *FOUR)
        dry = main(["dashboard", "lab/cast_exp", "--metric", "val/knn", "--dry-run"])
        assert (dry, server.views) == (0, {})
        told = capsys.readouterr().out
        assert "lab/cast_exp: 4 runs, compared by val/knn, grouped by pooling" in told
        assert "best: name1 (0.7), model-run1" in told
        assert "Curves: 2 panels" in told
        assert main(["dashboard", "lab/cast_exp", "--by", "pooling,model", "--title", "mine"]) == 0
        saved = [(view["type"], view["displayName"]) for view in server.views.values()]
        assert saved == [("project-view", "mine"), ("runs", "mine")]
        addresses = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[-2:]]
        replaced = [text for address in addresses for text in ("--replace", address)]
        assert main(["dashboard", "lab/cast_exp", *replaced]) == 0
        assert len(server.views) == 2


def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "wandb_workspaces", None)
        assert main(["dashboard", "lab/cast_exp"]) == 2
    assert re.search(
        r"needs wandb_workspaces.*'cast-exp\[wandb\]'.*report", capsys.readouterr().err
    )
    with wandb_server(monkeypatch) as server:
        assert main(["dashboard", "lab/missing"]) == 2
        upload(server, *FOUR)
        assert main(["dashboard", "lab/cast_exp", "--title", "x" * 200]) == 2
    error = capsys.readouterr().err
    missing, title = [line for line in error.splitlines() if line.startswith("error: ")]
    assert missing == (
        "error: W&B has no project lab/missing, or this account may not see it; give "
        "ENTITY/PROJECT, as in the address of its page"
    )
    assert title.startswith("error: W&B takes no dashboard of the title 'xxx")
    assert "at most 128" in title
