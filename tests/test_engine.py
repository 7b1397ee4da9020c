"""The forward pass is the model's, nothing is left behind, and threads do not meet."""

from __future__ import annotations

import itertools
import re
import threading

import pytest
import torch
from models import FAMILIES, build, inputs, score
from torch import nn

from pelrp_nb.composites import CP_LRP, PA_LRP
from pelrp_nb.engine.numerics import spread
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import RuleError


def state(model: nn.Module) -> dict:
    """All that must be as before."""
    modules = list(model.named_modules())
    return {
        "hooks": [(n, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for n, m in modules],
        "training": [m.training for _, m in modules],
        "grad": [(n, p.requires_grad, None if p.grad is None else p.grad.clone()) for n, p in model.named_parameters()],
        "values": [(n, p.detach().clone()) for n, p in model.named_parameters()],
        "buffers": [(n, b.clone(), b.requires_grad) for n, b in model.named_buffers()],
        "attributes": [(n, sorted(vars(m))) for n, m in modules],
        "notes": [n for n, t in [*model.named_parameters(), *model.named_buffers()] if hasattr(t, "_pelrp_note")],
        "attention": getattr(model.config, "_attn_implementation", None),
        "random": torch.get_rng_state(),
        "enabled": torch.is_grad_enabled(),
        "mode": torch.overrides._len_torch_function_stack() if hasattr(torch.overrides, "_len_torch_function_stack") else 0,
    }


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def run(model, x, composite=PA_LRP, **options):
    with propagate(model, composite, Options(**options)) as flow:
        return flow.trace(score(model(**x)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_is_the_models_to_the_bit(family, attention, dtype):
    model, x = build(family, attention, dtype), inputs(family, dtype=dtype)
    with torch.no_grad():
        plain = model(**x).logits
    for composite in (PA_LRP, CP_LRP):
        with propagate(model, composite, Options(audit=True)):
            bent = model(**x).logits
        assert torch.equal(plain, bent.detach())


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_behind(family):
    model, x = build(family), inputs(family)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before, given = state(model), {k: v.clone() for k, v in x.items() if isinstance(v, torch.Tensor)}
    run(model, x)
    assert same(before, state(model))
    assert all(torch.equal(x[k], v) and not x[k].requires_grad and not hasattr(x[k], "_pelrp_note") for k, v in given.items())


class Stop(Exception):
    pass


def throw(*_):
    raise Stop


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("where", ["forward", "hook", "backward", "body"])
def test_nothing_is_left_behind_by_an_exception(where, error):
    model, x = build("llama"), inputs("llama")

    def fail(*_):
        raise error("here")

    layer = model.model.layers[1]
    original = layer.mlp.forward
    handle = layer.register_forward_hook(fail) if where == "hook" else None
    before = state(model)
    if where == "forward":
        layer.mlp.forward = fail
    with pytest.raises(error):
        if where == "backward":
            run(model, x, watch=fail)
        elif where == "body":
            with propagate(model, PA_LRP):
                model(**x)
                fail()
        else:
            run(model, x)
    if where == "forward":
        del layer.mlp.forward
        assert layer.mlp.forward == original
    assert same(before, state(model))
    if handle is not None:
        handle.remove()
    assert run(model, x).ledger.closed


def test_two_threads_explain_the_same_model_at_once():
    model = build("llama", dtype=torch.float32)
    texts = [inputs("llama", seed=s) for s in (1, 2)]
    single = [run(model, x).tokens for x in texts]
    before, wrong, errors = state(model), [], []

    def work(i: int) -> None:
        try:
            for _ in range(40):
                if not torch.equal(run(model, texts[i]).tokens, single[i]):
                    wrong.append(i)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and not wrong
    assert same(before, state(model))


def test_other_threads_see_the_plain_model():
    model, x = build("llama"), inputs("llama")
    seen = []
    with propagate(model, PA_LRP):
        thread = threading.Thread(target=lambda: seen.append(model(**x).logits))
        thread.start()
        thread.join()
        assert seen[0].grad_fn is not None and "Bent" not in seen[0].grad_fn.name()
    seen[0].sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "lm_head" in n)


def test_works_inside_no_grad_and_autocast():
    model, x = build("llama", dtype=torch.float32), inputs("llama")
    plain = run(model, x)
    with torch.no_grad():
        torch.testing.assert_close(run(model, x).tokens, plain.tokens, rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(model, x)
    assert torch.isfinite(found.tokens).all()
    assert torch.corrcoef(torch.stack([found.semantic, plain.semantic]))[0, 1] > 0.95


def test_weights_that_require_gradients_are_constants():
    model, x = build("llama"), inputs("llama")
    free = run(model, x).tokens
    model.requires_grad_(False)
    torch.testing.assert_close(run(model, x).tokens, free, rtol=0, atol=0)


def test_several_targets_from_one_forward():
    model, x = build("llama"), inputs("llama")
    with propagate(model, PA_LRP) as flow:
        logits = model(**x).logits
        first = flow.trace(logits[0, -1, 3], keep=True)
        second = flow.trace(logits[0, -1, 4], keep=True)
        again = flow.trace(logits[0, -1, 3])
    torch.testing.assert_close(first.tokens, again.tokens, rtol=0, atol=0)
    assert first.ledger == again.ledger and first.ledger.closed and second.ledger.closed
    assert not torch.equal(first.tokens, second.tokens)


def test_shapes_spread_as_torch_spreads_them():
    shapes = [(), (1,), (3,), (0,), (2, 3), (2, 1), (1, 3), (5, 2, 3), (5, 1, 1), (1, 0)]
    told = 0
    for one, two in itertools.product(shapes, repeat=2):
        a, b = torch.empty(one), torch.empty(two)
        try:
            wanted = torch.broadcast_shapes(one, two)
        except RuntimeError as error:
            with pytest.raises(RuntimeError, match=re.escape(str(error)[:60])):
                spread(a, b)
            told += 1
        else:
            assert spread(a, b) == wanted == (a + b).shape
    assert 0 < told < len(shapes) ** 2


def test_boundaries_arrive_as_events_while_backward_runs():
    model, x, heard = build("llama"), inputs("llama"), []
    found = run(model, x, watch=heard.append)
    assert [b.name for b in heard if b.kind == "layer"] == ["layer 2", "layer 1", "layer 0"]
    assert heard[-1].name == "embeddings"
    known = {b.name: b for b in found.boundaries}
    assert sorted(known) == sorted(b.name for b in heard)
    for event in heard:
        torch.testing.assert_close(event.relevance, known[event.name].relevance)


class Strange(nn.Module):
    """A model of one unknown operation."""

    def __init__(self, how):
        super().__init__()
        self.inner = nn.Linear(4, 4).double()
        self.how = how

    def forward(self, x):
        return self.how(self.inner(x))


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp() * x

    @staticmethod
    def backward(ctx, g):
        return g


@pytest.mark.parametrize(
    ("how", "named"),
    [(lambda x: torch.special.i0(x), "i0"), (lambda x: torch.logcumsumexp(x, -1), "logcumsumexp"), (Hidden.apply, "HiddenBackward")],
)
def test_an_operation_without_a_rule_is_refused_by_name(how, named):
    from dataclasses import replace

    model, x = Strange(how), torch.randn(1, 4, dtype=torch.float64)
    with pytest.raises(RuleError, match=named), propagate(model, PA_LRP) as flow:
        flow.trace(model(x)[0, 0])
    with propagate(model, replace(PA_LRP, unknown="gradient")) as flow:
        found = flow.trace(model(x)[0, 0])
    assert any(named in u for u in found.ledger.unknown)
    assert "plain gradient accepted" in str(found.ledger)


def test_unknown_operations_beside_the_way_do_not_matter():
    model, x = Strange(lambda x: (x, torch.logcumsumexp(x, -1))), torch.randn(1, 4, dtype=torch.float64)
    with propagate(model, PA_LRP) as flow:
        assert flow.trace(model(x)[0][0, 0]).ledger.closed


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_a_kernel_of_several_nodes_is_paid_as_one_is(family):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model, x = build(family), inputs(family)
    found = []
    for several in (False, True):  # the second meets the shapes that were one node in the first
        kernels = [SDPBackend.MATH] if several else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
        with sdpa_kernel(kernels), propagate(model, PA_LRP) as flow:
            found.append(flow.trace(score(model(**x))))
    one, other = found
    torch.testing.assert_close(one.tokens, other.tokens, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.positional, other.positional, rtol=1e-9, atol=1e-12)
    assert one.ledger.closed and other.ledger.softmax == pytest.approx(one.ledger.softmax, rel=1e-9)
    assert {b.name for b in one.boundaries} == {b.name for b in other.boundaries}
