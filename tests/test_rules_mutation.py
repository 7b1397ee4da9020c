"""The claim `fast is explicit` can fail: every rule halved, doubled or detached turns it red, and so does every likely mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from claims import check_fast_is_explicit
from torch import Tensor
from torch.nn import functional as F

from pelrp_nb import rules
from pelrp_nb.rules import Rule
from pelrp_nb.verbs import freeze, route, scale

VARIANTS = (rules.epsilon(0.3), rules.gamma(100), rules.alpha_beta(1), rules.reslrp(0.3), rules.rotary("interleaved"))
MUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "halved": lambda y: scale(y, 1 / 2), "doubled": lambda y: scale(y, 2), "detached": freeze, "negated": lambda y: scale(y, -1),
}  # fmt: skip
# `constant` has no gradient: halved, doubled or detached it is itself, and its mutant is `not detached`, among the mistakes below.
BENT = tuple(rule for rule in rules.ALL if rule != rules.constant) + VARIANTS


def mutant(rule: Rule, how: Callable[[Tensor], Tensor]) -> Rule:
    return replace(rule, forward=lambda *inputs, **constants: how(rule.forward(*inputs, **constants)))


def is_noticed(rule: Rule) -> bool:
    """Whether the claim is red, by its own assertion and nothing else."""
    try:
        check_fast_is_explicit(rule)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("how", MUTATIONS)
@pytest.mark.parametrize("rule", BENT, ids=repr)
def test_a_mutated_rule_is_noticed(rule, how):
    assert is_noticed(mutant(rule, MUTATIONS[how]))


@pytest.mark.parametrize("rule", [*rules.ALL, *VARIANTS], ids=repr)
def test_without_a_mutation_nothing_is_noticed(rule):
    assert not is_noticed(mutant(rule, lambda y: y)) and not is_noticed(replace(rule))


# --- likely mistakes -------------------------------------------------------------------------------------------------


def plain(x, *bounds, weight, bias=None, apply=F.linear, **options):
    return apply(x, weight, bias)


def zplus_of_positive_inputs(x, *, weight, bias=None, apply=F.linear):
    """x- W- forgotten."""
    z, P = apply(x, weight, bias), apply(x.clamp(min=0), weight.clamp(min=0), None if bias is None else bias.clamp(min=0))
    return route(z, scale(P, z.detach() / P.detach().masked_fill(P == 0, torch.inf)))


def gamma_by_one_sign(x, *, weight, bias=None, gamma=0.25, apply=F.linear, eps=0.0):
    """The pass for positive outputs, whatever the sign."""
    z = apply(x, weight, bias)
    up, down = weight + gamma * weight.clamp(min=0), weight + gamma * weight.clamp(max=0)
    bent = apply(x.clamp(min=0), up, None if bias is None else bias + gamma * bias.clamp(min=0)) + apply(x.clamp(max=0), down, None)
    return route(z, scale(bent, z.detach() / bent.detach().masked_fill(bent == 0, torch.inf)))


def frozen_mean(x, *, weight=None, bias=None, eps=1e-5, normalized_shape=None):
    shape = weight.shape if weight is not None else normalized_shape
    y = rules.layer_norm.forward(x, weight=weight, bias=bias, eps=eps, normalized_shape=shape)
    dims = tuple(range(-len(shape), 0))
    std = (x.detach().var(dims, correction=0, keepdim=True) + eps).sqrt()
    return route(y, x / std * (1 if weight is None else weight))


def whole_norm(norm):
    def forward(x, *, weight=None, bias=None, eps=1e-5, normalized_shape=None):
        y = norm(x, tuple(weight.shape if weight is not None else normalized_shape), weight=weight, eps=eps)
        return y if bias is None else y + bias

    return forward


def halved_rest(x, *tables, turn="half"):
    """The coordinates that do not turn are halved as well."""
    y, width = rules.rotary.forward(x, *tables, turn=turn), tables[0].shape[-1]
    return torch.cat((y[..., :width], scale(y[..., width:], 1 / 2)), -1)


def picked(q, table, rows):
    return (q @ table.T).gather(-1, rows.expand(*q.shape[:-1], -1))


def multiplied(x, *, dim=-1, mask=None):
    """Weights multiplied after the softmax in place of scores hidden before it."""
    return x.softmax(dim) if mask is None else x.softmax(dim) * mask


MISTAKES = {
    "constant, not detached": (rules.constant, lambda x: x),
    "epsilon without its eps": (rules.epsilon, plain),
    "gamma forgotten": (rules.gamma, plain),
    "gamma by one sign": (rules.gamma, gamma_by_one_sign),
    "alpha and beta swapped": (rules.alpha_beta, lambda x, **c: rules.alpha_beta.forward(x, **{**c, "alpha": -1, "beta": -2})),
    "zplus of positive inputs": (rules.zplus, zplus_of_positive_inputs),
    "zbox without bounds": (rules.zbox, plain),
    "zbox, bounds swapped": (rules.zbox, lambda x, low, high, **c: rules.zbox.forward(x, high, low, **c)),
    "uniform, everything to each": (rules.uniform, lambda *f, n=None, **c: rules.uniform.forward(*f, n=1, **c)),
    "uniform, always two": (rules.uniform, lambda *f, n=None, **c: rules.uniform.forward(*f, n=2, **c)),
    "division, divisor not frozen": (rules.division, torch.div),
    "identity by the tangent": (rules.identity, lambda x, f, slope=None: f(x)),
    "softmax frozen inside": (rules.softmax, lambda x, dim=-1, mask=None: route(x.softmax(dim), x * freeze(x.softmax(dim)))),
    "softmax, masked after": (rules.softmax, multiplied),
    "rms norm, not frozen": (rules.rms_norm, whole_norm(F.rms_norm)),
    "layer norm, not frozen": (rules.layer_norm, whole_norm(F.layer_norm)),
    "layer norm, mean frozen": (rules.layer_norm, frozen_mean),
    "reslrp forgotten": (rules.reslrp, lambda a, b, gamma=1: a + b),
    "reslrp favours the loser": (rules.reslrp, lambda a, b, gamma=1: rules.reslrp.forward(a, b, gamma=1 / (1 + gamma) - 1)),
    "learnable, table frozen": (rules.learnable, lambda E, table, positions: E + freeze(table)[positions]),
    "absolute, positions frozen": (rules.absolute, lambda E, P: E + freeze(P)),
    "rotary, the rest halved": (rules.rotary, halved_rest),
    "rotary, pairs of the other kind": (rules.rotary, lambda x, *t, turn="half": rules.rotary.forward(x, *t, turn="interleaved")),
    "relative bias, bias frozen": (rules.relative_bias, lambda s, bias: s + freeze(bias)),
    "alibi, bias frozen": (rules.alibi, lambda s, bias: s + freeze(bias)),
    "modulation, all to each": (rules.modulation, torch.mul),
    "modulation, all to the token": (rules.modulation, lambda x, m: x * freeze(m)),
    "decay, all to each": (rules.decay, torch.mul),
    "decay, all to the score": (rules.decay, lambda s, decay: s * freeze(decay)),
    "joined, places frozen": (rules.joined, lambda E, P: rules.joined.forward(E, freeze(P))),
    "relative embedding, all to each": (rules.relative_embedding, picked),
    "relative embedding, all to the query": (rules.relative_embedding, lambda q, t, rows: picked(q, freeze(t), rows)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_likely_mistake_is_noticed(mistake):
    rule, forward = MISTAKES[mistake]
    assert is_noticed(replace(rule, forward=forward))


@pytest.mark.parametrize("who", ["q", "k", "v", "bias"])
@pytest.mark.parametrize("wrong", [1 / 2, 0, 2, 1.01])
def test_a_wrong_factor_of_fused_attention_is_noticed(monkeypatch, who, wrong):
    """The factors are not seen by the ledger; they are by this."""
    page = sys.modules["pelrp_nb.rules.attention"]
    right = page.factors
    monkeypatch.setattr(page, "factors", lambda *carries: right(*carries)._replace(**{who: getattr(right(*carries), who) * wrong}))
    assert is_noticed(rules.attention)
