"""The textbook's claims: fast is explicit, each rule conserves what its docstring says, values are the plain ones."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from claims import ACTIVATIONS, CASES, Sizes, cases, check_fast_is_explicit, fast, normal
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keepers import KEEPS
from torch import Tensor
from torch.nn import functional as F

from pelrp_nb import rules
from pelrp_nb.errors import InputError
from pelrp_nb.rules import Rule
from pelrp_nb.rules.identity import SLOPES
from pelrp_nb.verbs import stabilise

VARIANTS: tuple[Rule, ...] = (
    rules.epsilon(0.3), rules.gamma(0.05), rules.gamma(100), rules.gamma(0.1, eps=0.2),
    rules.alpha_beta(1), rules.alpha_beta(3, beta=2), rules.reslrp(0.3), rules.rotary("interleaved"),
    rules.attention(softmax_constant=True),
)  # fmt: skip
EVERY = (*rules.ALL, *VARIANTS)
every_rule = pytest.mark.parametrize("rule", EVERY, ids=repr)
MAPS = tuple(rule for rule in EVERY if rule.name in ("gamma", "alpha_beta", "zplus", "zbox") or rule == rules.epsilon)
sizes = st.builds(Sizes, batch=st.integers(1, 3), tokens=st.integers(1, 5), width=st.integers(1, 5), out=st.integers(1, 4))


# --- fast is explicit ------------------------------------------------------------------------------------------------


@every_rule
def test_fast_is_explicit(rule):
    for seed in range(3):
        check_fast_is_explicit(rule, seed)


@every_rule
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), sizes=sizes)
def test_fast_is_explicit_for_any_shape(rule, seed, sizes):
    check_fast_is_explicit(rule, seed, sizes)


@pytest.mark.parametrize("rule", MAPS, ids=repr)
@pytest.mark.parametrize("more", [{}, {"stride": 2, "padding": 1}], ids=["plain", "strided"])
def test_a_convolution_is_a_linear_map(rule, more):
    """The same fast form with `apply` = a convolution, against the definition on the convolution's matrix."""
    rng = torch.Generator().manual_seed(3)
    x, weight, bias = normal(rng, 2, 2, 5, 4), normal(rng, 3, 2, 3, 2), normal(rng, 3)
    apply = partial(F.conv2d, **more)
    y = apply(x, weight, bias)
    R = y * normal(rng, *y.shape)
    dense = apply(torch.eye(40, dtype=x.dtype).view(40, 2, 5, 4), weight).flatten(1).T
    bounds = (torch.full_like(x, -4), torch.full_like(x, 4)) if rule == rules.zbox else ()
    inputs = (x, *bounds)
    ours = fast(rule, R, inputs, {"weight": weight, "bias": bias, "apply": apply})
    b = bias[:, None, None].expand(y.shape[1:]).flatten()
    theirs = rule.relevance(R.flatten(1), *(i.flatten(1) for i in inputs), weight=dense, bias=b)
    for a, e in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.flatten(1), e)


# --- conservation ----------------------------------------------------------------------------------------------------


@every_rule
def test_conserves_what_its_docstring_says(rule):
    """All that comes in goes out, but for what the rule keeps; it keeps something in some case exactly if its page says so."""
    assert (rule.conserves == "all") == (rule.name not in KEEPS)
    keeps_some = False
    for seed in range(3):
        for R, inputs, constants in (rule.example(torch.Generator().manual_seed(seed)), *cases(rule, seed)):
            paid = rule.relevance(R, *inputs, **constants)
            keeps = KEEPS[rule.name](rule, R, inputs, constants).sum() if rule.name in KEEPS else torch.zeros(())
            amount = float(R.abs().sum() + sum(p.abs().sum() for p in paid))
            assert abs(sum(p.sum() for p in paid) + keeps - R.sum()) <= 1e-11 * amount
            keeps_some |= abs(float(keeps)) > 1e-3 * amount
    assert keeps_some == (rule.name in KEEPS)


amounts = st.integers(-(10**6), 10**6).map(lambda n: n / 1e5)


