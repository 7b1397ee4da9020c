"""What the ledger cannot see, these must: every rule of the engine halved, doubled or detached turns a named claim red.

The claim is `engine_is_reference`: tokens, positions and the audited ledger of the engine equal the walk by hand.
"""

from __future__ import annotations

import pytest
import torch
from models import build, inputs
from torch import Tensor
from torch.nn import functional as F

from pelrp_nb import reference
from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine import arguments
from pelrp_nb.engine.account import Account
from pelrp_nb.engine.handlers import attention as attend
from pelrp_nb.engine.handlers import division, products, torch_table
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.positions import detection
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.rules.attention import Factors
from pelrp_nb.verbs import freeze, scale, share

FAMILIES = ("llama", "bert")


@pytest.fixture(scope="module")
def walked():
    """Models, inputs and their walks by hand."""
    found = {}
    for family in FAMILIES:
        for attention in ("sdpa", "eager"):
            model, x = build(family, attention), inputs(family)
            found[family, attention] = model, x, reference.walk(model, x["input_ids"], 1)
    return found


def engine_is_reference(walked, attention="sdpa") -> bool:
    """Tokens, positions and ledger of both families agree with the walk by hand."""
    for family in FAMILIES:
        model, x, walk = walked[family, attention]
        try:
            with propagate(model, PA_LRP, Options(audit=True)) as flow:
                logits = model(**x).logits
                trace = flow.trace(logits[0, -1, 1] if logits.dim() == 3 else logits[0, 1])
        except Exception:
            return False
        close = 1e-9 if attention == "sdpa" else 1e-4
        if not trace.ledger.closed or (trace.tokens - walk.tokens).abs().max() > close * walk.tokens.abs().max():
            return False
        if trace.positional.shape != walk.positional.shape:
            return False
        if (trace.positional - walk.positional).abs().max() > close * max(float(walk.positional.abs().max()), 1e-9):
            return False
        if abs(sum(trace.ledger.softmax.values()) - sum(walk.softmax.values())) > close * trace.ledger.scale:
            return False
    return True


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_engine_is_reference(walked, attention):
    assert engine_is_reference(walked, attention)


def mutate(x: Tensor, how: str) -> Tensor:
    return {"halved": lambda: scale(x, 1 / 2), "doubled": lambda: scale(x, 2), "detached": lambda: freeze(x)}[how]()


KINDS = {
    "linear": ("sdpa", [F.linear, torch._C._nn.linear]),
    "activation": ("sdpa", [F.silu, torch._C._nn.gelu, F.gelu]),
    "attention": ("sdpa", [F.scaled_dot_product_attention]),
    "layer_norm": ("sdpa", [F.layer_norm]),
    "sum": ("sdpa", [Tensor.add, Tensor.__add__, torch.add]),
    "product": ("sdpa", [Tensor.mul, Tensor.__mul__, torch.mul]),
    "join": ("sdpa", [torch.cat]),
    "view": ("sdpa", [Tensor.transpose, Tensor.view, Tensor.reshape]),
    "cast": ("sdpa", [Tensor.to]),
    "matmul": ("eager", [torch.matmul, Tensor.matmul]),
    "softmax": ("eager", [F.softmax, torch.softmax]),
}


@pytest.mark.parametrize("how", ["halved", "doubled", "detached"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_rule_is_noticed(walked, monkeypatch, kind, how):
    attention, functions = KINDS[kind]
    for function in functions:
        original = torch_table.HANDLERS[function]

        def mutant(flow, func, args, kwargs, original=original):
            out = original(flow, func, args, kwargs)
            return mutate(out, how) if isinstance(out, Tensor) and out.requires_grad else out

        monkeypatch.setitem(torch_table.HANDLERS, function, mutant)
    assert not engine_is_reference(walked, attention)


@pytest.mark.parametrize("wrong", [1 / 8, 1 / 2, 0.0])
@pytest.mark.parametrize("which", [{"q", "k"}, {"v"}, {"q"}], ids=["scores", "values", "queries"])
def test_wrong_factors_of_fused_attention_are_noticed(walked, monkeypatch, which, wrong):
    right = attend.factors
    wrong = wrong if which != {"v"} or wrong != 1 / 2 else 1.0
    monkeypatch.setattr(attend, "factors", lambda *c: Factors(**{**right(*c)._asdict(), **dict.fromkeys(which, wrong)}))
    assert not engine_is_reference(walked)


@pytest.mark.parametrize("part", [1.0, 1 / 4, 0.0])
def test_a_wrong_share_of_products_is_noticed(walked, monkeypatch, part):
    monkeypatch.setattr(products, "share", lambda a, b, _, again=None: share(a, b, part, again))
    assert not engine_is_reference(walked)


@pytest.mark.parametrize("page", [None, division], ids=["division", "denominator"])
def test_an_unfrozen_denominator_is_noticed(walked, monkeypatch, page):
    if page is division:
        monkeypatch.setattr(division, "freeze", lambda x: x)
    else:
        monkeypatch.setitem(torch_table.HANDLERS, torch.rsqrt, lambda flow, func, args, kwargs: func(*args, **kwargs))
    assert not engine_is_reference(walked)


def test_an_unfrozen_layer_norm_is_noticed(walked, monkeypatch):
    monkeypatch.setitem(torch_table.HANDLERS, F.layer_norm, lambda flow, func, args, kwargs: func(*args, **kwargs))
    assert not engine_is_reference(walked)


def test_a_tangent_in_place_of_the_slope_is_noticed(walked, monkeypatch):
    for function in (F.silu, torch._C._nn.gelu):
        monkeypatch.setitem(torch_table.HANDLERS, function, lambda flow, func, args, kwargs: func(*args, **kwargs))
    assert not engine_is_reference(walked)


def test_a_forgotten_bias_is_noticed(walked, monkeypatch):
    monkeypatch.setattr(Account, "constant", lambda *a, **k: None)
    assert not engine_is_reference(walked)


def test_a_forgotten_softmax_is_noticed(walked, monkeypatch):
    monkeypatch.setattr(attend, "audited", lambda *a, **k: None)
    assert not engine_is_reference(walked)


@pytest.mark.parametrize("name", ["added", "multiplied"])
def test_a_forgotten_sink_is_noticed(walked, monkeypatch, name):
    monkeypatch.setattr(detection, name, lambda *a, **k: None)
    assert not engine_is_reference(walked)


def test_weights_taken_for_inputs_are_noticed(walked, monkeypatch):
    monkeypatch.setattr(arguments, "constant", lambda flow, parameter, note: flow.leaf(parameter))
    assert not engine_is_reference(walked)


def test_mutants_are_gone_again(walked):
    assert engine_is_reference(walked)
