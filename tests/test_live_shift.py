"""All positions later by a constant: what a rotary model cannot notice, and what its reductions do."""

from __future__ import annotations

import pytest
import torch
from models import build, inputs, score
from tolerance import assert_same, rounding

from pelrp_nb import explain, live, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.live.shifting import apart, reordered


@pytest.fixture(scope="module")
def rotary():
    """A random Llama in float64, explained at eight shifts."""
    model, x = build("llama"), inputs("llama")
    return model, x, live.shift(model, x, shifts=range(8), target=score)


def test_the_answer_and_the_signed_total_stay(rotary):
    """Up to rounding in float32, which the model's own tables of angles are."""
    plain, books = rotary[2].plain(), [e.ledger for e in rotary[2].found.values()]
    allowed = rounding(max(book.scale for book in books))
    for values in (plain["value"], plain["totals"]["position"]):
        assert max(values) - min(values) <= allowed and max(map(abs, values)) > 100 * allowed
    assert plain["drift"]["value"] <= plain["allowed"] and plain["drift"]["signed total"] <= plain["allowed"]


def test_absolute_and_positive_change_even_in_order(rotary):
    plain = rotary[2].plain()
    assert plain["drift"]["absolute"] > 1e-2 and plain["drift"]["positive"] > 1e-2
    assert plain["order"]["signed"] == 0 and plain["order"]["positive"] > 0


def test_the_signed_position_of_each_token_stays(rotary):
    signed = torch.tensor(rotary[2].plain()["position"]["signed"])
    assert_same(signed, signed[:1].expand_as(signed), signed[0].abs().sum())


def test_no_shift_is_the_plain_explanation(rotary):
    model, x, shifts = rotary
    found = shifts.found[0]
    plain = explain(model, x, target=score)
    torch.testing.assert_close(found.semantic, plain.semantic)
    torch.testing.assert_close(found.positional, plain.positional)


def test_added_positions_change_the_answer():
    model, tokenizer = zoo.load("reviews-learnable")
    plain = live.shift(model, "a gorgeous , witty film", processor=tokenizer, shifts=(0, 5)).plain()
    assert plain["drift"]["value"] > 1e-4 and plain["drift"]["signed total"] > 1e-2
    assert plain["tokens"] == ["[CLS]", "a", "gorgeous", ",", "witty", "film", "[SEP]"]


def test_every_shift_explains_the_same_target():
    """The answer at no shift, even where another one would be higher."""
    model, tokenizer = zoo.load("reviews-learnable")
    shifts = live.shift(model, "a gorgeous , witty film", processor=tokenizer, shifts=(0, 5, 10, 15))
    assert {e.target for e in shifts.found.values()} == {explain(model, "a gorgeous , witty film", processor=tokenizer).target}


def test_shifts_show_themselves_as_an_xray(rotary):
    shifts = rotary[2]
    assert shifts.sheet().kind == "xray"
    assert repr(shifts).startswith("Shifts(0, 1, 2, 3, 4, 5, 6, 7: largest change value ")
    html = shifts._repr_html_()
    assert "<iframe" in html and "<table" in html


@pytest.mark.parametrize(
    ("shifts", "reason"),
    [((), "at least one shift"), ((-1,), "must not be negative, got -1"), ((0, 60), "shifts go up to 55; got 60")],
)
def test_shifts_that_cannot_be_are_refused(rotary, shifts, reason):
    with pytest.raises(InputError, match=reason):
        live.shift(rotary[0], rotary[1], shifts=shifts, target=score)


def test_models_and_inputs_without_positions_to_shift_are_refused():
    with pytest.raises(InputError, match="takes no position_ids"):
        live.shift(build("vit"), inputs("vit"))
    model = build("llama")
    vectors = {"inputs_embeds": torch.zeros(1, 3, 48, dtype=torch.float64)}
    with pytest.raises(InputError, match="no input_ids"):
        live.shift(model, vectors)


def test_apart_and_reordered_by_hand():
    x = torch.tensor([[1.0, -2.0], [1.5, -2.0], [-3.0, 2.0]])
    assert apart(x) == 2.0 and reordered(x) == 1
    assert apart(torch.zeros(2, 3)) == 0.0 and apart(torch.zeros(1, 0)) == 0.0
