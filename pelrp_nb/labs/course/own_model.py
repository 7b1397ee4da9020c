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


def _any_row(inputs: tuple[Tensor, ...], found: Tensor) -> Tensor:
    """Padding may have any row of the table: what it gets is hidden."""
    (mask,) = inputs
    return torch.where(mask.bool(), found, found.clamp(max=0)) if found.shape == mask.shape else found


def _cards(rng: Generator) -> Iterator[Case]:
    for parameters, size, per_token, gib in (
        (1_100_000_000, 2, 3_000_000, 16),
        (125_000_000, 4, 7_000_000, 8),
        (7_000_000_000, 2, 4_000_000, 24),
    ):
        yield f"{parameters / 1e9:g} billion parameters of {size} bytes, {gib} GiB", (parameters, size, per_token, gib)
    yield "a card that is too small", (7_000_000_000, 4, 4_000_000, 24)


def _room(parameters: int, size: int, per_token: int, gib: int) -> int:
    return max(0, (gib * 2**30 - parameters * size) // per_token)


def _vectors(rng: Generator) -> Iterator[Case]:
    for tokens, padded in ((5, 0), (6, 2), (4, 3)):
        mask = torch.tensor([1] * (tokens - padded) + [0] * padded)
        yield f"{tokens} places, {padded} of them padding", (*normal(rng, (tokens, 8)), mask, *normal(rng, (8,)))


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return (hidden * mask[:, None]).sum(0) / mask.sum()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def _alike(hidden: Tensor, mask: Tensor, other: Tensor) -> Tensor:
    return _cosine(_mean(hidden, mask), other)


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
        ("Two logits of the last place.", "At the last place, the target's logit less that of the foil."),
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
        ("Count the real tokens up to each place.", "Count the ones up to each place and begin at 0; padding must not go below."),
        settled=_any_row,
    ),
    Exercise(
        "memory",
        "12",
        "room",
        _room,
        _cards,
        (
            Mistake("bits", "You counted bits. Sizes are in bytes.", lambda p, s, t, g: max(0, (g * 2**30 - p * s * 8) // t)),
            Mistake("weights forgotten", "The weights are on the card as well.", lambda p, s, t, g: g * 2**30 // t),
            Mistake(
                "bytes of each weight forgotten",
                "You counted parameters. Each of them has `size` bytes.",
                lambda p, s, t, g: max(0, (g * 2**30 - p) // t),
            ),
            Mistake("GB", "This is GB, powers of ten. A GiB has 2 ** 30 bytes.", lambda p, s, t, g: max(0, (g * 10**9 - p * s) // t)),
            Mistake(
                "negative",
                "Where the weights alone do not fit there is room for no token, not for fewer than none.",
                lambda p, s, t, g: (g * 2**30 - p * s) // t,
            ),
            Mistake(
                "gradients kept",
                "You counted a gradient of every weight. That is training.",
                lambda p, s, t, g: max(0, (g * 2**30 - 2 * p * s) // t),
            ),
        ),
        (
            "What is left of the card beside the weights?",
            "What the parameters leave, in bytes, divided by the bytes of one token: whole, and never below 0.",
        ),
    ),
    Exercise(
        "alike",
        "12",
        "alike",
        _alike,
        _vectors,
        (
            Mistake("padding counted", "Padding was averaged as well. Only real tokens count.", lambda h, m, o: _cosine(h.mean(0), o)),
            Mistake("lengths left in", "Divide by both lengths: only the direction counts.", lambda h, m, o: _mean(h, m) @ o),
            Mistake(
                "one length left in",
                "Only one of the two vectors was brought to length 1. Divide by both lengths.",
                lambda h, m, o: _mean(h, m) @ o / o.norm(),
            ),
            Mistake("first token", "This is the first token alone. Take the mean of all real ones.", lambda h, m, o: _cosine(h[0], o)),
            Mistake(
                "mean of cosines",
                "You compared token by token. First the mean, then one cosine.",
                lambda h, m, o: sum(_cosine(x, o) for x in h[m.bool()]) / m.sum(),
            ),
            Mistake("distance", "This is a distance, which grows where sentences differ.", lambda h, m, o: (_mean(h, m) - o).norm()),
        ),
        (
            "One vector for the sentence first. Which places must not count?",
            "The mean over places whose mask is 1; then the product of both vectors over the product of their lengths.",
        ),
    ),
)

QUIZ = (
    (
        "A sentence encoder finds two sentences with the same words in another order alike at 0.97. Why?",
        ("It hardly asks for order", "Exchanging places costs next to nothing: what it reads is which words there are."),
        ("It has no positions", "It has: BERT adds a learnt one to each word. Given is not used."),
        ("The sentences mean the same", "Ask the man."),
    ),
    (
        "Why freeze parameters before explaining a large model?",
        (
            "Their gradients would need as much memory again",
            "Only gradients of activations are needed. The engine takes parameters as constants by itself.",
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
