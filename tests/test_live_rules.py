"""Cards and bench: what they show of a rule is the rule's own page at work."""

from __future__ import annotations

import json
import math

import pytest
import torch
from keepers import KEEPS
from traitlets import TraitError

from pelrp_nb import live, rules
from pelrp_nb.errors import InputError
from pelrp_nb.live import cards, cases, workbench
from pelrp_nb.views.data import as_json

VARIANTS = (rules.gamma(100), rules.epsilon(0.3), rules.alpha_beta(1), rules.rotary("interleaved"), rules.reslrp(0.3))
EVERY = (*rules.ALL, *VARIANTS)


# --- cards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_a_card_holds_the_page_and_its_example_computed(rule):
    card = cards.data(rule)
    assert (card["name"], card["sentence"]) == (repr(rule), rule.sentence)
    assert (card["conserves"], card["paper"]) == (rule.conserves, rule.paper)
    assert card["relevance"].startswith("def relevance(") and card["forward"].startswith("def forward(")
    R, inputs, constants = rule.example(torch.Generator().manual_seed(0))
    paid = rule.relevance(R, *inputs, **constants)
    example = card["example"]
    assert [torch.tensor(x["relevance"]).shape for x in example["inputs"]] == [x.shape for x in inputs]
    assert example["sums"]["in"] == pytest.approx(float(R.sum()))
    assert example["sums"]["out"] == pytest.approx(sum(float(p.sum()) for p in paid))
    assert example["difference"] < 1e-12
    assert json.loads(as_json(card)) is not None


@pytest.mark.parametrize("rule", rules.ALL, ids=repr)
def test_a_card_keeps_every_line_of_its_page(rule):
    """Formulas to the letter, with their alignment; paragraphs in their words."""
    shown = cards.data(rule)["about"]
    page = rule.doc.split("\n\n", 1)[1].split("Conserves:")[0]
    lines = [line[4:] for line in page.splitlines() if line.startswith("    ")]
    assert [line for part in shown if part["kind"] == "formula" for line in part["text"].splitlines() if line] == lines
    words = [word for line in page.splitlines() if not line.startswith("    ") for word in line.split()]
    assert [word for part in shown if part["kind"] == "text" for word in part["text"].split()] == words


@pytest.mark.parametrize("rule", [r for r in rules.ALL if r.name in KEEPS], ids=repr)
def test_what_a_card_says_was_kept_is_what_the_keepers_take(rule):
    R, inputs, constants = rule.example(torch.Generator().manual_seed(0))
    kept = float(KEEPS[rule.name](rule, R, inputs, constants).sum())
    assert cards.data(rule)["example"]["sums"]["kept"] == pytest.approx(kept, abs=1e-9)


def test_a_card_is_a_sheet_that_reads_without_scripts():
    sheet = live.card("rotary")
    assert repr(sheet) == f"rotary: {rules.rotary.sentence}"
    assert "R(cos_i) = 1/2" in sheet.table and "<pre>" in sheet.table
    assert [card["name"] for card in live.card().data["cards"]] == [r.name for r in rules.ALL]
    with pytest.raises(InputError, match="no rule is called"):
        live.card("no such rule")
    with pytest.raises(InputError, match="needs a rule"):
        live.card(3)


# --- the bench: computed ---------------------------------------------------------------------------------------------


def test_every_rule_has_a_bench():
    assert set(cases.CASES) == {rule.name for rule in rules.ALL}


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_the_bench_is_the_rule_at_work(rule):
    """Both forms agree, shares are relevance by what was handed back, and nothing is lost but what is called kept."""
    drawn = torch.Generator().manual_seed(1)
    for _ in range(5):
        known = workbench.controls(rule)
        values = {
            c.key: c.choices[int(torch.randint(len(c.choices), (), generator=drawn))] if c.choices
            else round(c.low + float(torch.rand((), generator=drawn)) * (c.high - c.low), 2) for c in known
        }  # fmt: skip
        found = workbench.compute(rule, values)
        scale = max(1.0, *(abs(x["relevance"]) for x in found["inputs"]))
        assert found["difference"] < 1e-9 * scale
        assert all(x["bent"] == pytest.approx(x["relevance"], abs=1e-9 * scale) for x in found["inputs"])
        received = math.fsum(x["relevance"] for x in found["inputs"])
        assert found["sums"]["out"] == pytest.approx(received, abs=1e-9 * scale)
        assert found["sums"]["in"] == pytest.approx(math.fsum(y["relevance"] for y in found["outputs"]))
        assert found["sums"]["kept"] == pytest.approx(found["sums"]["in"] - received, abs=1e-9 * scale)
        if abs(found["sums"]["in"]) > 1e-6:
            assert all(x["share"] == pytest.approx(x["relevance"] / found["sums"]["in"]) for x in found["inputs"])


