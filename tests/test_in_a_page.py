"""The page and the engine are one method: equal numbers on decoders written by hand and on trained models; a rule changed is seen."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from decoder import NORMS, POSITIONS, decoder
from torch import Tensor, nn
from torch.nn import functional as F

from pelrp_nb import PA_LRP, Options, propagate, zoo
from pelrp_nb.engine import in_a_page
from pelrp_nb.engine.in_a_page import RULES, Walk, freeze

CLOSE = 1e-9  # of the size of what was summed


def by_the_engine(model: nn.Module, ids: Tensor, pick: Callable) -> dict[str, Tensor]:
    """The engine's account under the page's names."""
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        value = pick(model(ids))
    trace = flow.trace(value)
    book = trace.ledger
    assert book.closed
    amounts = {"constants": sum(book.constants.values()), "softmax": sum(book.softmax.values()), "value": book.value}
    numbers = {name: torch.tensor(amount, dtype=torch.float64) for name, amount in amounts.items()}
    return {"tokens": trace.tokens.sum(-1), "positions": trace.positional.sum(0)} | numbers


def apart(model: nn.Module, ids: Tensor, pick: Callable) -> dict[str, float]:
    """How far page and engine are apart in each line, as a part of the size of tokens and positions."""
    page, engine = in_a_page.explain(model, ids, pick), by_the_engine(model, ids, pick)
    size = float(engine["tokens"].abs().sum() + engine["positions"].abs().sum())
    off = {line: float((page[line] - engine[line]).abs().max()) / size for line in engine}
    return off | {"gap": abs(float(page["gap"])) / size}


def equal_but_for_a_softmax_in_float32(off: dict[str, float]) -> bool:
    """Whether inputs and constants are equal, and what a softmax keeps up to the rounding in which the library computes it."""
    return all(amount < (1e-6 if line in ("softmax", "gap") else CLOSE) for line, amount in off.items())


def last(logits: Tensor) -> Tensor:
    return logits[0, -1, 7]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_the_page_is_the_engine_on_a_decoder_written_by_hand(positions, norm):
    off = apart(*decoder(positions, norm), last)
    assert max(off.values()) < CLOSE, off


def test_each_line_of_the_account_has_something_to_say():
    for positions in POSITIONS:
        account = in_a_page.explain(*decoder(positions, "layer"), last)
        assert all(account[line].abs().max() > 1e-3 for line in ("tokens", "constants", "softmax", "value"))
        assert bool(account["positions"].any()) == (positions != "none")


def test_the_page_is_the_engine_on_a_trained_model():
    """A Llama of the library as it is, in eager attention, which computes norms and softmax in float32."""
    model, tokenizer = zoo.load("reviews-rotary")
    model.double().set_attn_implementation("eager")
    ids = tokenizer("a gorgeous , witty film", return_tensors="pt")["input_ids"]
    off = apart(model, ids, lambda out: out.logits[0, 1])
    assert equal_but_for_a_softmax_in_float32(off), off


@pytest.mark.golden
def test_the_page_is_the_engine_on_a_pretrained_language_model(golden):
    from transformers import AutoModelForCausalLM

    folder = golden / "models" / "stories260K"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    off = apart(model, torch.tensor([[1, 403, 407, 261, 378]]), lambda out: out.logits[0, -1].max())
    assert equal_but_for_a_softmax_in_float32(off), off


# --- a rule changed is seen ----------------------------------------------------------------------------------------------


def plain(walk, f, *args, **more):
    """torch's own gradient: what happens without the rule."""
    return f(*args, **more)


def unpaid(walk, f, x, W, b=None):
    """A linear map whose bias keeps nothing."""
    return f(x, W, b)


def unsunk(walk, f, a, b):
    """A sum or product in which a position is any constant."""
    return Walk.product(walk, f, a, b) if f is Tensor.mul else f(walk.constant(a), walk.constant(b))


