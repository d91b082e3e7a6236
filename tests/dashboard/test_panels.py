import pytest

wr = pytest.importorskip("wandb_workspaces.reports.v2")

from support.wandb_project import FOUR, TrackedRun  # noqa: E402

from cast_exp.dashboard.panels import columns, grouping, sections  # noqa: E402
from cast_exp.errors import UserError  # noqa: E402


def panels(title: str, by: tuple[str, ...] = ("pooling",)) -> list[object]:
    found = {section.title: section for section in sections(FOUR, "val/knn", by)}
    return list(found[title].panels)


def test_curves_have_mean_and_spread_of_each_choice() -> None:
    lines = panels("Curves", ("pooling", "model"))
    assert [line.y for line in lines] == [["train/loss"]] * 2 + [["val/knn"]] * 2
    assert [line.groupby for line in lines] == [wr.Config("pooling"), wr.Config("model")] * 2
    assert {(line.groupby_aggfunc, line.groupby_rangefunc) for line in lines} == {
        ("mean", "stddev")
    }


def test_levels_are_in_order_and_without_baselines() -> None:
    bars = {bar.title: bar.metrics for bar in panels("Levels of the hierarchy")}
    assert bars == {
        "mIoU of each level, by pooling": [
            "retrieval/miou",
            "retrieval/miou/level2",
            "retrieval/miou/level10",
        ],
        "boundary F of each level, by pooling": ["retrieval/boundary_f/level2"],
        "covering of each level, by pooling": ["hierarchy/covering/8"],
    }


def test_results_tables_pictures_speed_and_the_best_checkpoint() -> None:
    bar, scatter, parallel, _ = panels("Choices and results")
    assert (bar.metrics, bar.groupby) == (["val/knn"], wr.Config("pooling"))
    assert scatter.x == wr.SummaryMetric("model/gflops")
    assert [column.metric for column in parallel.columns] == [
        wr.Config("pooling"),
        wr.Config("settings.optim.base_lr"),
        wr.SummaryMetric("val/knn"),
    ]
    assert [table.table_name for table in panels("Tables")] == ["retrieval/per_class"]
    assert [browser.media_keys for browser in panels("Pictures")] == [["hierarchy"]]
    assert [line.y for line in panels("Speed")] == [
        ["throughput/images_per_second"],
        ["throughput/data_wait"],
    ]
    told, overview, lineage = panels("Best checkpoint")
    assert "name1" in told.markdown
    assert "0.7" in told.markdown
    assert overview.artifact == lineage.artifact == "model-run1"
    assert (overview.tab, lineage.tab) == ("overview", "lineage")


def test_there_is_no_section_with_nothing_to_show() -> None:
    only = TrackedRun("x", "x", {"variant": ""}, {"val/knn": 0.5})
    titles = [section.title for section in sections([only], "val/knn", ["experiment"])]
    assert titles == ["Choices and results", "Best checkpoint", "Curves"]


def test_runs_are_grouped_by_what_differs_or_what_is_asked() -> None:
    assert grouping(FOUR) == ["pooling"]
    assert grouping(FOUR[:2]) == ["experiment"]
    assert grouping(FOUR, ["model", "settings.optim.base_lr"]) == [
        "model",
        "settings.optim.base_lr",
    ]
    with pytest.raises(UserError, match=r"no run has --by poolin;.*pooling"):
        grouping(FOUR, ["poolin"])


def test_the_table_has_choices_before_results() -> None:
    assert columns(FOUR, "val/knn", ["model"]) == [
        *("run:displayName", "run:state", "run:jobType"),
        *("config:model.value", "config:pooling.value", "config:seed.value"),
        "config:settings.value.optim.base_lr",
        *("summary:val/knn", "summary:retrieval/miou"),
    ]
