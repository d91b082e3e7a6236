"""The page in a real browser: what it shows, and that it needs nothing but itself."""

import csv
import json
from pathlib import Path

import pytest
from support.run_folders import picture, run_folder

from cast_exp.report.content import report_content
from cast_exp.report.page import report_page
from cast_exp.run.record import RunRecord

pytest.importorskip("plotly", reason="needs Plotly")

GRAPH = [0.4, 0.6, 0.8]  # kNN of the seeds 0, 1, 2
KMEANS = [0.3, 0.3, 0.45]


def runs(place: Path) -> list[RunRecord]:
    """Two poolings, three seeds each; the last of them failed."""
    records = []
    for pooling, figures in (("graph", GRAPH), ("kmeans", KMEANS)):
        for seed, knn in enumerate(figures):
            failed = (pooling, seed) == ("kmeans", 2)
            rows = [{"step": s, "val/knn": knn * s / 40} for s in (0, 20, 40)]
            folder = run_folder(
                place / f"{pooling}-{seed}",
                f"pooling={pooling}",
                f"seed={seed}",
                choices={"pooling": pooling, "superpixel": "<b>slic</b>"},
                metrics={}
                if failed
                else {"val/knn": knn, "val/loss": 1 - knn, "model/gflops": 1 + seed},
                rows=rows,
                status="failed" if failed else "finished",
            )
            picture(folder / "images/step0000000.png", shade=10)
            if seed:
                picture(folder / "images/step0000040.png", shade=99)
            records.append(RunRecord.read(folder))
    return records