def part(share: float):
    """A product that hands on another part than 1/n."""

    def product(walk, f, *factors):
        z = f(*factors)
        bent = z if sum(map(in_a_page.carries, factors)) == 1 else z * share
        return bent + freeze(z - bent)

    return product


def frozen_mean(walk, f, x, shape, weight, bias, eps):
    return walk.rms_norm(f, x - freeze(x.mean(-1, keepdim=True)), shape, weight, eps) + walk.constant(bias)


def whole_norm(walk, f, x, shape, weight, bias=None, eps=None):
    return f(x, shape, weight, **({} if bias is None else {"bias": walk.constant(bias)}), eps=eps)


def unmeasured(walk, f, s, *how, **more):
    return f(s, *how, **more)


MUTANTS = {
    "tokens looked up are halved": ("none", "rms", [F.embedding], lambda w, f, i, t, **how: w.leaf("tokens", f(i, t, **how)) / 2),
    "a bias keeps nothing": ("none", "rms", [F.linear], unpaid),
    "a linear map is halved": ("none", "rms", [F.linear], lambda w, f, x, W, b=None: part(1)(w, f, x, W / 2, b)),
    "a sum pays no position": ("learnt", "rms", [Tensor.add], unsunk),
    "a sum is plain": ("learnt", "rms", [Tensor.add], plain),
    "a product is plain": ("rotary", "rms", [Tensor.matmul, torch.einsum], plain),
    "a product is quartered": ("rotary", "rms", [Tensor.matmul, torch.einsum], part(1 / 4)),
    "a gate and a rotation are plain": ("rotary", "rms", [Tensor.mul], plain),
    "a rotation pays no position": ("rotary", "rms", [Tensor.mul], unsunk),
    "a denominator is paid": ("none", "quotient", [Tensor.div], plain),
    "a root below is paid": ("none", "written", [torch.rsqrt], plain),
    "an activation has its tangent": ("none", "rms", [F.silu], plain),
    "gelu has its tangent": ("none", "rms", [F.gelu], plain),
    "an RMS norm is not frozen": ("none", "rms", [F.rms_norm], whole_norm),
    "a layer norm is not frozen": ("none", "layer", [F.layer_norm], whole_norm),
    "a mean is frozen": ("none", "layer", [F.layer_norm], frozen_mean),
    "a softmax is a constant": ("none", "rms", [F.softmax], lambda w, f, s, *how, **more: f(freeze(s), *how, **more)),
    "a softmax is not measured": ("none", "rms", [F.softmax], unmeasured),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_changed_rule_is_seen(monkeypatch, mutant):
    positions, norm, functions, rule = MUTANTS[mutant]
    for function in functions:
        assert function in RULES
        monkeypatch.setitem(RULES, function, rule)
    off = apart(*decoder(positions, norm), last)
    assert max(off.values()) > 1e-4, off


def test_every_rule_has_a_mutant():
    of = {RULES[f] for _, _, functions, _ in MUTANTS.values() for f in functions}
    assert of == set(RULES.values())


# --- what it leaves alone, what it stands on -----------------------------------------------------------------------------


def test_the_model_is_as_before():
    model, ids = decoder("rotary", "rms")
    before = model(ids)
    in_a_page.explain(model, ids, last)
    assert torch.equal(model(ids), before) and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_the_page_stands_alone_and_is_a_page():
    """Imports of torch and einops alone; some hundred lines with something in them."""
    text = Path(in_a_page.__file__).read_text(encoding="utf-8")
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in nodes}
    assert {name.split(".")[0] for name in names} - {"__future__", "collections", "typing"} == {"torch", "einops"}
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 120


def test_the_code_of_the_engines_page_runs():
    readme = Path(in_a_page.__file__).with_name("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    space: dict = {}
    exec(code, space)
    assert abs(space["account"]["gap"]) < 1e-5 and "(in_a_page.py)" in readme.splitlines()[2]
