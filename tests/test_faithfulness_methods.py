"""Baselines against their definitions, and the rules by which a function becomes a method."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from faithful import WORTH, case, subject
from models import build
from tolerance import assert_same

from pelrp_nb import ATTN_LRP, PA_LRP, explain, faithfulness, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.faithfulness import ALL, METHODS, Attribution, Configuration, Example, Subject, gradients, load, measure
from pelrp_nb.faithfulness.attention import looked
from pelrp_nb.faithfulness.attribution import attribute
from pelrp_nb.faithfulness.methods import CONTROLS, chosen
from pelrp_nb.faithfulness.read import case_of
from pelrp_nb.faithfulness.relevance import CP_LRP_PUBLISHED, RELP
from pelrp_nb.faithfulness.settings import Baselines

captum = pytest.importorskip("captum.attr")


@pytest.fixture(scope="module", params=["reviews-rotary", "reviews-learnable"])
def real(request):
    """A packaged model and one of its cases."""
    model, tokenizer = zoo.load(request.param)
    asked = Subject(model, tokenizer, Configuration(model=request.param))
    return asked, case_of(asked, next(load("reviews")), 0)


def test_the_names_are_these():
    assert ALL == (
        "random", "input-x-gradient", "integrated-gradients", "smooth-grad", "leave-one-out", "attention-rollout",
        "gradient-attention", "le-grad", "libra-grad", "de-pass", "relp", "cp-lrp", "attn-lrp", "attn-lrp-res", "pa-lrp-signed",
        "pa-lrp-absolute", "pa-lrp-positive",
    )  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_every_token_a_number(name, real):
    asked, here = real
    found = attribute(METHODS[name], asked, here)
    assert found.relevance.shape == (len(here.tokens),) and found.relevance.dtype == torch.float64
    knows_positions = name.startswith("pa-lrp") or name in CONTROLS
    assert (found.position is not None) == knows_positions


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_the_same_twice_and_leaves_the_world_alone(name, real):
    """Random ones too; the model's attention setting and the global random state are as before."""
    asked, here = real
    again = case_of(asked, next(load("reviews")), 0)
    state, attention = torch.random.get_rng_state(), asked.model.config._attn_implementation
    first = attribute(METHODS[name], asked, here).relevance
    torch.randn(3)
    torch.random.set_rng_state(state)
    torch.testing.assert_close(attribute(METHODS[name], asked, again).relevance, first, rtol=0, atol=1e-12)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert asked.model.config._attn_implementation == attention
    assert all(p.grad is None for p in asked.model.parameters())
    assert not asked.model.get_input_embeddings()._forward_hooks


def test_gradients_on_a_sum_are_exact():
    """Where the answer is the sum of the tokens' worth, these all say just that."""
    asked = subject(baselines=Baselines(noise=0.5, samples=4))
    here = case(asked, [1, 2, 3, 4, 5])
    worth = [WORTH[i] for i in (1, 2, 3, 4, 5)]
    for name in ("input-x-gradient", "integrated-gradients", "smooth-grad", "leave-one-out", "libra-grad", "de-pass", "relp"):
        assert attribute(METHODS[name], asked, here).relevance.tolist() == pytest.approx(worth), name


@pytest.mark.parametrize("name", ["reviews-rotary", "reviews-learnable", "tasks-alibi", "tasks-relative"])
def test_a_share_going_forward_a_balanced_gradient_and_cp_lrp_name_the_same_amounts(name):
    """Three computations that share no code: forward passes, a gradient, the engine; they differ where a factor is not held still."""
    model, tokenizer = zoo.load(name)
    asked = Subject(model, tokenizer, Configuration(model=name))
    here = case_of(asked, next(load("reviews" if name.startswith("reviews") else "recall")), 0)
    forward, back, engine = (attribute(METHODS[m], asked, here).relevance for m in ("de-pass", "libra-grad", "cp-lrp"))
    assert_same(forward, back)
    assert_same(back, engine)
    if name.startswith("tasks"):  # no gate, whose halves RelP pays
        assert_same(attribute(METHODS["relp"], asked, here).relevance, engine)
    plain = attribute(METHODS["input-x-gradient"], asked, here).relevance
    assert float((plain - back).abs().max()) > 0.01 * float(back.abs().max())


def test_a_gate_that_is_half_of_a_product_is_paid_half():
    """silu(g) u of one number, g = a x, u = b x: RelP gives x both halves of the value, LibraGrad, whose gate is a constant, u's alone."""
    found = {}
    for how, composite in (("relp", RELP), ("cp-lrp", CP_LRP_PUBLISHED)):
        x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
        model = Gated()
        found[how] = explain(model, {"x": x}, target=lambda out: out[0], composite=composite).semantic.double().flatten().tolist()
    value = float(torch.nn.functional.silu(torch.tensor(2.0, dtype=torch.float64)) * 3.0)
    assert found["relp"] == pytest.approx([value / 2, value / 2]) and found["cp-lrp"] == pytest.approx([0.0, value])