def test_the_bench_of_epsilon_by_hand():
    """x = (1, -2, 1.5), W = (1, 0.5, -1), b = 0.5: z = -1; eps = 1 on its own side: shares of -2."""
    found = workbench.compute(rules.epsilon, {"eps": 1.0})
    assert found["outputs"] == [{"name": "z", "value": -1.0, "relevance": 1.0}]
    assert [x["relevance"] for x in found["inputs"]] == pytest.approx([1 / -2, -1 / -2, -1.5 / -2])
    assert found["sums"]["kept"] == pytest.approx((0.5 - 1.0) / -2)


def test_more_gamma_leaves_less_to_the_bias_of_a_fallen_output():
    kept = [abs(workbench.compute(rules.gamma, {"gamma": g})["sums"]["kept"]) for g in (0.0, 1.0, 10.0)]
    assert kept == sorted(kept, reverse=True) and kept[0] > 5 * kept[-1]


def test_a_softmax_ignores_a_constant_and_its_relevance_does_not():
    low, high = ({"x 1": 0.0 + c, "x 2": 0.5 + c, "x 3": -1.0 + c} for c in (0.0, 2.0))
    low, high = workbench.compute(rules.softmax, low), workbench.compute(rules.softmax, high)
    assert [y["value"] for y in low["outputs"]] == pytest.approx([y["value"] for y in high["outputs"]])
    assert [x["relevance"] for x in low["inputs"]] != pytest.approx([x["relevance"] for x in high["inputs"]])


def test_a_variant_starts_with_its_options():
    values = {c.key: c for c in workbench.controls(rules.gamma(100))}
    assert values["gamma"].value == values["gamma"].high == 100
    found = workbench.compute(rules.gamma(100))
    assert found["inputs"] == workbench.compute(rules.gamma(100), {"gamma": 100.0})["inputs"]
    assert found["inputs"] != workbench.compute(rules.gamma)["inputs"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"x 9": 1.0}, "has no 'x 9'; it has x 1"), ({"x 1": float("nan")}, "finite number between -3 and 3"),
        ({"x 1": "2"}, "finite number"), ({"x 1": True}, "finite number"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(values, reason):
    with pytest.raises(InputError, match=reason):
        workbench.compute(rules.epsilon, values)


def test_a_value_beyond_the_slider_stays_at_its_end():
    assert workbench.compute(rules.epsilon, {"x 1": 1e9})["values"]["x 1"] == 3.0


def test_a_choice_is_one_of_its_own():
    assert workbench.compute(rules.identity, {"f": "gelu"})["sums"]["kept"] == 0.0
    assert workbench.compute(rules.identity, {"f": "sigmoid", "x": 0.0})["sums"]["kept"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="f must be one of silu, gelu"):
        workbench.compute(rules.identity, {"f": "eval"})


def test_an_output_of_zero_is_computed_all_the_same():
    """a = -b: the sum is 0, and 0/0 is as `stabilise` has it."""
    found = workbench.compute(rules.residual, {"a": 1.0, "b": -1.0, "R(z)": 0.0})
    assert [x["share"] for x in found["inputs"]] == [None, None] and found["sums"]["out"] == 0.0


# --- the bench: a widget ---------------------------------------------------------------------------------------------


def test_the_bench_computes_again_when_a_value_is_set():
    bench = live.bench("gamma")
    heard = []
    bench.observe(lambda change: heard.append(change.new["sums"]["kept"]), "result")
    bench.values = {**bench.values, "gamma": 10.0}
    assert heard == [pytest.approx(workbench.compute(rules.gamma, {"gamma": 10.0})["sums"]["kept"])]


def test_a_wrong_value_from_the_page_is_said_and_the_last_result_stays():
    bench = live.bench(rules.epsilon)
    before = bench.result["inputs"]
    bench.values = {"x 1": "nonsense"}
    assert "finite number" in bench.result["error"] and bench.result["inputs"] == before
    bench.ask_reset({})
    assert "error" not in bench.result and bench.values == workbench.compute(rules.epsilon)["values"]


def test_the_bench_starts_with_what_is_given():
    assert live.bench("epsilon", eps=1.0).result["sums"]["kept"] == pytest.approx(0.25)
    with pytest.raises(InputError, match="has no 'sigma'"):
        live.bench("epsilon", sigma=1.0)
    with pytest.raises(InputError, match="needs a rule"):
        live.bench(3)
    with pytest.raises(TraitError):
        live.bench("epsilon").values = 3


def test_a_bench_is_kept_as_a_page(tmp_path):
    bench = live.bench("epsilon", eps=0.5)
    bench.to_html(tmp_path / "bench.html")
    text = (tmp_path / "bench.html").read_text(encoding="utf-8")
    assert '"eps":0.5' in text and "script-src 'sha256-" in text