@settings(max_examples=200)
@given(a=amounts, b=amounts, R=amounts, gamma=st.floats(0.01, 100), nearly=st.sampled_from([0, 1e-3, 1e-12]))
@example(a=1e-5, b=-1e-5, R=1e-5, gamma=1.0, nearly=0)
def test_reslrp_bounds_what_cancelling_branches_receive(a, b, R, gamma, nearly):
    a, b, R = (torch.tensor([v], dtype=torch.float64) for v in (a, -a * (1 + nearly) if nearly else b, R))
    R_a, R_b = rules.reslrp.relevance(R, a, b, gamma=gamma)
    assert R_a.abs() + R_b.abs() <= (1 + 2 / gamma) * R.abs() * (1 + 1e-9)


def test_a_plain_residual_has_no_such_bound():
    a, b, R = (torch.tensor([v], dtype=torch.float64) for v in (1.0, -1.0 + 1e-6, 1.0))
    assert sum(r.abs() for r in rules.residual.relevance(R, a, b)) > 1e6
    assert sum(r.abs() for r in rules.reslrp.relevance(R, a, b)) <= 3


# --- values, precision, limits ---------------------------------------------------------------------------------------

PLAIN = {
    "epsilon": lambda x, weight, bias=None, **_: F.linear(x, weight, bias),
    "uniform": lambda *f, multiply, n=None: torch.einsum(multiply, *f),
    "division": torch.div, "identity": lambda x, f, slope=None: f(x), "residual": torch.add, "reslrp": torch.add,
    "softmax": lambda x, dim=-1, mask=None: (x if mask is None else x.masked_fill(~mask, -torch.inf)).softmax(dim),
    "logsumexp": lambda x: x.logsumexp(-1), "log_softmax": lambda x, dim=-1: x.log_softmax(dim),
    "constant": lambda x: x, "absolute": torch.add, "relative_bias": torch.add, "alibi": torch.add,
    "learnable": lambda E, table, positions: E + table[positions], "modulation": torch.mul, "decay": torch.mul,
    "joined": lambda E, P: torch.cat((E, P.expand(*E.shape[:-1], -1)), -1),
    "relative_embedding": lambda q, table, rows: (q @ table.T).gather(-1, rows.expand(*q.shape[:-1], -1)),
}  # fmt: skip
PLAIN |= dict.fromkeys(("gamma", "alpha_beta", "zplus"), PLAIN["epsilon"])
PLAIN["zbox"] = lambda x, low, high, weight, bias: F.linear(x, weight, bias)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rule", [r for r in EVERY if r.name in PLAIN], ids=repr)
def test_the_value_is_the_plain_value_to_the_bit(rule, dtype):
    for _, inputs, constants in cases(rule):
        inputs, constants = cast(inputs, dtype), {k: cast(v, dtype) for k, v in constants.items()}
        y = rule.forward(*(x.requires_grad_() for x in inputs), **constants)
        assert y.dtype == dtype and torch.equal(y, PLAIN[rule.name](*inputs, **constants))


def cast(x, dtype):
    if isinstance(x, tuple):
        return tuple(cast(v, dtype) for v in x)
    if not isinstance(x, Tensor) or x.dtype not in (torch.float64, torch.complex128):
        return x
    return x.to(torch.complex64 if x.is_complex() else dtype)


@every_rule
def test_single_precision_is_double_precision_rounded(rule):
    for R, inputs, constants in cases(rule, seed=1):
        g = R / stabilise(rule.forward(*inputs, **constants))
        single = [cast(x, torch.float32) for x in inputs], {k: cast(v, torch.float32) for k, v in constants.items()}
        y = rule.forward(*single[0], **single[1])
        assert y.dtype == torch.float32
        for ours, theirs in zip(fast(rule, y * g.float(), *single), fast(rule, R, inputs, constants), strict=True):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max() + 1e-9))


