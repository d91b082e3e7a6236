"""The documentation builds strictly, and a browser that shows it fetches nothing from elsewhere."""

import re
from pathlib import Path

import pytest
from support.commands import ROOT

FETCHED = re.compile(
    r"""(?:\b(?:src|href)\s*=\s*["']?|\burl\(\s*["']?|@import\s+["'])([^"'\s>)]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="needs the extra `docs`")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        folder = tmp_path_factory.mktemp("site")
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    found = {(p.name, at) for p in files for at in FETCHED.findall(p.read_text(encoding="utf-8"))}
    assert len(found) > 20
    assert not {each for each in found if re.match(r"(?:\w+:)?//", each[1])}


def test_every_page_is_in_the_navigation(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(str(page) in navigation for page in pages)
    assert all(
        (site / page.with_suffix("") / "index.html").is_file()
        for page in pages - {Path("index.md")}
    )


def test_files_named_by_the_architecture_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / "src" / "cast_exp" / name).exists()]
