"""Lab 09: a whole transformer walked back by hand, then the bent gradient, then the page that does it for any model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear, silu

from ...rules import epsilon, identity, rms_norm, uniform
from ...rules.rotary import angles, turned
from ...verbs import freeze, input_times_gradient, scale
from ..exercise import Case, Exercise, Mistake, normal


def _maps(rng: Generator) -> Iterator[Case]:
    for label, batch in (("one vector", (1,)), ("three vectors", (3,))):
        yield label, tuple(normal(rng, (*batch, 2), (*batch, 4), (2, 4)))
    yield "one output", tuple(normal(rng, (2, 1), (2, 3), (1, 3)))


def _by_gradient(R: Tensor, x: Tensor, W: Tensor) -> Tensor:
    return input_times_gradient(lambda x: linear(x, W), R, x)[0]


def _networks(rng: Generator) -> Iterator[Case]:
    for label, batch in (("one vector", (1,)), ("three vectors", (3,)), ("a batch of sentences", (2, 3))):
        yield label, tuple(normal(rng, (*batch, 2), (*batch, 4), (5, 4), (2, 5)))


def _walk(R: Tensor, x: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    z = linear(x, W1)
    (R_h,) = epsilon.relevance(R, silu(z), weight=W2)
    (R_z,) = identity.relevance(R_h, z, f=silu)
    return epsilon.relevance(R_z, x, weight=W1)[0]


def _plain(R: Tensor, x: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    return input_times_gradient(lambda x: linear(silu(linear(x, W1)), W2), R, x)[0]


def _no_activation(R: Tensor, x: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    (R_h,) = epsilon.relevance(R, linear(x, W1), weight=W2)
    return epsilon.relevance(R_h, x, weight=W1)[0]


def _bent(x: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    return linear(identity.forward(linear(x, W1), f=silu), W2)


def _products(rng: Generator) -> Iterator[Case]:
    for label, heads in (("two matrices", ()), ("two heads", (2,))):
        yield label, tuple(normal(rng, (*heads, 3, 2), (*heads, 3, 4), (*heads, 4, 2)))
    yield "one number", tuple(normal(rng, (1, 1), (1, 3), (3, 1)))


def _half(a: Tensor, b: Tensor) -> Tensor:
    return uniform.forward(a, b, multiply=torch.matmul)


def _blocks(rng: Generator) -> Iterator[Case]:
    for label, tokens, width, key_heads, inner in (("three tokens", 3, 8, 1, 6), ("five tokens", 5, 8, 2, 4), ("one token", 1, 4, 1, 3)):
        head = 4
        shapes = [(width,), (width, width), (key_heads * head, width), (key_heads * head, width), (width, width), (width,)]
        shapes += [(inner, width), (inner, width), (width, inner)]
        R, x, *weights = normal(rng, (tokens, width), (tokens, width), *shapes)
        yield label, (R, x, *angles(torch.arange(tokens), head), weights)


def _block(
    x: Tensor, cos: Tensor, sin: Tensor, weights: list[Tensor], product: float = 0.5, gate: float = 0.5, still: bool = True,
    causal: bool = True,
) -> Tensor:  # fmt: skip
    """One block of Llama, bent; with what is amiss in it."""
    before, Wq, Wk, Wv, Wo, after, Wg, Wu, Wd = weights
    norm = partial(rms_norm.forward, eps=1e-6) if still else _moving
    heads = [linear(norm(x, weight=before), W).unflatten(-1, (-1, cos.shape[-1])).transpose(0, 1) for W in (Wq, Wk, Wv)]
    q, k, v = (y.repeat_interleave(len(heads[0]) // len(y), 0) for y in heads)
    q, k = (y * cos + turned(y) * sin for y in (q, k))
    s = scale(q @ k.mT, product) / cos.shape[-1] ** 0.5
    hidden = torch.ones(len(x), len(x), dtype=torch.bool).triu(1) if causal else torch.zeros(len(x), len(x), dtype=torch.bool)
    A = s.masked_fill(hidden, -torch.inf).softmax(-1)
    x = x + linear(scale(A @ v, product).transpose(0, 1).flatten(1), Wo)
    n = norm(x, weight=after)
    return x + linear(scale(identity.forward(linear(n, Wg), f=silu) * linear(n, Wu), gate), Wd)


def _moving(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


EXERCISES = (
    Exercise(
        "by-gradient",
        "09",
        "by_gradient",
        _by_gradient,
        _maps,
        (
            Mistake("input forgotten", "This is the gradient alone. Multiply by x.", lambda R, x, W: _by_gradient(R, x, W) / x),
            Mistake(
                "R instead of R / y",
                "The gradient at the output must start with R / y, so that y times it is R.",
                lambda R, x, W: x * (R @ W),
            ),
            Mistake(
                "started with ones",
                "This starts with ones at the output: the relevance R is not used.",
                lambda R, x, W: x * W.sum(0),
            ),
            Mistake("sign", "The sign is the wrong way round.", lambda R, x, W: -_by_gradient(R, x, W)),
        ),
        (
            "The promise: at every tensor R = value times gradient. What is the gradient at y?",
            "Let the backward pass begin with R / y instead of ones; what comes to x is multiplied by x.",
        ),
        keeper="nobody",
    ),
    Exercise(
        "walk",
        "09",
        "walk",
        _walk,
        _networks,
        (
            Mistake("the plain gradient", "This is the ordinary gradient: SiLU's tangent stood in for f(x) / x.", _plain),
            Mistake("activation left out", "The shares of the second layer were made with z; its input is silu(z).", _no_activation),
            Mistake(
                "halved at the activation",
                "Half was lost at the activation. One input, one output: all is handed on.",
                lambda R, x, W1, W2: _walk(R, x, W1, W2) / 2,
            ),
            Mistake("sign", "The sign is the wrong way round.", lambda R, x, W1, W2: -_walk(R, x, W1, W2)),
        ),
        (
            "Backwards: second linear map, activation, first linear map.",
            "Backwards: the second layer pays h, the activation hands it on as it is, the first layer pays x, each by its own total.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "bent",
        "09",
        "bent",
        _bent,
        _networks,
        (
            Mistake(
                "not bent",
                "The value is right, the gradient is the ordinary one: SiLU's tangent. Bend it to f(x) / x.",
                lambda x, W1, W2: linear(silu(linear(x, W1)), W2),
            ),
            Mistake(
                "frozen activation",
                "The activation was frozen: nothing comes back through it.",
                lambda x, W1, W2: linear(freeze(silu(linear(x, W1))), W2) + 0 * x.sum(),
            ),
            Mistake(
                "halved",
                "Half is lost: an activation is not a product of two carriers.",
                lambda x, W1, W2: linear(scale(identity.forward(linear(x, W1), f=silu), 0.5), W2),
            ),
            Mistake(
                "activation left out",
                "The value has changed: the activation is missing in the forward pass.",
                lambda x, W1, W2: linear(linear(x, W1), W2),
            ),
        ),
        (
            "silu(z) = z * sigmoid(z). Which factor must not move?",
            "silu(z) is z times a factor. Freeze the factor, so that z carries alone; then the second layer.",
        ),
        kind="gradient",
        points=2,
    ),
    Exercise(
        "half",
        "09",
        "half",
        _half,
        _products,
        (
            Mistake(
                "forgotten half",
                "The value is right, and each factor still gets all: together they would be paid twice.",
                torch.matmul,
            ),
            Mistake("value halved", "The value was halved as well. Only the gradient may change.", lambda a, b: a @ b / 2),
            Mistake(
                "a factor frozen",
                "The first factor was frozen: it gets nothing. Both shall get half.",
                lambda a, b: freeze(a) @ b + 0 * a.sum(),
            ),
            Mistake(
                "halved twice",
                "A quarter came back. Halve the product once, not each factor and the product.",
                lambda a, b: scale(a @ b, 1 / 4),
            ),
        ),
        (
            "Two terms that add up to the product. Through one of them the gradient goes back, through the other it does not.",
            "The value stays that of the product: half of it alive, half of it frozen.",
        ),
        kind="gradients",
    ),
    Exercise(
        "block",
        "09",
        "block",
        _block,
        _blocks,
        (
            Mistake(
                "products not halved",
                "The value is right. In q k and in A v both factors carry, so each gets half: `half(a, b)`.",
                partial(_block, product=1.0),
            ),
            Mistake(
                "gate not halved",
                "The value is right. The gate is a product of two that carry, so each gets half.",
                partial(_block, gate=1.0),
            ),
            Mistake(
                "norms move",
                "The value is right, but the root mean square of the norms still moves. Freeze it.",
                partial(_block, still=False),
            ),
            Mistake("no mask", "Every token sees all others. A token sees itself and those before it.", partial(_block, causal=False)),
            Mistake(
                "residual forgotten",
                "The block must add to what it is given: the last sum is missing.",
                lambda x, cos, sin, weights: _block(x, cos, sin, weights) - x,
            ),
        ),
        (
            "A line for each step: norm, heads, turn, scores, weights, values, sum; norm, gate, sum. Norms, products, SiLU are bent.",
            "Heads apart with `rearrange`, keys and values repeated for the heads that share them, `half` at both products, "
            "mask and softmax between, heads together again.",
        ),
        kind="gradient",
        points=3,
    ),
)

QUIZ = (
    (
        "Why are the walk by hand and the bent gradient the same?",
        (
            "R = value times g holds at every tensor",
            "Each rule keeps this promise from its output to its inputs, so it holds at the start.",
        ),
        ("Because gradients conserve", "They do not; bent ones do, where the rule does."),
        ("They are only nearly the same", "Up to rounding they are equal: one method, written twice."),
    ),
    (
        "What does freezing the factor sigmoid(z) in z * sigmoid(z) do?",
        ("The gradient becomes f(z) / z", "z times its constant factor: exactly the identity rule for SiLU."),
        ("The value changes", "freeze keeps the value and stops the way back."),
        ("Relevance is lost at the sigmoid", "It all goes through z; there is no second carrier."),
    ),
    (
        "How many passes does an explanation cost?",
        ("One forward, one backward", "All rules are in force during the same two passes."),
        ("One per token", "That would be leave-one-out."),
        ("One per layer", "The backward pass visits all layers once."),
    ),
    (
        "A rule pays all to the first factor of a product, and the account closes. What does that show?",
        ("Nothing was lost, no more than that", "Whether it was shared out as defined, only the definition can say."),
        ("The rule is right", "It conserves, which is something else. Paying everything to the first word conserves as well."),
        ("The gap was hidden by rounding", "There is no gap: all that arrived was handed on, to the wrong place."),
    ),
)
