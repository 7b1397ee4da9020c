"""The page of operations is true: each is closed in a micro model, spelt in any way it is the same, or it is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from operations import IDS, OPERATIONS, PAGE, Family, Micro, entries, page

from pelrp_nb import CP_LRP, PA_LRP, Options, rules
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.engine.trace import Trace
from pelrp_nb.errors import RuleError

CLOSED = [family for _, family in entries() if not family.refused]
REFUSED = [family for _, family in entries() if family.refused]
BENT = {
    "PA-LRP": PA_LRP,
    "CP-LRP": CP_LRP,
    "gamma": replace(PA_LRP, linear=rules.gamma(0.25), projection=rules.gamma(0.25)),
    "alpha-beta": replace(PA_LRP, linear=rules.alpha_beta(2), projection=rules.alpha_beta(2)),
    "gamma, told later": replace(PA_LRP, linear=rules.gamma(0.25)),
}


def first(family: Family) -> str:
    return family.spellings[0]


def traced(spelling: str, composite=PA_LRP) -> Trace:
    """The explanation of the largest answer; its value is the model's."""
    model = Micro(spelling)
    plain = model(IDS)
    with propagate(model, composite, Options(audit=True)) as flow:
        out = model(IDS)
        found = flow.trace(out[0].max())
    torch.testing.assert_close(out.detach(), plain.detach(), rtol=1e-12, atol=1e-12)
    return found


@pytest.mark.parametrize("family", CLOSED, ids=first)
def test_an_operation_is_closed_and_spelt_in_any_way_the_same(family):
    known = traced(first(family))
    for spelling in family.spellings:
        found = traced(spelling)
        assert found.ledger.closed, spelling
        torch.testing.assert_close(found.tokens, known.tokens, rtol=1e-7, atol=1e-9, msg=lambda m, s=spelling: f"{s}: {m}")
        assert float(found.tokens.abs().sum()) > 1e-6, "nothing arrived, so nothing was tried"


MAPS, WRITTEN_OUT = OPERATIONS["Linear maps"], OPERATIONS["Softmax"][:3]


@pytest.mark.parametrize("composite", [name for name in BENT if name != "PA-LRP"])
@pytest.mark.parametrize("family", [*MAPS, *WRITTEN_OUT], ids=first)
def test_linear_maps_and_softmaxes_are_the_same_under_every_rule(family, composite):
    known = traced(first(family), BENT[composite])
    for spelling in family.spellings[1:]:
        found = traced(spelling, BENT[composite])
        torch.testing.assert_close(found.tokens, known.tokens, rtol=1e-7, atol=1e-9, msg=lambda m, s=spelling: f"{s}: {m}")
        assert found.ledger.closed


@pytest.mark.parametrize("family", REFUSED, ids=first)
def test_what_has_no_rule_is_refused_by_name(family):
    with pytest.raises(RuleError, match=rf"No rule for `{family.refused}` in Micro.*Give it one"):
        traced(first(family))


def test_a_plain_gradient_in_place_of_a_rule_would_be_seen():
    """What closes here closes because of rules: the derivative of the same product does not."""
    model = Micro("torch.special.i0(x)")
    with propagate(model, replace(PA_LRP, unknown="gradient")) as flow:
        assert not flow.trace(model(IDS)[0].max()).ledger.closed


@pytest.mark.parametrize("other", ["(e.sum(-1, keepdim=True) + 1)", "e.mT.sum(-1, keepdim=True)", "x.exp().sum(-1, keepdim=True)"])
def test_what_only_looks_like_a_softmax_is_none(other):
    assert traced("((e := (x @ y.mT).exp()) / e.sum(-1, keepdim=True)) @ x").ledger.softmax
    found = traced(f"((e := (x @ y.mT).exp()) / {other}) @ x")
    assert found.ledger.closed and not found.ledger.softmax


@pytest.mark.parametrize("size", [1, 9, 60])
def test_a_denominator_with_a_one_more_is_no_softmax_however_large_the_scores(size):
    found = traced(f"(e := (x * {size}).exp()) / (e.sum(-1, keepdim=True) + 1)")
    assert found.ledger.closed and not found.ledger.softmax


CHANGED = {  # what was changed in place after it was noted: the same without that memory, or None where there is no rule
    "(p := x.softmax(-1), x.mul_(3), p.log())[-1]": None,
    "(p := x.softmax(-1), p.__setitem__((0, 0), 0.5), p.log())[-1]": None,
    "(p := x.softmax(-1).clamp(min=1e-9), p.mul_(0.5), p.log())[-1]": "(q := x.softmax(-1), p := q.clamp(min=1e-9), (p * 0.5).log())[-1]",
    "(p := x.softmax(-1), p.__setitem__((0, 0), 0.5), p.log_())[-1]": None,
    "(i := torch.tensor([1]), p := x.softmax(-1).index_select(-1, i), i.add_(1), p.log())[-1]": None,
    "(l := x.log_softmax(-1), l[:, 1:2].mul_(2), l.exp())[-1]":
        "torch.cat([(l := x.log_softmax(-1))[:, :1], l[:, 1:2] * 2, l[:, 2:]], 1).exp()",
    "(z := x @ W, z.__setitem__((0, 0), 0.0), z + b)[-1]": "torch.cat([torch.zeros(1, 1, 6).double(), (x @ W)[:, 1:]], 1) + b",
}  # fmt: skip


@pytest.mark.parametrize("spelling", CHANGED)
def test_what_was_changed_in_place_is_no_longer_what_it_was(spelling):
    other = CHANGED[spelling]
    if other is None:
        with pytest.raises(RuleError, match=r"No rule for `log_?`"):
            traced(spelling)
        return
    for name in ("PA-LRP", "gamma"):
        found, known = traced(spelling, BENT[name]), traced(other, BENT[name])
        assert found.ledger.closed
        torch.testing.assert_close(found.tokens, known.tokens)


@pytest.mark.parametrize(("name", "then"), [("PA-LRP", "z + b"), ("PA-LRP", "z"), ("gamma", "z")])
def test_a_linear_map_is_not_done_again_with_an_input_that_was_changed(name, then):
    """Of that input the gamma rule keeps signs, a plain one nothing: both are as without the change."""
    found, known = (traced(f"(h := x * 1, z := h @ W, {change}, {then})[-1]", BENT[name]) for change in ("h.mul_(-7)", "h"))
    torch.testing.assert_close(found.tokens, known.tokens)


def test_a_softmax_over_another_axis_is_one_over_that_axis():
    known = traced("(x @ y.mT).softmax(-2) @ x")
    found = traced("((e := (x @ y.mT).exp()) / e.sum(-2, keepdim=True)) @ x")
    torch.testing.assert_close(found.tokens, known.tokens)


def test_the_page_says_what_is_tested():
    assert PAGE.read_text(encoding="utf-8") == page(), "type: python -m tests.operations"


def test_enough_is_tried():
    spelt = sum(len(family.spellings) for family in CLOSED)
    assert f"{len(CLOSED)} operations and idioms in {spelt} spellings" in (PAGE.parent.parent / "docs" / "facts" / "checked.md").read_text(
        encoding="utf-8"
    )
    assert len(CLOSED) >= 50 and len(CLOSED) + len(REFUSED) >= 55


def test_without_a_ledger_an_idiom_is_recognised_all_the_same():
    spelling = "-((p := x.softmax(-1)) * p.log()).sum(-1)"
    model = Micro(spelling)
    with propagate(model, PA_LRP, Options(ledger=False)) as flow:
        found = flow.trace(model(IDS)[0].max())
    torch.testing.assert_close(found.tokens, traced(spelling).tokens)
