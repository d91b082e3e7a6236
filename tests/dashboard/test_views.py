import json

import pytest

pytest.importorskip("wandb_workspaces")

from support.wandb_project import FOUR, upload
from support.wandb_server import wandb_server

from cast_exp.dashboard.panels import columns, sections
from cast_exp.dashboard.views import (
    is_report,
    make_report,
    make_workspace,
    save_view,
)
from cast_exp.errors import UserError


def test_views_are_saved_replaced_and_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = sections(FOUR, "val/knn", ["pooling"])
    table = columns(FOUR, "val/knn", ["pooling"])
    with wandb_server(monkeypatch) as server:
        upload(server, *FOUR)
        for make in (make_workspace, make_report):
            first = save_view(make("lab", "cast_exp", "first", shown, table), None)
            assert is_report(first) == (make is make_report)
            number = list(server.views)[-1]
            spec = server.views[number]["spec"]
            assert all(f'"{section.title}"' in spec for section in shown)
            assert "summary:val/knn" in spec
            assert '"retrieval/miou/level10"' in spec
            again = save_view(make("lab", "cast_exp", "second", shown, table), first)
            assert is_report(again) == (make is make_report)
            assert list(server.views)[-1] == number
            assert server.views[number]["displayName"] == "second"
        assert len(server.views) == 2
        assert not server.unknown
        panel_spec = json.loads(next(iter(server.views.values()))["spec"])
        assert len(panel_spec["section"]["panelBankConfig"]["sections"]) == len(shown)
        server.refused["upsertView"] = "permission denied"
        with pytest.raises(UserError, match=r"did not save the report.*may write to lab/cast_exp"):
            save_view(make_report("lab", "cast_exp", "third", shown, table), None)
