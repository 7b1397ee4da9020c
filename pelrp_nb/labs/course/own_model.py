"""Lab 12: your own model on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ..exercise import Case, Exercise, Mistake, normal


def _logits(rng: Generator) -> Iterator[Case]:
    for n, target, foil in ((5, 2, 4), (3, 0, 1), (9, 8, 0)):
        yield f"{n} tokens in the vocabulary", (*normal(rng, (n,)), target, foil)
    yield "a whole sequence", (*normal(rng, (4, 6)), 1, 5)


def _contrast(logits: Tensor, target: int, foil: int) -> Tensor:
    last = logits if logits.dim() == 1 else logits[-1]
    return last[target] - last[foil]


def _last(logits: Tensor) -> Tensor:
    return logits if logits.dim() == 1 else logits[-1]


def _masks(rng: Generator) -> Iterator[Case]:
    yield "padded on the left", (torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]),)
    yield "padded on the right", (torch.tensor([[1, 1, 0, 0]]),)
    yield "one token", (torch.tensor([[1]]),)


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _models(rng: Generator) -> Iterator[Case]:
    for parameters, size in ((1.1e9, 2), (7e9, 2), (125e6, 4), (0, 4)):
        yield f"{parameters / 1e9:g} billion parameters of {size} bytes", (parameters, size, 2**30)


def _fits(parameters: float, size: int, gib: int) -> float:
    return parameters * size / gib


EXERCISES = (
    Exercise(
        "contrast",
        "12",
        "contrast",
        _contrast,
        _logits,
        (
            Mistake("sign", "The sign is the wrong way round: the target less the other answer.", lambda z, t, f: -_contrast(z, t, f)),
            Mistake("target alone", "This explains the target alone. Subtract the other answer's logit.", lambda z, t, f: _last(z)[t]),
            Mistake(
                "probabilities",
                "Probabilities mix all answers. Explain logits.",
                lambda z, t, f: _last(z).softmax(-1)[t] - _last(z).softmax(-1)[f],
            ),
            Mistake(
                "first place",
                "A language model answers at its last place, not at the first.",
                lambda z, t, f: _contrast(z if z.dim() == 1 else z[:1], t, f),
            ),
        ),
        ("Two logits of the last place.", "`logits[..., target]` at the last place, less `logits[..., foil]`"),
    ),
    Exercise(
        "padding",
        "12",
        "positions",
        _positions,
        _masks,
        (
            Mistake(
                "padding counted",
                "Padding was counted: the first real token must stand at position 0.",
                lambda m: torch.arange(m.shape[-1]).expand_as(m),
            ),
            Mistake("counted from one", "Positions start at 0.", lambda m: m.cumsum(-1)),
            Mistake("minus one", "Padding got -1, and no table has such a row: clamp at 0.", lambda m: m.cumsum(-1) - 1),
            Mistake("everything at zero", "Padding should be 0, real tokens count on.", lambda m: m * 0),
        ),
        ("Count the real tokens up to each place.", "`(mask.cumsum(-1) - 1).clamp(min=0)`"),
    ),
    Exercise(
        "memory",
        "12",
        "gib",
        _fits,
        _models,
        (
            Mistake("bits", "You counted bits. Sizes are in bytes.", lambda p, s, g: p * s * 8 / g),
            Mistake("parameters", "These are billions of parameters. Multiply by the bytes of each.", lambda p, s, g: p / g),
            Mistake("GB", "This is GB, powers of ten. Divide by the `gib` you are given, 2^30.", lambda p, s, g: p * s / 1e9),
        ),
        ("Bytes first, then GiB.", "`parameters * size / gib`"),
    ),
)

QUIZ = (
    (
        "Why freeze parameters before explaining a large model?",
        (
            "Their gradients would need as much memory again",
            "Only gradients of activations are needed. The engine does this by itself.",
        ),
        ("Otherwise they would be trained", "Nothing is trained without an optimiser."),
        ("Relevance would flow into weights", "Weights are constants, whatever their requires_grad."),
    ),
    (
        "A batch is padded on the left. What must hold?",
        ("Each text's relevance equals its single run", "Padding is masked, and positions count real tokens only."),
        ("Padding tokens share the relevance", "They are hidden and get nothing."),
        ("The first text is the longest", "Order does not matter."),
    ),
    (
        "float16 gives NaN in another tool. Why?",
        ("1e-9 is 0 in float16", "A stabiliser that small vanishes, and 0/0 follows. Here it knows the dtype."),
        ("LRP needs float64", "It needs care, not float64."),
        ("GPUs round up", "Rounding is not the trouble; a denominator of 0 is."),
    ),
)
