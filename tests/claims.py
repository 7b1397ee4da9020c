"""Two claims about a rule, as functions: its fast form is its definition, and it conserves what its docstring says.

Every rule is put to them on its `example` and on `CASES`, small inputs of any size.  In the cases R = y g with a random g, since
R / y would be 0 / 0 where y = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pelrp_nb.rules import Rule
from pelrp_nb.rules.absolute import sinusoids
from pelrp_nb.rules.alibi import penalty
from pelrp_nb.rules.decay import retention
from pelrp_nb.rules.identity import SLOPES
from pelrp_nb.rules.relative_bias import by_distance
from pelrp_nb.rules.relative_embedding import rows_by_distance
from pelrp_nb.rules.rotary import angles
from pelrp_nb.verbs import input_times_gradient


class Sizes(NamedTuple):
    """How large a case is."""

    batch: int = 2
    tokens: int = 4
    width: int = 3
    out: int = 2


USUAL = Sizes()
Case = tuple[tuple[Tensor, ...], dict[str, Any]]  # inputs, constants
Draw = Callable[[Generator, Sizes], Case]


def normal(rng: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


# --- linear maps -----------------------------------------------------------------------------------------------------


def linear(rng: Generator, n: Sizes, bias: bool = True, dead: bool = False, **more: Any) -> Case:
    """A signed linear map; `dead`: inputs after a ReLU, the first row all zero, the weights of one sign."""
    x, weight = normal(rng, n.batch, n.tokens, n.width), normal(rng, n.out, n.width)
    if dead:
        x, weight = x.relu(), weight.abs()
        x[0, 0] = 0
    return (x,), {"weight": weight, "bias": normal(rng, n.out) if bias else None, **more}


def pixels(rng: Generator, n: Sizes, dark: bool = False) -> Case:
    """Pixels between two bounds, per pixel; `dark`: one image sits on its lower bound under a positive weight."""
    low, high = -1 - normal(rng, n.width).abs(), 1 + normal(rng, n.width).abs()
    x = low + (high - low) * torch.rand(n.batch, n.width, generator=rng, dtype=torch.float64)
    weight = normal(rng, n.out, n.width)
    if dark:
        x[0], weight[0] = low, weight[0].abs()
        low, high = low.expand_as(x), high.expand_as(x)
    return (x, low, high), {"weight": weight, "bias": normal(rng, n.out)}


# --- activations and norms -------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "silu": F.silu, "gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"), "mish": F.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "elu": F.elu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "exp": torch.exp, "cos": torch.cos, "sin": torch.sin,
}  # fmt: skip


def activation(rng: Generator, n: Sizes, name: str, closed: bool) -> Case:
    """An activation, at zero as well; by its closed slope or by the quotient."""
    x = normal(rng, n.tokens, n.width)
    x[0, 0] = 0
    return (x,), {"f": ACTIVATIONS[name], "slope": SLOPES[name] if closed else None}


def norm(rng: Generator, n: Sizes, dims: int = 1, weight: bool = True, bias: bool = True) -> Case:
    """A norm over the last one or two dimensions."""
    shape = (n.tokens, n.width + 1)[-dims:]
    constants = {"weight": normal(rng, *shape) if weight else None, "bias": normal(rng, *shape) if bias else None}
    return (normal(rng, n.batch, n.tokens, n.width + 1),), constants if weight or bias else {"normalized_shape": shape}


# --- products, softmax, attention ------------------------------------------------------------------------------------


def causal(tokens: int) -> Tensor:
    return torch.ones(tokens, tokens, dtype=torch.bool).tril()


def quotient(rng: Generator, n: Sizes) -> Case:
    return (normal(rng, n.tokens, n.width), normal(rng, n.batch, n.tokens, 1)), {}


def factors(rng: Generator, sizes: Sizes, multiply: str, **more: Any) -> Case:
    """Factors of a product; every letter has a size."""
    size = {"b": sizes.batch, "t": sizes.tokens, "s": sizes.tokens + 1, "i": sizes.width, "o": sizes.out}
    terms = multiply.split("->")[0].split(",")
    return tuple(normal(rng, *(size[letter] for letter in term)) for term in terms), {"multiply": multiply, **more}


def scores(rng: Generator, n: Sizes, dim: int, mask: bool) -> Case:
    return (normal(rng, n.batch, n.tokens, n.tokens),), {"dim": dim, "mask": causal(n.tokens) if mask else None}


def answers(rng: Generator, n: Sizes, **more: Any) -> Case:
    return (normal(rng, n.batch, n.tokens + 1, n.width + 1),), more


def heads(rng: Generator, n: Sizes, bias: bool = False, mask: str | None = None, groups: int = 1, **more: Any) -> Case:
    """q, k, v and a bias for 2 query heads; `mask` is "bool" (True where visible) or "inf" (added)."""
    q = normal(rng, n.batch, 2, n.tokens, n.width)
    k, v = (normal(rng, n.batch, 2 // groups, n.tokens, n.width) for _ in range(2))
    seen = causal(n.tokens)
    if mask == "inf":
        seen = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)
    constants = {"mask": seen if mask else None, **more}
    return (q, k, v, normal(rng, 2, n.tokens, n.tokens)) if bias else (q, k, v), constants


def weighed(rng: Generator, n: Sizes, mask: bool) -> Case:
    """Values of two heads, and what a bias changed of their weights."""
    s, bias = (normal(rng, n.batch, 2, n.tokens, n.tokens) for _ in range(2))
    hidden = ~causal(n.tokens) & mask
    still, A = (scores.masked_fill(hidden, -torch.inf).softmax(-1) for scores in (s, s + bias))
    return (normal(rng, n.batch, 2, n.tokens, n.width), A - still), {"still": still}


# --- sums and positions ----------------------------------------------------------------------------------------------


def branches(rng: Generator, n: Sizes) -> Case:
    return (normal(rng, n.batch, n.tokens, n.width), normal(rng, n.batch, n.tokens, n.width)), {}


def encoded(rng: Generator, n: Sizes) -> Case:
    return (normal(rng, n.batch, n.tokens, 2 * n.width), sinusoids(n.tokens, 2 * n.width, dtype=torch.float64)), {}


def looked_up(rng: Generator, n: Sizes, batched: bool) -> Case:
    shape = (n.batch, n.tokens) if batched else (n.tokens,)
    rows = torch.randint(0, n.tokens + 1, shape, generator=rng)
    return (normal(rng, n.batch, n.tokens, n.width), normal(rng, n.tokens + 1, n.width)), {"positions": rows}


def rotated(rng: Generator, n: Sizes, turn: str = "half", rest: int = 0, first: int = 0) -> Case:
    """Heads of queries and the tables of their positions; `rest` coordinates do not turn."""
    positions = torch.arange(first, first + n.tokens)
    x = normal(rng, n.batch, 2, n.tokens, 2 * n.width + rest)
    cos, sin = angles(positions, 2 * n.width, turn="half" if turn == "half" else "interleaved")
    if turn == "complex":
        return (x, torch.complex(cos[..., ::2], sin[..., ::2]).contiguous()), {}
    tables = (t.expand(n.batch, 1, *t.shape) for t in (cos, sin)) if first else (cos, sin)
    return (x, *tables), {"turn": turn}


def by_pair(rng: Generator, n: Sizes, alibi: bool) -> Case:
    bias = penalty(2, n.tokens, n.tokens + 1, dtype=torch.float64)
    bias = bias if alibi else by_distance(normal(rng, 5, 2), n.tokens, n.tokens + 1)
    return (normal(rng, n.batch, 2, n.tokens, n.tokens + 1), bias), {}


def modulated(rng: Generator, n: Sizes, width: int | None = None, zero: bool = False) -> Case:
    """Tokens times what belongs to their places, one number for all coordinates with width=1; `zero`: one place is 0."""
    m = normal(rng, n.tokens, width or n.width)
    m[0] = 0 if zero else m[0]
    return (normal(rng, n.batch, n.tokens, n.width), m), {}


def decayed(rng: Generator, n: Sizes, more: int = 1) -> Case:
    """Scores of two heads and their decay; `more` keys than queries, 0 where they come later."""
    return (normal(rng, n.batch, 2, n.tokens, n.tokens + more), retention(2, n.tokens, n.tokens + more, dtype=torch.float64)), {}


def beside(rng: Generator, n: Sizes, shared: bool = True) -> Case:
    return (normal(rng, n.batch, n.tokens, n.width), normal(rng, *(() if shared else (n.batch,)), n.tokens, n.out)), {}


def by_distance_in_products(rng: Generator, n: Sizes, distances: int = 5) -> Case:
    """Queries of two heads and a table of fewer or more distances than there are."""
    rows = rows_by_distance(n.tokens, n.tokens + 1, distances)
    return (normal(rng, n.batch, 2, n.tokens, n.width), normal(rng, distances, n.width)), {"rows": rows}


# --- which cases a rule is put to ------------------------------------------------------------------------------------

MAPS = (linear, partial(linear, bias=False), partial(linear, dead=True))
NORMS = tuple(partial(norm, **k) for k in ({}, {"dims": 2}, {"bias": False}, {"weight": False, "bias": False, "dims": 2}))
ATTENTIONS = (
    {"bias": True, "mask": "bool"}, {"bias": True, "mask": "inf"}, {"is_causal": True},
    {"groups": 2, "enable_gqa": True, "scale": 0.3}, {"softmax_constant": True}, {"bias": True, "softmax_constant": True},
    {"carries": (False, False, True, False)}, {"carries": (True, False, False, False), "mask": "bool"},
)  # fmt: skip
CASES: dict[str, tuple[Draw, ...]] = {
    "epsilon": (*MAPS, partial(linear, eps=0.1)),
    "gamma": (*MAPS, partial(linear, eps=0.1)),
    "alpha_beta": MAPS,
    "zplus": MAPS,
    "zbox": (pixels, partial(pixels, dark=True)),
    "uniform": (
        partial(factors, multiply="bti,bsi->bts"), partial(factors, multiply="bti,ti,i->bt"), partial(factors, multiply="ti->t"),
        partial(factors, multiply="ti,ti->ti"), partial(factors, multiply="bts,bsi,o->btio", n=3),
    ),
    "division": (quotient,),
    "identity": tuple(partial(activation, name=k, closed=c) for k in ACTIVATIONS for c in (False, True) if k in SLOPES or not c),
    "softmax": tuple(partial(scores, dim=d, mask=m) for d, m in ((-1, True), (-1, False), (1, False))),
    "logsumexp": (answers,),
    "log_softmax": (answers, partial(answers, dim=1)),
    "rms_norm": NORMS,
    "layer_norm": NORMS,
    "residual": (branches,),
    "reslrp": (branches,),
    "constant": (lambda rng, n: ((normal(rng, n.tokens, n.width),), {}),),
    "attention": tuple(partial(heads, **k) for k in ATTENTIONS),
    "delta": (partial(weighed, mask=True), partial(weighed, mask=False)),
    "absolute": (encoded,),
    "learnable": (partial(looked_up, batched=False), partial(looked_up, batched=True)),
    "rotary": (
        rotated, partial(rotated, first=3), partial(rotated, rest=2), partial(rotated, turn="interleaved"),
        partial(rotated, turn="complex"), partial(rotated, turn="complex", rest=2),
    ),
    "relative_bias": (partial(by_pair, alibi=False),),
    "alibi": (partial(by_pair, alibi=True),),
    "modulation": (modulated, partial(modulated, width=1), partial(modulated, zero=True)),
    "joined": (beside, partial(beside, shared=False)),
    "relative_embedding": (by_distance_in_products, partial(by_distance_in_products, distances=11)),
    "decay": (decayed, partial(decayed, more=0)),
}  # fmt: skip


def cases(rule: Rule, seed: int = 0, sizes: Sizes = USUAL) -> Iterator[tuple[Tensor, tuple[Tensor, ...], dict[str, Any]]]:
    """R, inputs and constants of every case of a rule, the options of a variant left to the variant."""
    for draw in CASES[rule.name]:
        rng = torch.Generator().manual_seed(seed)
        inputs, constants = draw(rng, sizes)
        constants = {k: v for k, v in constants.items() if k not in dict(rule.options)}
        y = rule.forward(*inputs, **constants)
        yield y * normal(rng, *y.shape), inputs, constants


# --- the claims ------------------------------------------------------------------------------------------------------


def fast(rule: Rule, R: Tensor, inputs: tuple[Tensor, ...], constants: dict[str, Any]) -> tuple[Tensor, ...]:
    """Input times bent gradient; zeros where the output depends on no input."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    if not rule.forward(*leaves, **constants).requires_grad:
        return tuple(torch.zeros_like(x.real if x.is_complex() else x) for x in inputs)
    return input_times_gradient(lambda *xs: rule.forward(*xs, **constants), R, *inputs)


def check_fast_is_explicit(rule: Rule, seed: int = 0, sizes: Sizes = USUAL) -> None:
    """The bent gradient pays every input what the definition pays, on the example and on every case; AssertionError if not."""
    for R, inputs, constants in (rule.example(torch.Generator().manual_seed(seed)), *cases(rule, seed, sizes)):
        explicit = rule.relevance(R, *inputs, **constants)
        for ours, theirs in zip(fast(rule, R, inputs, constants), explicit, strict=True):
            largest = max(float(theirs.abs().max()), 1e-3 * float(R.abs().max()))
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9 * largest)