@pytest.mark.parametrize("name", SLOPES)
def test_a_closed_slope_is_the_quotient_and_its_limit_at_zero(name):
    """At 0 relevance is 0 whatever the slope; what goes on from there is not."""
    x = torch.tensor([-30, -3, -0.5, -1e-3, 0, 1e-3, 0.5, 3, 30], dtype=torch.float64, requires_grad=True)
    bent = (rules.identity.forward(x, f=ACTIVATIONS[name], slope=slope) for slope in (SLOPES[name], None))
    closed, quotient = (torch.autograd.grad(y.sum(), x)[0] for y in bent)
    torch.testing.assert_close(closed, quotient)
    (limit,) = torch.autograd.grad(ACTIVATIONS[name](x).sum(), x)
    torch.testing.assert_close(closed[4], limit[4])


@pytest.mark.parametrize(
    ("variant", "limit"),
    [(rules.gamma(0), rules.epsilon), (rules.alpha_beta(1), rules.zplus), (rules.reslrp(0), rules.residual)],
    ids=repr,
)
def test_variants_meet_in_their_limits(variant, limit):
    for rule in (variant, limit):
        R, inputs, constants = rule.example(torch.Generator().manual_seed(0))
        constants = {k: v for k, v in constants.items() if k != "eps"}
        torch.testing.assert_close(variant.relevance(R, *inputs, **constants), limit.relevance(R, *inputs, **constants))


def test_with_a_large_gamma_a_positive_output_is_paid_by_zplus():
    R, (x,), constants = rules.gamma.example(torch.Generator().manual_seed(0))
    R = R * (F.linear(x, **constants) > 0)
    torch.testing.assert_close(rules.gamma(1e9).relevance(R, x, **constants), rules.zplus.relevance(R, x, **constants))


def test_alpha_minus_beta_must_be_one():
    R, inputs, constants = rules.alpha_beta.example(torch.Generator().manual_seed(0))
    wrong = rules.alpha_beta(alpha=2, beta=2)
    for call in (partial(wrong.relevance, R), wrong.forward):
        with pytest.raises(InputError, match="alpha - beta must be 1"):
            call(*inputs, **constants)


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules.ALL, ids=rules.name)
def test_a_page_is_short_and_ends_in_its_rule(rule):
    page = Path(rules.__file__).parent / f"{rule.name}.py"
    lines = page.read_text().splitlines()
    assert len(lines) < 110 and lines[-1].startswith(f"{rule.name} = Rule(") and rule.page.endswith(f".{rule.name}")
    assert rule.sentence.endswith(".") and rule.paper and rule.conserves and CASES[rule.name]
    assert rules.by_name(rule.name) is rule


def test_the_table_has_a_row_for_every_rule_in_reading_order():
    head, line, *rows = rules.table().splitlines()
    assert [row.split("`")[1] for row in rows] == [rule.name for rule in rules.ALL]
    assert {row.count("|") for row in (head, line, *rows)} == {5}


@every_rule
def test_a_rule_is_a_value(rule):
    assert pickle.loads(pickle.dumps(rule)) == rule == copy.deepcopy(rule) and hash(rule) == hash(copy.copy(rule))
    assert eval(repr(rule), vars(rules)) == rule


def _doubled(R, x):
    return (2 * R,)


def test_a_pickle_holds_a_rule_and_not_its_name():
    own = replace(rules.uniform, name="mine", relevance=_doubled)
    again = pickle.loads(pickle.dumps(own))
    assert again == own and again.relevance is _doubled and again.forward is rules.uniform.forward
    half = pickle.loads(pickle.dumps(rules.gamma(0.5)))
    assert half == rules.gamma(0.5) and half.forward.keywords == {"gamma": 0.5}


@every_rule
def test_a_pickle_of_version_0_1_gave_the_page(rule):
    assert rules._rule._restore(rule.name, rule.options) == rule


def test_a_misspelt_option_or_name_is_an_error():
    with pytest.raises(TypeError, match="gamma has no option 'gama'"):
        rules.gamma(gama=1)
    with pytest.raises(TypeError, match="softmax takes no bare option"):
        rules.softmax(1)
    with pytest.raises(InputError, match="no rule is called 'beta'; there are epsilon, gamma"):
        rules.by_name("beta")
