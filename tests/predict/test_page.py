"""The page in a real browser: what it shows, and that it needs nothing but itself."""

from pathlib import Path

import numpy as np
import pytest

from cast_exp.predict.page import hierarchy_page
from cast_exp.predict.tree import segment_tree
from cast_exp.superpixels.grid import square_patches


def example():
    """64 squares, 16 larger ones, 4 quarters; of a picture 160 x 160."""
    pixels = np.random.default_rng(0).integers(256, size=(160, 160, 3), dtype=np.uint8)
    superpixels = square_patches(160, 160, 64).numpy()
    rows, columns = np.divmod(np.arange(64), 8)
    levels = [rows // 2 * 4 + columns // 2, rows // 4 * 2 + columns // 4]
    return pixels, superpixels, segment_tree(pixels, superpixels, levels)


def html(title: str = "squares.png", names: tuple[str, ...] = ()) -> str:
    pixels, superpixels, tree = example()
    first = tree.span(1).start
    heads = [
        {"share": [1 / 16] * 16, "mask": [first, first + 1], "area": 3200},
        {"share": [n / 120 for n in range(16)], "mask": [first + 15], "area": 1600},
    ]
    return hierarchy_page(title, pixels, superpixels, tree, heads, 1, names)


class Opened:
    """The page in a tab, with what it asked for and complained about."""

    def __init__(self, browser, file: Path, **options) -> None:
        self.tab = browser.new_page(viewport={"width": 1300, "height": 900}, **options)
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.asked_for.append(request.url))
        self.tab.set_default_timeout(3000)
        self.tab.goto(file.as_uri())
        self.svg = self.tab.locator("svg")

    def state(self, name: str) -> str:
        return self.svg.get_attribute(f"data-{name}")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a pixel of the picture on the screen."""
        box = self.svg.bounding_box()
        return box["x"] + x * box["width"] / 160, box["y"] + y * box["height"] / 160

    def segments(self) -> int:
        return self.tab.locator("#fills path").count()

    def key(self, *names: str) -> None:
        for name in names:
            self.tab.keyboard.press(name)


@pytest.fixture
def page(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(html(), encoding="utf-8")
    opened = Opened(browser, file)
    yield opened
    opened.tab.close()
    assert opened.complaints == []
    assert [url for url in opened.asked_for if not url.startswith("data:")] == [file.as_uri()]


def test_slider(page):
    slider = page.tab.locator("#level")
    for level, count in enumerate([64, 16, 4]):
        slider.fill(str(level))
        assert page.segments() == count
        assert str(count) in page.tab.locator("#count").inner_text()
        assert slider.get_attribute("aria-valuetext").startswith(str(count))
    slider.focus()
    page.key("ArrowLeft")
    assert page.segments() == 16


def test_lines_of_a_level_are_those_of_the_finest(page):
    def borders() -> str:
        return page.tab.locator("#borders .line").get_attribute("d")

    page.tab.locator("#level").fill("2")
    length = page.tab.eval_on_selector("#borders .line", "path => path.getTotalLength()")
    assert length == pytest.approx(2 * 160)  # a cross
    coarse = borders()
    page.tab.locator("#level").fill("0")
    assert all(piece in borders() for piece in coarse.split("M"))


def test_hover_lights_up_a_segment_and_its_parts(page):
    page.tab.locator("#level").fill("2")
    _, superpixels, tree = example()
    quarter = tree.ids[2][superpixels[120, 40]]
    page.tab.mouse.move(*page.at(40, 120))
    assert page.state("chosen") == str(quarter)
    outline = page.tab.locator("#chosen .line").get_attribute("d")
    numbers = outline.replace("M", " ").replace("L", " ").replace("Z", " ").split()
    assert {(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)} >= {
        ("0", "80"),
        ("80", "80"),
        ("80", "160"),
        ("0", "160"),
    }
    parts = page.tab.eval_on_selector("#parts .line", "path => path.getTotalLength()")
    assert parts == pytest.approx(2 * 80)
    panel = page.tab.locator("#panel").inner_text()
    assert f"Segment {quarter}" in panel
    assert "6,400 px, 25.0 %" in panel
    shown = page.tab.locator("#panel .bars [data-go]").evaluate_all(
        "all => all.map(b => b.dataset.go)"
    )
    assert [int(part) for part in shown] == tree.children[quarter]
    page.tab.mouse.move(2, 2)
    assert page.state("chosen") == ""


def test_click_holds_and_releases(page):
    page.tab.mouse.click(*page.at(40, 40))
    held = page.state("held")
    assert held == page.state("chosen") != ""
    page.tab.mouse.move(*page.at(120, 120))
    assert page.state("chosen") == held
    page.tab.mouse.click(*page.at(40, 40))
    assert page.state("held") == ""
    page.tab.mouse.click(*page.at(40, 40))
    page.tab.mouse.click(*page.at(120, 120))
    assert page.state("held") not in ("", held)
    page.key("Escape")
    assert page.state("held") == page.state("chosen") == ""


def test_what_is_held_follows_the_level(page):
    _, _, tree = example()
    page.tab.locator("#level").fill("0")
    page.tab.mouse.click(*page.at(5, 5))
    leaf = int(page.state("held"))
    page.tab.locator("#level").fill("2")
    top = tree.parent[tree.parent[leaf]]
    assert int(page.state("held")) == top
    page.tab.locator("#level").fill("1")
    assert int(page.state("held")) == tree.children[top][0]


def test_keyboard_alone(page):
    _, _, tree = example()
    page.key("Tab")
    assert page.tab.evaluate("document.activeElement.id") == "stage"
    page.key("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowRight")
    assert page.segments() == 16
    first = int(page.state("chosen"))
    assert tree.centroid[first].max() < 40  # the upper left one
    page.key("ArrowRight")
    assert tree.centroid[int(page.state("chosen"))].tolist() == [59.5, 19.5]
    page.key("ArrowLeft", "Enter")
    assert page.state("held") == str(first)
    assert str(first) in page.tab.get_by_role("status").inner_text()
    page.key("ArrowUp")
    assert page.state("held") == str(tree.parent[first])
    page.key("Escape")
    assert page.state("held") == ""
    outline = "getComputedStyle(document.querySelector('svg')).outlineStyle"
    assert page.tab.evaluate(outline) == "solid"
    page.key("Tab")
    assert page.tab.evaluate("document.activeElement.id") == "level"


def test_tree_in_the_panel(page):
    _, _, tree = example()
    page.tab.mouse.click(*page.at(40, 40))
    held = int(page.state("held"))
    part = tree.children[held][1]
    page.tab.get_by_role("button", name=f"Segment {part},").click()
    assert int(page.state("held")) == part
    assert page.segments() == tree.count(int(tree.level[part]))
    page.tab.get_by_role("button", name=f"Segment {held}, level").click()
    assert int(page.state("held")) == held


def test_pointing_at_the_list_lights_up_the_picture(page):
    _, _, tree = example()
    page.tab.locator("#level").fill("1")
    second = page.tab.locator("#panel [data-go]").nth(1)
    name = second.get_attribute("data-go")
    second.hover()
    assert page.state("chosen") == name
    assert page.tab.locator("#chosen .line").get_attribute("d") != ""
    assert page.tab.locator("#panel [data-go]").count() == tree.count(1)  # the list stays
    swatch = second.locator(".swatch").evaluate("e => getComputedStyle(e).backgroundColor")
    segment = page.tab.locator(f"#fills [data-id='{name}']")
    assert swatch == segment.evaluate("e => getComputedStyle(e).fill")
    page.tab.mouse.move(2, 2)
    assert page.state("chosen") == ""
    page.tab.locator("#panel [data-go]").nth(2).focus()
    assert page.state("chosen") != ""


def test_attention_heads(page):
    page.tab.locator("#attention label", has_text="2").click()
    assert page.state("head") == "1"
    assert "on 6.3 % of the picture" in page.tab.locator("#gaze").inner_text()
    assert page.tab.locator("#heat path").count() == 16
    shades = page.tab.locator("#heat path").evaluate_all(
        "all => all.map(path => Number(path.getAttribute('fill-opacity')))"
    )
    assert sorted(shades)[0] == 0  # what is looked at most
    assert sorted(shades)[1] > 0.4  # and what is not in the mask
    mask = page.tab.eval_on_selector("#mask .line", "path => path.getTotalLength()")
    assert mask == pytest.approx(4 * 40)
    page.tab.get_by_text("none", exact=True).click()
    assert page.state("head") == ""
    assert page.tab.locator("#heat path").count() == 0


def test_paint_and_numbers(page):
    page.tab.get_by_text("photo", exact=True).click()
    assert page.tab.locator("#fills path").first.get_attribute("fill-opacity") == "0"
    page.tab.locator("#level").fill("2")
    assert sorted(page.tab.locator("#numbers text").all_text_contents()) == ["0", "1", "2", "3"]
    page.tab.get_by_text("numbers", exact=True).click()
    assert page.tab.locator("#numbers text").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_can_be_read_in_light_and_dark(browser, tmp_path, scheme):
    file = tmp_path / "page.html"
    file.write_text(html(), encoding="utf-8")
    opened = Opened(browser, file, color_scheme=scheme)
    luminance = """name => {
      const [r, g, b] = getComputedStyle(document.body)[name].match(/\\d+/g)
        .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }"""
    ground, ink = (opened.tab.evaluate(luminance, n) for n in ("backgroundColor", "color"))
    assert (ground > ink) == (scheme == "light")
    assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 12
    opened.tab.close()


def test_what_is_chosen_and_how_large_shows_in_forced_colours(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(html(), encoding="utf-8")
    opened = Opened(browser, file, forced_colors="active")
    for name in (".swatch", ".bars i", ".chips label:has(:checked)"):
        kept = opened.tab.locator(name).first.evaluate("e => getComputedStyle(e).forcedColorAdjust")
        assert kept == "none", name
    opened.tab.close()


def test_a_title_is_no_markup(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(html("</script><b>&x.png"), encoding="utf-8")
    opened = Opened(browser, file)
    assert opened.tab.locator("h1").inner_text() == "</script><b>&x.png"
    assert opened.complaints == []
    opened.tab.close()


def test_large_photos_make_small_pages():
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(30, 40, 3), dtype=np.uint8).repeat(100, 0).repeat(100, 1)
    superpixels = square_patches(3000, 4000, 1024).numpy()
    tree = segment_tree(pixels, superpixels, [np.arange(superpixels.max() + 1) % 64])
    page = hierarchy_page("large", pixels, superpixels, tree)
    assert len(page) < 1.5e6
    assert '"view":[1600,1200]' in page
    assert '"size":[4000,3000]' in page


def test_names(browser, tmp_path):
    _, superpixels, tree = example()
    names = tuple(f"<b>{'sky' if n % 2 else 'dog'}</b>" for n in range(len(tree.level)))
    file = tmp_path / "named.html"
    file.write_text(html(names=names), encoding="utf-8")
    named = Opened(browser, file)
    named.tab.locator("#level").fill("2")
    shown = named.tab.locator("#numbers text").all_text_contents()
    assert sorted(shown) == sorted(names[n] for n in tree.ids[2][[0, 7, 56, 63]])
    quarter = tree.ids[2][superpixels[120, 40]]
    named.tab.mouse.click(*named.at(40, 120))
    panel = named.tab.locator("#panel").inner_text()
    assert names[quarter] in panel
    assert "Parts at level 1" in panel
    assert names[tree.children[quarter][0]] in named.tab.locator("#panel .bars").inner_text()
    assert named.complaints == []
    named.tab.close()
