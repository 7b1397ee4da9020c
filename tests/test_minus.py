"""A minus is a minus where a number is drawn, and a hyphen where it is printed."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from every_kind import EVERY
from made import REVIEW, made
from matplotlib.text import Text
from rich.console import Console

from pelrp_nb import exchange, explain, patch, zoo
from pelrp_nb.amounts import HYPHEN, MINUS, as_drawn, signed
from pelrp_nb.engine.options import Options
from pelrp_nb.results.circuit import Circuit, chosen
from pelrp_nb.results.explanations import Explanations
from pelrp_nb.results.measured import Measured, Site
from pelrp_nb.views import terminal


def read(table: str) -> str:
    """What a reader sees of a fragment of HTML."""
    return html.unescape(re.sub(r"<[^>]*>", " ", table))


def texts(data: Any) -> Iterator[str]:
    """Every text in plain data that is no source code."""
    if isinstance(data, str):
        yield from () if data.startswith(("def ", "class ")) else (data,)
    elif isinstance(data, dict | list | tuple):
        for one in data.values() if isinstance(data, dict) else data:
            yield from texts(one)


def results() -> dict[str, Any]:
    """A result of every kind whose numbers are negative."""
    model, tokenizer = zoo.load("reviews-rotary")
    said, other = "a dull , clumsy film", "a bright , clumsy film"
    edges = {"layer 0": -torch.rand(2, 3, 3, dtype=torch.float64)}
    sites = tuple(Site("heads", "layer 0", head) for head in range(3))
    return {
        "explanation": made(value=-1.5),
        "several": Explanations((made(value=-1.5), made(value=-2.0))),
        "exchange": exchange(model, said, processor=tokenizer, target="positive"),
        "routes": explain(model, said, processor=tokenizer, target="positive", options=Options(detail={"routes"})).routes,
        "patch": patch(model, said, other, processor=tokenizer, metric="positive"),
        "circuit": Circuit.of(edges, chosen(edges, 2), ("a", "b", "c"), "positive", -1.0, 1.0, 0.0),
        "measured": Measured(sites, ("a", "b", "c"), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0), (-1.0, -2.0, -3.0)),
    }


@pytest.fixture(scope="module")
def found():
    return results()


NAMES = ("explanation", "several", "exchange", "routes", "patch", "circuit", "measured")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_has_hyphens(found, name):
    for printed in (repr(found[name]), str(found[name])):
        assert MINUS not in printed
    assert as_drawn(str(found[name])) != str(found[name])  # there is one


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_has_minuses(found, name):
    one = found[name]
    sheet = None if name == "measured" else one.sheet()
    shown = [read(one._repr_html_())] if sheet is None else [sheet.title, read(sheet.table), *texts(sheet.data)]
    assert any(MINUS in text for text in shown)
    assert [text for text in shown if as_drawn(text) != text] == []
    assert sheet is None or MINUS not in sheet.line


@pytest.mark.parametrize("name", [name for name in NAMES if name != "several"])
def test_what_a_figure_says_has_minuses(found, name):
    said = [text.get_text() for text in found[name].figure().findobj(Text)]
    assert [text for text in said if as_drawn(text) != text] == []
    assert any(MINUS in text for text in said) or name in ("routes", "patch")  # whose pictures say no signed number


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_of_view_draws_minuses_and_prints_hyphens(kind):
    sheet = EVERY[kind](REVIEW)
    shown = [sheet.title, read(sheet.table), *texts(sheet.data)]
    assert [text for text in shown if as_drawn(text) != text] == [] and MINUS not in sheet.line


def test_a_terminal_prints_hyphens():
    page = Console(file=io.StringIO(), width=120, color_system=None)
    terminal.show(made(value=-1.5).plain(), page)
    assert "is -1.5" in page.file.getvalue() and MINUS not in page.file.getvalue()


@pytest.mark.parametrize(
    ("said", "drawn"),
    [("-1.5", "\u22121.5"), ("+2e-05", "+2e\u221205"), ("pa-lrp", "pa-lrp"), ("layer-2", "layer-2"), ("[-.3]", "[\u2212.3]")],
)
def test_only_hyphens_of_numbers_are_minuses(said, drawn):
    assert as_drawn(said) == drawn


def test_a_number_alone_is_read_back_as_printed():
    for x in (-1.5, 2e-7, 0.0, -123456.0):
        assert float(signed(x, 6, HYPHEN)) == pytest.approx(x) and float(signed(x, 6).replace(MINUS, HYPHEN)) == pytest.approx(x)