class Gated(torch.nn.Module):
    """silu(x0) x1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, x):
        x = x * self.one
        return torch.nn.functional.silu(x[:, 0]) * x[:, 1]


def test_le_grad_sums_what_is_positive_in_gradients_of_weights(real):
    asked, here = real
    _, gradients, _ = looked(asked, here)
    T = len(here.tokens)
    found = [sum(max(float(g[h, i, j]), 0.0) for g in gradients for h in range(len(g)) for i in range(T)) for j in range(T)]
    assert_same(attribute(METHODS["le-grad"], asked, here).relevance, torch.tensor(found, dtype=torch.float64) / (len(gradients[0]) * T))


def test_input_x_gradient_is_captums(real):
    asked, here = real
    ids = here.row["input_ids"][None]
    layer = asked.model.get_input_embeddings()
    ours = attribute(METHODS["input-x-gradient"], asked, here).relevance
    forward = lambda x: asked.model(x, attention_mask=torch.ones_like(x)).logits[:, here.target]
    theirs = captum.LayerGradientXActivation(forward, layer).attribute(ids)[0].sum(-1)
    assert_same(ours, theirs.detach())


def test_integrated_gradients_sum_to_the_difference(real):
    """From the text without its words to the whole text: the sum is the difference of the logits."""
    asked, here = real
    ids = here.row["input_ids"].clone()
    ids[[t for t in range(len(ids)) if not here.special[t]]] = asked.replacement()
    bare = asked.answers([{**here.row, "input_ids": ids}])[0]
    total = float(attribute(METHODS["integrated-gradients"], asked, here).relevance.sum())
    assert total == pytest.approx(float(here.answer[here.target] - bare[here.target]), abs=2e-2)


def test_integrated_gradients_are_captums(real):
    asked, here = real
    x, logit = gradients.differentiable(asked, here)
    steps = asked.configuration.baselines.steps
    theirs = captum.IntegratedGradients(logit).attribute(x, baselines=gradients.start(asked, here, x), n_steps=steps)
    assert_same(attribute(METHODS["integrated-gradients"], asked, here).relevance, theirs.detach()[0].sum(-1))


def test_leave_one_out_is_captums(real):
    asked, here = real
    ids, unknown = here.row["input_ids"][None], asked.replacement()
    forward = lambda x: asked.model(x, attention_mask=torch.ones_like(x)).logits[:, here.target]
    theirs = captum.FeatureAblation(forward).attribute(ids, baselines=unknown)[0].double()
    ours = attribute(METHODS["leave-one-out"], asked, here).relevance
    inner = [t for t in range(len(here.tokens)) if not here.special[t]]
    assert_same(ours[inner], theirs[inner].detach(), here.answer.abs().sum())
    assert float(ours[here.special.index(True)]) == 0.0


def test_rollout_by_a_loop(real):
    """Half skip, half mean of the heads, multiplied up; rows of a stochastic matrix, so it sums to one."""
    asked, here = real
    weights, _, reader = looked(asked, here)
    T = len(here.tokens)
    expected = np.eye(T)
    for A in weights:
        expected = (0.5 * A.mean(0).numpy() + 0.5 * np.eye(T)) @ expected
    place = {"LlamaForSequenceClassification": -1}.get(type(asked.model).__name__, 0)
    assert int(reader.argmax()) == place % T and float(reader.max()) == pytest.approx(1.0)
    ours = attribute(METHODS["attention-rollout"], asked, here).relevance
    assert ours.tolist() == pytest.approx(expected[place].tolist(), abs=1e-6) and float(ours.sum()) == pytest.approx(1.0, abs=1e-5)


def test_gradient_attention_is_positive_and_reads_where_the_model_reads(real):
    asked, here = real
    weights, gradients, _ = looked(asked, here)
    R = np.eye(len(here.tokens))
    for A, g in zip(weights, gradients, strict=True):
        R = R + (A * g).clamp(min=0).mean(0).numpy() @ R
    place = -1 if "Llama" in type(asked.model).__name__ else 0
    expected = R[place] - np.eye(len(here.tokens))[place]
    ours = attribute(METHODS["gradient-attention"], asked, here).relevance
    assert ours.tolist() == pytest.approx(expected.tolist(), abs=1e-9) and float(ours.min()) >= 0


def test_relevance_is_that_of_explain(real):
    """The rows of the comparison are the package's own explanations, nothing else."""
    asked, here = real
    text = next(load("reviews")).text
    found = {
        composite: explain(asked.model, text, processor=asked.processor, target=here.target, composite=composite)
        for composite in (PA_LRP, ATTN_LRP)
    }
    for name, expected in {
        "attn-lrp": found[ATTN_LRP].relevance("signed"),
        **{f"pa-lrp-{r}": found[PA_LRP].relevance(r) for r in ("signed", "absolute", "positive")},
    }.items():
        ours = attribute(METHODS[name], asked, here).relevance
        torch.testing.assert_close(ours, expected.double(), rtol=0, atol=1e-6)
    position = attribute(METHODS["pa-lrp-signed"], asked, here).position
    torch.testing.assert_close(position, found[PA_LRP].positional.sum(0).double(), rtol=0, atol=1e-6)


