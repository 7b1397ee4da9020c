"""Lab 07: rotary positions from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi

import torch
from torch import Generator, Tensor

from ... import rules
from ...rules.rotary import angles, turned
from ..exercise import Case, Exercise, Mistake, normal


def _vectors(rng: Generator) -> Iterator[Case]:
    yield "one pair", tuple(normal(rng, (1, 2)))
    yield "two pairs", tuple(normal(rng, (3, 4)))
    yield "heads in front", tuple(normal(rng, (2, 3, 6)))
    yield "the first axis", (torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64),)


def _queries(rng: Generator) -> Iterator[Case]:
    yield "two pairs", (*normal(rng, (3, 4)), torch.arange(3), 10000.0)
    yield "position 0 alone", (*normal(rng, (1, 4)), torch.zeros(1), 10000.0)
    yield "positions 5, 9", (*normal(rng, (2, 6)), torch.tensor([5, 9]), 100.0)


def _rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cos, sin = angles(positions, x.shape[-1], base=base)
    return x * cos + turned(x) * sin


def _neighbours(x: Tensor, positions: Tensor, base: float) -> Tensor:
    cos, sin = angles(positions, x.shape[-1], base=base, turn="interleaved")
    return x * cos + turned(x, "interleaved") * sin


def _one_speed(x: Tensor, positions: Tensor, base: float) -> Tensor:
    angle = positions.double()[:, None]
    return x * angle.cos() + turned(x) * angle.sin()


def _rotations(rng: Generator) -> Iterator[Case]:
    for label, T, d in (("two pairs", 3, 4), ("one pair", 4, 2), ("three pairs", 2, 6)):
        R, x = normal(rng, (T, d), (T, d))
        yield label, (R, x, *angles(torch.arange(T), d))


def _rotary(R: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    return rules.rotary.relevance(R, x, cos, sin)


def _not_sent_back(R: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    _, R_cos, R_sin = _rotary(R, x, cos, sin)
    return R_cos + R_sin, R_cos, R_sin


def _wrong_way(R: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    return _rotary(R, x, cos, -sin)


def _widths(rng: Generator) -> Iterator[Case]:
    for width, base in ((4, 10000.0), (8, 10000.0), (2, 500.0), (6, 500000.0)):
        yield f"width {width}, base {base:g}", (width, base)


def _waves(width: int, base: float) -> Tensor:
    return 2 * pi * base ** (torch.arange(0, width, 2).double() / width)


EXERCISES = (
    Exercise(
        "turn",
        "07",
        "turned",
        turned,
        _vectors,
        (
            Mistake("the wrong way", "This is a quarter turn the other way: (a, b) becomes (-b, a), not (b, -a).", lambda x: -turned(x)),
            Mistake(
                "no sign",
                "The halves changed places, but a quarter turn also flips one sign: (-b, a).",
                lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
            ),
            Mistake(
                "neighbours",
                "You paired neighbours (0, 1), (2, 3). Here the pairs are (i, i + d/2): the two halves.",
                lambda x: turned(x, "interleaved"),
            ),
        ),
        ("Cut x into its two halves a and b.", "Two halves, a and b: the turned vector is minus b, then a."),
    ),
    Exercise(
        "rotate",
        "07",
        "rotate",
        _rotate,
        _queries,
        (
            Mistake(
                "the wrong way",
                "This turns the other way: it must be plus turn(x) sin.",
                lambda x, p, base: _rotate(x, -p.double(), base),
            ),
            Mistake(
                "counted from one",
                "Position 0 is not turned at all; you turned it by one step.",
                lambda x, p, base: _rotate(x, p + 1, base),
            ),
            Mistake("one speed", "Every pair turned at the same speed. Pair i has the frequency base^(-2i/d).", _one_speed),
            Mistake("neighbours", "The pairs are (i, i + d/2), not neighbours.", _neighbours),
        ),
        (
            "One angle for each position and pair, the same for both of a pair.",
            "Position times frequency is the angle, one for each pair, twice side by side; x by its cosine, the turned x by its sine.",
        ),
        points=2,
    ),
    Exercise(
        "rotary",
        "07",
        "my_rotary",
        _rotary,
        _rotations,
        (
            Mistake(
                "forgotten half",
                "Vector and angle each got everything: the sum has doubled. A product of two: half each.",
                lambda R, x, c, s: tuple(2 * part for part in _rotary(R, x, c, s)),
            ),
            Mistake(
                "positions as constants",
                "All went to the vector, nothing to cos and sin. Then positions receive nothing: that is AttnLRP.",
                lambda R, x, c, s: (2 * _rotary(R, x, c, s)[0], torch.zeros_like(c), torch.zeros_like(s)),
            ),
            Mistake(
                "not sent back",
                "What turn(x) receives belongs to the other coordinate of the pair; you left it in its place.",
                _not_sent_back,
            ),
            Mistake("the wrong way", "The sign of the second product is that of a rotation the other way.", _wrong_way),
        ),
        (
            "Two products are added: x cos and turn(x) sin. Share the sum, then half to each factor.",
            "Two paths make the sum: x by the cosine, the turned x by the sine. Each gets half of its share of R; "
            "what went by the sine belongs to the other half of the vector.",
        ),
        keeper="nobody",
        points=2,
    ),
    Exercise(
        "wavelengths",
        "07",
        "wavelengths",
        _waves,
        _widths,
        (
            Mistake(
                "frequency",
                "These are frequencies, radians per token. A wavelength is 2 pi divided by it.",
                lambda width, base: base ** (-torch.arange(0, width, 2).double() / width),
            ),
            Mistake(
                "2 pi forgotten",
                "2 pi is missing: a full turn is 2 pi radians.",
                lambda width, base: _waves(width, base) / (2 * pi),
            ),
            Mistake(
                "wrong exponent",
                "The exponent of pair i is 2i / width.",
                lambda width, base: 2 * pi * base ** (torch.arange(0, width, 2).double() * 2 / width),
            ),
            Mistake(
                "slowest first",
                "The order is turned round: the first pair is the fastest.",
                lambda width, base: _waves(width, base).flip(0),
            ),
        ),
        (
            "How many tokens until a pair has turned by 2 pi?",
            "A full turn is 2 pi. Pair i turns by base to the power of minus 2i / width for each place.",
        ),
    ),
)

QUIZ = (
    (
        "Leave rotary sinks out. What is lost?",
        ("Nothing; it is re-routed to the vectors", "The half of cos and sin goes to q and k instead. Totals stay, places change."),
        ("Half of everything", "Only the query-key path is touched, and there it is re-routed."),
        ("The positions' part, as in BERT", "Added positions are lost when left out; a rotation is a factor, not a summand."),
    ),
    (
        "Position 0 is not turned (cos 1, sin 0), yet its sink gets half. What does that tell you?",
        ("The half is a convention about products", "It says how a product is shared, not how far something was turned."),
        ("Position 0 matters most", "Every position gets half of what enters at its place."),
        ("There is a bug", "1 is a factor like any other."),
    ),
    (
        "All positions are shifted by 7. What stays the same?",
        ("The output and the signed total of positions", "Scores depend on differences of angles only."),
        ("Every reduction of the positional part", "`absolute` and `positive` look at cos and sin apart, and these change."),
        ("Nothing", "A rotary model sees distances, and these have not changed."),
    ),
)
