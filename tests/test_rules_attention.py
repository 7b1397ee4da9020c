"""Fused attention is the composition of its three rules for every case of who carries; masks and rotations tell no lies."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from claims import Sizes, causal, fast, heads, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pelrp_nb import rules
from pelrp_nb.engine.handlers.weighing import attention_weights
from pelrp_nb.rules.attention import Factors, factors
from pelrp_nb.rules.rotary import angles
from pelrp_nb.rules.softmax import kept
from pelrp_nb.verbs import freeze, input_times_gradient

WHO = list(product([True, False], repeat=4))


def composed(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, *, mask=None, carries, softmax_constant) -> Tensor:
    """Attention from the fast forms of the other rules; n counts the factors that carry."""
    q, k, v, bias = (x if x is None or carrying else freeze(x) for x, carrying in zip((q, k, v, bias), carries, strict=True))
    s = rules.uniform.forward(q, k, multiply="bhti,bhsi->bhts", n=max(carries[0] + carries[1], 1)) * q.shape[-1] ** -0.5
    s = s if bias is None else rules.residual.forward(s, bias)
    A = rules.softmax.forward(s, mask=mask)
    A_carries = (carries[0] or carries[1] or (carries[3] and bias is not None)) and not softmax_constant
    A = rules.constant.forward(A) if softmax_constant else A
    return rules.uniform.forward(A, v, multiply="bhts,bhsi->bhti", n=max(A_carries + carries[2], 1))


@pytest.mark.parametrize("softmax_constant", [False, True], ids=["attnlrp", "cp"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("carries", WHO, ids=lambda c: "".join(n for n, yes in zip("qkvb", c, strict=True) if yes) or "none")
def test_fused_is_composed_is_explicit(carries, bias, softmax_constant):
    rng = torch.Generator().manual_seed(5)
    inputs, constants = heads(rng, Sizes(), bias=bias, mask="bool")
    constants |= {"carries": carries, "softmax_constant": softmax_constant}
    y = rules.attention.forward(*inputs, **constants)
    R = y * normal(rng, *y.shape)
    fused = fast(rules.attention, R, inputs, constants)
    steps = fast(replace(rules.attention, forward=composed), R, inputs, constants)
    explicit = rules.attention.relevance(R, *inputs, **constants)
    for name, f, s, e, carrying in zip("qkvb", fused, steps, explicit, carries, strict=False):
        torch.testing.assert_close(f, s, msg=lambda m, name=name: f"R({name}), fused and composed: {m}")
        torch.testing.assert_close(f, e, msg=lambda m, name=name: f"R({name}), fused and explicit: {m}")
        reached = carrying and (name == "v" or not softmax_constant)
        assert bool(f.abs().max() > 1e-6) == reached


def test_the_factors_are_those_of_the_method():
    assert factors(True, True, True, True) == Factors(q=1 / 4, k=1 / 4, v=1 / 2, bias=1 / 2)
    assert factors(True, True, False, False) == Factors(q=1 / 2, k=1 / 2, v=1 / 2, bias=1)
    assert factors(True, False, True, False) == Factors(q=1 / 2, k=1 / 4, v=1 / 2, bias=1 / 2)
    assert factors(False, False, True, False).v == 1 and factors(False, False, True, True).v == 1 / 2
    assert {factors(*who, True) for who in WHO} == {Factors(q=0, k=0, v=1, bias=0)}


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_mask_is_a_mask_however_it_is_written():
    """True where visible, -inf added, the smallest number added: one relevance, finite everywhere."""
    rng = torch.Generator().manual_seed(1)
    inputs, _ = heads(rng, Sizes(), bias=True)
    seen = causal(4)
    R = normal(rng, 2, 2, 4, 3)
    zero = torch.zeros(4, 4, dtype=R.dtype)
    masks = seen, *(zero.masked_fill(~seen, low) for low in (-torch.inf, torch.finfo(R.dtype).min))
    first, *others = [f(R, *inputs, mask=mask) for mask in masks for f in (rules.attention.relevance, by_gradient)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert a.isfinite().all()
            torch.testing.assert_close(a, b)
    assert (first[3] * ~seen == 0).all()


def by_gradient(R, *inputs, mask):
    return fast(rules.attention, R, inputs, {"mask": mask})


def test_a_query_that_sees_nothing_pays_nothing():
    rng = torch.Generator().manual_seed(1)
    (q, k, v), _ = heads(rng, Sizes())
    mask = causal(4).clone()
    mask[0] = False
    y = rules.attention.forward(q, k, v, mask=mask)
    R = y * normal(rng, *y.shape)
    for relevance in (rules.attention.relevance(R, q, k, v, mask=mask), fast(rules.attention, R, (q, k, v), {"mask": mask})):
        assert all(r.isfinite().all() for r in relevance) and (relevance[0][..., 0, :] == 0).all()


@pytest.mark.parametrize("filler", [-torch.inf, torch.finfo(torch.float64).min], ids=["inf", "smallest"])
def test_a_masked_score_gets_zero_and_is_never_multiplied(filler):
    rng = torch.Generator().manual_seed(2)
    seen = causal(4)
    x, bias = normal(rng, 2, 4, 4).masked_fill(~seen, filler), normal(rng, 4, 4)
    R = normal(rng, 2, 4, 4) * seen
    (paid,) = rules.softmax.relevance(R, x)
    torch.testing.assert_close(paid, rules.softmax.relevance(R, x, mask=seen)[0])
    torch.testing.assert_close(kept(R, x), R.sum(-1) - paid.sum(-1))
    for part in (paid, *rules.relative_bias.relevance(R, x, bias.expand_as(x)), *rules.alibi.relevance(R, x, bias.expand_as(x))):
        assert part.isfinite().all() and (part * ~seen == 0).all()
    x.requires_grad_()
    (g,) = torch.autograd.grad(rules.softmax.forward(x), x, normal(rng, 2, 4, 4))
    assert g.isfinite().all() and (g * ~seen == 0).all()


def test_one_visible_entry_keeps_everything_and_equal_scores_nearly_so():
    R = torch.tensor([[1.0, 0, 0], [0.5, 0.3, 0.2]], dtype=torch.float64)
    one = kept(R, torch.tensor([[3.0, -torch.inf, -torch.inf], [1.0, 1.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(one, torch.ones(2, dtype=torch.float64))
    nearly = kept(R[1], torch.tensor([1.0, 1.01, 0.99], dtype=torch.float64))
    assert 0.99 < nearly < 1 + 1e-2


@given(shift=st.integers(-5, 5).filter(bool), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_a_constant_added_to_a_row_of_scores_changes_relevance_but_no_output(shift, seed):
    rng = torch.Generator().manual_seed(seed)
    x, R = normal(rng, 2, 4), normal(rng, 2, 4)
    torch.testing.assert_close(rules.softmax.forward(x), rules.softmax.forward(x + shift))
    assert not torch.allclose(rules.softmax.relevance(R, x)[0], rules.softmax.relevance(R, x + shift)[0], atol=1e-3)


# --- rotations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", ["half", "interleaved"])
def test_half_of_every_rotated_token_goes_to_its_position_even_at_position_zero(turn):
    rng = torch.Generator().manual_seed(0)
    x, tables = normal(rng, 2, 5, 6), angles(torch.arange(5), 6, turn=turn)
    R = rules.rotary.forward(x, *tables, turn=turn) * normal(rng, 2, 5, 6)
    _, R_cos, R_sin = rules.rotary.relevance(R, x, *(t.expand_as(x) for t in tables), turn=turn)
    torch.testing.assert_close(R_cos.sum(-1) + R_sin.sum(-1), R.sum(-1) / 2)
    torch.testing.assert_close(R_cos[:, 0], R[:, 0] / 2)
    assert (R_sin[:, 0] == 0).all()


def test_a_complex_table_gets_what_cos_and_sin_get():
    rng = torch.Generator().manual_seed(0)
    x, (cos, sin) = normal(rng, 2, 5, 6), angles(torch.arange(5), 6, turn="interleaved")
    c = torch.complex(cos[:, ::2], sin[:, ::2]).contiguous()
    torch.testing.assert_close(rules.rotary.forward(x, c), rules.rotary.forward(x, cos, sin, turn="interleaved"))
    R = rules.rotary.forward(x, c) * normal(rng, 2, 5, 6)
    R_x, R_c = input_times_gradient(rules.rotary.forward, R, x, c)
    also_x, R_cos, R_sin = rules.rotary.relevance(R, x, cos, sin, turn="interleaved")
    torch.testing.assert_close(R_x, also_x)
    torch.testing.assert_close(R_c, (R_cos + R_sin).unflatten(-1, (3, 2)).sum(-1))


@given(shift=st.integers(1, 50), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_a_shift_of_all_positions_leaves_signed_positions_and_changes_their_absolute_sum(shift, seed):
    def positional(first: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        q, k, v, R = (normal(rng, 1, 2, 5, 6) for _ in range(4))
        tables = [t.expand_as(q) for t in angles(torch.arange(first, first + 5), 6)]

        def attend(q, k, v, *tables):
            turned = rules.rotary.forward(q, *tables[:2]), rules.rotary.forward(k, *tables[2:])
            return rules.attention.forward(*turned, v, mask=causal(5))

        sinks = input_times_gradient(attend, R, q, k, v, *tables, *tables)[3:]
        return sum(s.sum((0, 1, 3)) for s in sinks), sum(s.abs().sum() for s in sinks)

    (here, size), (there, other) = positional(0), positional(shift)
    torch.testing.assert_close(here, there, rtol=1e-7, atol=1e-9 * float(size))
    assert abs(size - other) > 1e-6 * size


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("kind", ["adds", "hides", "bool"])
def test_weights_of_a_fused_kernel_are_the_softmax_of_its_scores_and_a_mask_may_have_more_rows(rows, kind):
    q, k, mask = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4), torch.randn(rows, 1, 3, 5)
    if kind != "adds":
        mask[..., 1:] = -torch.inf
        mask[-1, :, 2] = -torch.inf  # a query that sees nothing
    seen = mask > -torch.inf
    right = (q @ k.mT / 2).masked_fill(~seen, -torch.inf) if kind == "bool" else q @ k.mT / 2 + mask
    A, s = attention_weights((q, k, seen if kind == "bool" else mask), slice(None), False, {})
    torch.testing.assert_close(A, right.softmax(-1).nan_to_num(0))
    torch.testing.assert_close(s, right.masked_fill(right == -torch.inf, 0))
