"""What is printed holds no digit of rounding: those differ from processor to processor."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from made import made
from pelrp_nb.amounts import by_size, digits, is_rounding, size, unless_rounding
from pelrp_nb.ledger import Ledger
from pelrp_nb.views import figure, html_card, look, steps, terminal
from rich.console import Console

NOISE = (0.0, 3e-9, -2e-8, 4e-16)


def rounded(noise: float):
    """An explanation on a processor that rounds otherwise: its gaps, what eps keeps and two empty constants are off by `noise`."""
    plain = made()
    book = plain.ledger
    off = replace(
        book, tokens=book.tokens + noise, stabilisers=-noise / 3, layers={"layer 1": noise, "layer 0": -noise},
        constants={**book.constants, "b.bias": noise / 5, "a.bias": -noise / 7},
        kept={"head": {"constants": noise}, "layer 3": {"stabilisers": noise, "positions": 0.1}},
    )  # fmt: skip
    return replace(plain, ledger=off, boundaries=tuple(replace(b, gap=b.gap and b.gap + noise) for b in plain.boundaries))


def printed(e) -> dict[str, object]:
    """Every form in which a person reads the account."""
    page = Console(file=io.StringIO(), width=120, color_system=None)
    terminal.show(e.plain(), page)
    drawn = figure.alone(e.plain(), "ledger", look.look(None))
    return {
        "ledger": str(e.ledger), "repr": repr(e.ledger), "text": str(e), "line": repr(e), "table": html_card.fallback(e.plain()),
        "beside": html_card.beside(["one"], [e.plain()]), "terminal": page.file.getvalue(),
        "figure": [x for axes in drawn.axes for x in (*(text.get_text() for text in axes.texts), axes.get_title("left"))],
        "steps": [(step["said"], step["flow"]["to"][1:]) for step in steps.walk(e.plain())],
    }  # fmt: skip


@pytest.mark.parametrize("noise", NOISE[1:])
def test_rounding_leaves_no_trace_in_what_is_printed(noise):
    here, there = printed(rounded(NOISE[0])), printed(rounded(noise))
    steps_here, steps_there = here.pop("steps"), there.pop("steps")
    assert here == there
    assert [said for said, _ in steps_here] == [said for said, _ in steps_there]
    for (_, ours), (_, theirs) in zip(steps_here, steps_there, strict=True):
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        assert [x for _, x in ours] == pytest.approx([x for _, x in theirs], abs=1e-6)


def test_a_closed_ledger_says_that_its_gap_is_rounding():
    told = printed(rounded(-2e-8))
    for form in ("ledger", "text", "table", "terminal"):
        assert (
            "closed (only rounding is missing, 1.9e\u221202 allowed".replace("\u2212", "\u2212" if form == "table" else "-") in told[form]
        )
    assert "gap rounding; closed" in told["repr"] and "rounding" in told["figure"] and ">rounding<" in told["beside"]


def test_an_open_ledger_prints_its_gap_everywhere():
    told = printed(made(ledger=Ledger(1.0, 0.5, 0.25, scale=1.0, layers={"layer 2": 0.0, "layer 1": 0.25})))
    for form in ("ledger", "repr", "text", "table", "beside", "terminal", "figure"):
        assert "rounding" not in told[form] and "0.25" in str(told[form]), form
    assert "open at layer 1 (the gap is 2.5e-01, 1.0e-03 allowed" in told["ledger"]


CANNOT = Ledger(1.0, 0.75, 0.25, scale=1.0, tolerance=0.0, rounding=0.5, precision="bfloat16")
NOT_KEPT = Ledger(1.0, 0.5, 0.25, scale=1.0, written=False)


def test_a_ledger_that_cannot_tell_says_so_everywhere():
    told = printed(made(ledger=CANNOT))
    for form in ("ledger", "repr", "text", "table", "beside", "terminal", "figure"):
        assert "cannot tell in bfloat16" in str(told[form]) and "gap rounding" not in str(told[form]), form
    for form in ("ledger", "text", "terminal"):
        said = " ".join(str(told[form]).split())
        assert 'up to 5.0e-01 may be rounding, which is too much for this value: type Options(precision="float32")' in said, form


def test_a_ledger_that_was_not_kept_says_so_in_place_of_its_numbers():
    told = printed(made(ledger=NOT_KEPT))
    for form in ("ledger", "repr", "text", "table", "beside", "terminal", "figure"):
        assert "not kept" in str(told[form]) and "closed" not in str(told[form]) and "open at" not in str(told[form]), form
    assert "constants not kept, softmax not kept, stabilisers not kept, gap not kept; not kept" in told["repr"]


def test_the_number_itself_stays_in_the_object_and_in_json(tmp_path):
    e = rounded(3e-9)
    assert e.ledger.gap != 0 and e.plain()["ledger"]["gap"] == e.ledger.gap == dict(e.ledger.rows())["gap"]
    e.save(tmp_path / "one.npz")
    assert type(e).load(tmp_path / "one.npz").ledger.gap == e.ledger.gap
    assert json.loads(json.dumps(e.plain()["ledger"]))["layers"] == {"layer 1": 3e-9, "layer 0": -3e-9}


def test_what_is_more_than_rounding_or_no_number_is_shown():
    assert unless_rounding(1e-9, 1e-6) == unless_rounding(-1e-6, 1e-6) == unless_rounding(0.0, 0.0) == "rounding"
    assert unless_rounding(2e-6, 1e-6) == "2.0e-06" and unless_rounding(-2e-6, 1e-6, digits(1.0)) == "0.000"
    assert not any(is_rounding(x, math.inf) for x in (math.nan, math.inf, -math.inf)) and not is_rounding(0.0, math.nan)
    assert size(-0.00059) == "5.9e-04"


def test_rounding_puts_no_keeper_in_another_order():
    show = digits(1.0)
    amounts = {"b": 0.2, "z": 1e-9, "a": -0.3, "y": -2e-9, "c": 0.2 + 1e-12, "n": math.nan}
    assert [name for name, _ in by_size(amounts, show)] == ["n", "a", "b", "c", "y", "z"]
    assert [name for name, _ in by_size({**amounts, "z": -5e-9}, show)] == ["n", "a", "b", "c", "y", "z"]
