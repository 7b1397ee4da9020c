"""The documentation site as `make docs` has built it: every link leads somewhere, every public name is there, and it needs no network."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsing import Page, browser, expect, watched
from playwright.sync_api import Browser

from pelrp_nb import rules

__all__ = ["browser"]
SITE = Path(os.environ.get("PELRP_SITE", "nowhere")).resolve()
pytestmark = pytest.mark.skipif("PELRP_SITE" not in os.environ, reason="make docs builds the site, and then runs this file")
ROOMS = ("errors", "faithfulness", "labs", "live", "reference", "rules", "target", "verbs", "views", "zoo")


class Seen(HTMLParser):
    """What a page links to, what it loads, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.loads, self.anchors = set[str](), set[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif (tag == "link" and given.get("rel") in ("stylesheet", "icon")) or "src" in given:
            self.loads.add(given.get("href") or given["src"])


@cache
def pages() -> dict[Path, Seen]:
    """Every page of the site."""
    assert (SITE / "docs" / "index.html").exists(), f"no site in {SITE}; type make docs"
    return {path: Seen(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}


def nowhere(path: Path, link: str) -> bool:
    """Whether a link of a page leads to no file, or to no place in it."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if parts.fragment and target in pages():
        return unquote(parts.fragment) not in pages()[target].anchors
    return not target.exists()


def test_every_link_leads_somewhere():
    assert len(pages()) > 60
    assert not [(path.relative_to(SITE), link) for path, seen in pages().items() for link in seen.links if nowhere(path, link)]


def test_nothing_is_loaded_from_elsewhere():
    loaded = [(path.relative_to(SITE), what) for path, seen in pages().items() for what in seen.loads]
    assert loaded and not [(path, what) for path, what in loaded if urlsplit(what).scheme not in ("", "data") or urlsplit(what).netloc]


def names(room: str) -> list[str]:
    """The public names of a room, and the public methods of its classes."""
    module = importlib.import_module(room)
    own = [name for name, thing in vars(module).items() if name[0] != "_" and getattr(thing, "__module__", None) == room]
    listed = [name for name in getattr(module, "__all__", own) if not inspect.ismodule(getattr(module, name))]
    classes = [name for name in listed if inspect.isclass(getattr(module, name))]
    return listed + [f"{name}.{method}" for name in classes for method, thing in vars(getattr(module, name)).items()
                     if method[0] != "_" and inspect.isfunction(thing) and thing.__doc__]  # fmt: skip


@cache
def documented() -> set[str]:
    from sphinx.util.inventory import InventoryFile

    found = InventoryFile.loads((SITE / "objects.inv").read_bytes(), uri="").data
    return {name for kind, things in found.items() if kind.startswith("py:") for name in things}


@pytest.mark.parametrize("room", ["pelrp_nb", *(f"pelrp_nb.{room}" for room in ROOMS)])
def test_every_public_name_is_documented(room):
    assert names(room) and not {f"{room}.{name}" for name in names(room)} - documented()


@pytest.mark.parametrize("rule", rules.ALL, ids=rules.name)
def test_every_rule_has_its_formula(rule):
    page = (SITE / "docs" / "made" / "rules" / f"{rule.name}.html").read_text(encoding="utf-8")
    assert page.count("<math") == page.count("</math>") > 0 and rule.sentence.split(",")[0] in page


@contextmanager
def at(browser: Browser, page: str, width: int = 1280) -> Iterator[Page]:
    """A page of the site, opened as a file and without network, that must stay quiet."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    context.set_default_timeout(20_000)
    with watched(context.new_page(), SITE.as_uri()) as opened:
        opened.goto(f"{SITE.as_uri()}/{page}")
        yield opened
    context.close()


def test_the_root_leads_to_the_first_page(browser):
    with at(browser, "index.html") as page:
        page.wait_for_url(f"{SITE.as_uri()}/docs/index.html")


@pytest.mark.parametrize("words, leads_to", [("neuron", "neuron"), ("rotary", "rotary"), ("explain_iter", "pelrp_nb.explain_iter")])
def test_search_works_offline(browser, words, leads_to):
    with at(browser, "docs/index.html") as page:
        page.locator("input[name=q]").first.fill(words)
        page.keyboard.press("Enter")
        expect(page.locator("ul.search li").first).to_be_visible()
        assert any(leads_to in link.lower() for link in page.locator("ul.search li a").all_text_contents())


def test_the_atlas_is_searched_by_words(browser):
    """Only rows with all words stay, headings of empty tables go, and an empty field brings everything back."""
    with at(browser, "tutorials/atlas.html") as page:
        rows, field = page.locator("article table tbody tr:visible"), page.get_by_label("Find an architecture")
        all_of_them = rows.count()
        field.fill("bloom alibi")
        assert [row.split()[0] for row in rows.all_inner_texts() if "BloomForCausalLM" in row] == ["bloom"]
        expect(page.locator(".pick-rows output")).to_have_text(re.compile(r"^1 of \d+$"))
        assert not page.get_by_role("heading", name="masked-lm").is_visible()
        field.fill("")
        assert rows.count() == all_of_them > 323


LOOKED_AT = (
    "docs/index", "docs/start", "docs/howto/index", "docs/howto/open-ledger", "docs/made/rules/rotary", "docs/made/reference/pelrp_nb",
    "docs/explanation/in_a_page", "docs/errors/ModelError", "docs/facts/zoo", "docs/faq", "docs/made/gallery", "tutorials/00_quickstart",
)  # fmt: skip


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_quiet_and_no_wider_than_their_window(browser, width):
    with at(browser, "docs/index.html", width) as page:
        for name in LOOKED_AT:
            page.goto(f"{SITE.as_uri()}/{name}.html")
            expect(page.locator("article h1").first).to_be_visible()
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name


def test_a_result_in_the_course_is_live(browser):
    """The saved output of a notebook walks through its layers, in the page and without a kernel."""
    with at(browser, "tutorials/00_quickstart.html") as page:
        shown = page.frame_locator("iframe").first
        shown.get_by_role("button", name="Step through", exact=True).click()
        expect(shown.get_by_role("group").first).to_be_visible()