class Opened:
    """The page in a tab, with what it asked for and complained about."""

    def __init__(self, browser, file: Path, **options) -> None:
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        self.tab = browser.new_page(viewport={"width": 1300, "height": 900}, **options)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.asked_for.append(request.url))
        self.tab.set_default_timeout(60_000)
        self.tab.goto(file.as_uri())
        self.tab.wait_for_selector("#scatter .main-svg")

    def rows(self, column: int = 1) -> list[str]:
        """The cells of a column of the table."""
        return self.tab.locator(f"#table tbody td:nth-child({column})").all_inner_texts()

    def head(self) -> list[str]:
        return self.tab.locator("#table thead button").all_inner_texts()

    def traces(self, plot: str) -> list[dict]:
        keys = "({x, y, name, customdata, dimensions}) => ({x, y, name, customdata, dimensions})"
        return json.loads(self.tab.evaluate(f"JSON.stringify({plot}.data.map({keys}))"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    path = place / "report.html"
    path.write_text(report_page("</title><b>A & B", report_content(runs(place / "runs"), 10**6)))
    return path


@pytest.fixture(scope="module")
def opened(browser, file: Path) -> Opened:
    tab = Opened(browser, file)
    tab.tab.evaluate("window.initial = JSON.stringify(state)")
    return tab


@pytest.fixture
def page(opened, file: Path):
    """The page as it was when it was opened."""
    opened.tab.evaluate("Object.assign(state, JSON.parse(initial)); settle(); scrollTo(0, 0)")
    yield opened
    assert opened.complaints == []
    asked_for = {url for url in opened.asked_for if not url.startswith(("data:", "blob:"))}
    assert asked_for == {file.as_uri()}


def test_the_table_has_what_differs_and_the_results(page) -> None:
    assert page.tab.title() == "</title><b>A & B"
    assert page.head() == ["name", "status", "pooling", "seed", "val/knn", "val/loss"]
    assert page.rows(5) == ["0.4000", "0.6000", "0.8000", "0.3000", "0.3000", "0.4500"]
    assert page.tab.locator("td.best").all_inner_texts() == ["0.8000", "0.2000"]  # loss: the lowest
    assert page.tab.locator("td.differs").count() == 12
    page.tab.get_by_label("all columns").check()
    assert {"experiment", "superpixel", "model/gflops"} <= set(page.head())
    assert "<b>slic</b>" in page.tab.locator("#table tbody").inner_text()


def test_rows_are_sorted_and_filtered(page) -> None:
    order = ["graph-2", "graph-1", "kmeans-2", "graph-0", "kmeans-0", "kmeans-1"]
    page.tab.get_by_role("button", name="val/knn").click()
    assert page.rows() == order
    page.tab.get_by_role("button", name="val/loss").click()  # the lowest first, none last
    assert page.rows()[0] == "graph-2"
    assert page.rows()[-1] == "kmeans-2"
    for text, wanted in {
        "KMEANS finished": {"kmeans-0", "kmeans-1"},
        "val/knn>=0.6": {"graph-1", "graph-2"},
        "seed=0 pooling=graph": {"graph-0"},
        "val/loss<9": {"graph-0", "graph-1", "graph-2", "kmeans-0", "kmeans-1"},
        "nothing": set(),
    }.items():
        page.tab.fill("#filter", text)
        page.tab.evaluate("draw()")  # which typing does after a moment
        assert set(page.rows()) == wanted


def test_curves_are_means_and_spreads_over_seeds_or_single_runs(page) -> None:
    lines = [trace for trace in page.traces("curves") if trace.get("customdata")]
    assert [(line["name"], line["x"]) for line in lines] == [
        ("pooling=graph", [0, 20, 40]),
        ("pooling=kmeans", [0, 20, 40]),
    ]
    assert lines[0]["y"] == pytest.approx([0, 0.3, 0.6])
    assert lines[0]["customdata"][2] == pytest.approx([3, 0.2])  # runs, standard deviation
    page.tab.select_option("#lines", "run")
    assert [trace["y"] for trace in page.traces("curves")] == [
        pytest.approx([0, knn / 2, knn]) for knn in [*GRAPH, *KMEANS]
    ]
    page.tab.locator("#smooth").fill("0.5")
    assert page.traces("curves")[0]["y"] == pytest.approx([0, 0.1, 0.25])
    page.tab.get_by_label("graph-0").uncheck()
    assert page.traces("curves")[0]["y"] == pytest.approx([0, 0.15, 0.375])
    assert page.tab.evaluate("document.activeElement.closest('tr').dataset.name").endswith(
        "graph-0"
    )


def test_scatter_and_parallel_coordinates_show_runs_that_have_the_metrics(page) -> None:
    graph, kmeans = page.traces("scatter")
    assert (graph["x"], graph["y"]) == ([1, 2, 3], GRAPH)
    assert (kmeans["x"], kmeans["y"]) == ([1, 2], KMEANS[:2])
    page.tab.locator("#parallel").scroll_into_view_if_needed()
    page.tab.wait_for_function("at('parallel').data?.length === 1")
    (trace,) = page.traces("parallel")
    assert [axis["label"] for axis in trace["dimensions"]] == ["pooling", "val/knn", "val/loss"]
    assert [axis["values"] for axis in trace["dimensions"][:2]] == [
        [0, 0, 0, 1, 1],
        [*GRAPH, *KMEANS[:2]],
    ]
    assert "1 run" in page.tab.locator("#lacking").inner_text()


def test_without_results_a_loss_is_drawn_against_what_differs(browser, tmp_path: Path) -> None:
    records = []
    for seed in (0, 1):
        metrics = {"lr": 0.1, "model/gflops": 9.0, "throughput/images": 5 + seed, "train/loss": 2}
        folder = run_folder(tmp_path / str(seed), f"seed={seed}", metrics=metrics)
        records.append(RunRecord.read(folder))
    file = tmp_path / "report.html"
    file.write_text(report_page("A", report_content(records, 0)))
    page = Opened(browser, file)
    assert page.tab.input_value("#y") == "train/loss"
    assert page.tab.input_value("#x") == "throughput/images"
    assert [trace["x"] for trace in page.traces("scatter")] == [[5], [6]]
    page.tab.close()


def test_pictures_of_all_runs_are_side_by_side_at_one_step(page) -> None:
    page.tab.locator("#pictures").scroll_into_view_if_needed()
    count = "document.querySelectorAll('figure img').length === "
    page.tab.wait_for_function(count + "6")
    page.tab.select_option("#step", "step 40")
    page.tab.wait_for_function(count + "4")
    assert "graph-0: none at step 40" in page.tab.locator("#pictures").inner_text()


def test_the_table_is_saved_as_it_is_listed(page, tmp_path: Path) -> None:
    page.tab.fill("#filter", "pooling=graph")
    page.tab.wait_for_function("at('about').textContent.includes('3 listed')")
    with page.tab.expect_download() as download:
        page.tab.click("#csv")
    download.value.save_as(tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [(row["name"], row["seed"], float(row["val/knn"])) for row in rows] == [
        ("graph-0", "0", 0.4),
        ("graph-1", "1", 0.6),
        ("graph-2", "2", 0.8),
    ]


def test_it_can_be_used_by_keyboard_and_remembers_across_a_reload(page) -> None:
    page.tab.keyboard.press("/")
    page.tab.keyboard.type("graph")
    page.tab.wait_for_function("at('about').textContent.includes('3 listed')")
    for key in ("ArrowDown", "ArrowDown", "Space"):
        page.tab.keyboard.press(key)
    assert "2 drawn" in page.tab.locator("#about").inner_text()
    page.tab.reload()
    page.tab.wait_for_selector("#scatter .main-svg")
    page.tab.evaluate("window.initial = JSON.stringify(state)")
    assert page.tab.input_value("#filter") == "graph"
    assert "3 listed, 2 drawn" in page.tab.locator("#about").inner_text()
    assert not page.tab.get_by_label("graph-1").is_checked()


def test_dark_is_dark(page) -> None:
    page.tab.emulate_media(color_scheme="dark")
    page.tab.wait_for_function("at('curves').layout.font.color === '#ececee'")
    ground = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(19, 20, 23)"
    page.tab.emulate_media(color_scheme="light")


@pytest.mark.slow
def test_a_watched_page_loads_itself_again(browser, file: Path, tmp_path: Path) -> None:
    watched = tmp_path / "watched.html"
    content = report_content(runs(tmp_path / "runs"), 0)
    watched.write_text(report_page("first", content, reload=3))
    tab = browser.new_page()
    tab.goto(watched.as_uri(), timeout=60_000)
    watched.write_text(report_page("second", content))
    tab.wait_for_function("document.title === 'second'", timeout=60_000)
    tab.close()