def test_controls_share_the_map_of_attn_lrp(real):
    asked, here = real
    R = attribute(METHODS["attn-lrp"], asked, here).relevance
    half, chance = (attribute(METHODS[name], asked, here) for name in ("uniform-half", "random-sinks"))
    assert torch.equal(half.relevance, R) and torch.equal(half.position, R / 2)
    part = chance.position / R
    assert torch.equal(chance.relevance, R) and float(part.min()) >= 0 and float(part.max()) <= 1 and float(part.std()) > 0.1


def test_a_language_model_is_judged_at_its_last_token():
    """The explained class is the next token."""
    model = build("llama", dtype=torch.float32)
    asked = Subject(model, None, Configuration())
    row = {"input_ids": torch.tensor([7, 8, 9, 10]), "attention_mask": torch.ones(4, dtype=torch.long)}
    answer = asked.answers([row])[0]
    here = faithfulness.Case(row, tuple("abcd"), (False,) * 4, int(answer.argmax()), answer, 0, "", 0)
    assert_same(answer, model(row["input_ids"][None]).logits[0, -1].detach(), answer.abs().max())
    for name in ("input-x-gradient", "gradient-attention", "attn-lrp", "pa-lrp-signed"):
        assert float(attribute(METHODS[name], asked, here).relevance.abs().sum()) > 0


def test_anyones_function_is_a_method():
    """A list, an array, a tensor or an Attribution; it stands in the table beside the others."""
    model, tokenizer = zoo.load("reviews-rotary")
    own = {
        "first": lambda asked, here: [float(-t) for t in range(len(here.tokens))],
        "array": lambda asked, here: np.zeros(len(here.tokens)),
        "parts": lambda asked, here: Attribution(torch.ones(len(here.tokens)), torch.ones(len(here.tokens)) / 4),
    }
    settings = Configuration(methods=("random",), protocols=("gain", "positions"))
    result = measure(model, tokenizer, load("reviews", 2), settings, methods=own)
    assert result.methods == ("random", "first", "array", "parts") and not result.errors
    assert result.estimate("parts", "positional-share").mean == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda asked, here: [1.0], "shape"),
        (lambda asked, here: [float("nan")] * len(here.tokens), "finite"),
        (lambda asked, here: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_method_that_fails_is_recorded_and_the_rest_goes_on(bad, reason):
    model, tokenizer = zoo.load("reviews-rotary")
    calls = []

    def sometimes(asked, here):
        calls.append(here.index)
        return bad(asked, here) if here.index == 1 else torch.zeros(len(here.tokens))

    settings = Configuration(methods=("input-x-gradient",), protocols=("gain",))
    result = measure(model, tokenizer, load("reviews", 3), settings, methods={"mine": sometimes})
    assert calls == [0, 1, 2]
    assert [i for i, _ in result.errors["mine"]] == [1] and reason in result.errors["mine"][0][1]
    assert result.estimate("mine", "symmetric-relevance-gain").n == 2
    assert result.estimate("input-x-gradient", "symmetric-relevance-gain").n == 3


def test_unknown_methods_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean attn-lrp"):
        chosen(["attnlrp"])
    with pytest.raises(InputError, match="at least one"):
        chosen([])


def test_the_course_needs_no_other_library(real, monkeypatch):
    """Binder and Colab install the package without extras: the methods that tutorials name are its own."""
    pages = (Path(__file__).parent.parent / "tutorials").glob("[0-9]*.py")
    named = {name for page in pages for name in re.findall(r'"([a-z-]+)"', page.read_text(encoding="utf-8"))} & METHODS.keys()
    assert len(named) >= 4 and "integrated-gradients" in named
    monkeypatch.setitem(sys.modules, "captum", None)
    for name in sorted(named):
        assert attribute(METHODS[name], *real).relevance.isfinite().all(), name


def test_a_missing_captum_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    model, tokenizer = zoo.load("reviews-rotary")
    settings = Configuration(methods=("smooth-grad", "random"), protocols=("gain",))
    result = measure(model, tokenizer, [Example("fine film")], settings)
    assert "pip install" in result.errors["smooth-grad"][0][1] and result.estimate("random", result.measures[0]).n == 1
