"""Six questions whose right explanation is known: which words the answer hangs on, and whether their order matters.

    recall      recall ann=sun bob=moon cat=sun ? bob           the word paired with the name: content alone
    fetch       fetch sun moon star tree bird fish              the third word, whatever it is: position alone
    order       order sun moon ? the moon of a sun in           which of the two named words came first
    previous    previous sun moon mark star bird mark fish      the word before the last mark
    majority    majority sun the moon sun of sun moon           the more frequent of two words: order is irrelevant
    first-half  first-half sun sun moon moon moon moon          the more frequent of two words in the first half

A question is a line of words, its own name first.  Every question of a seed is drawn in the same way on every machine; whether it
is held out is a matter of its sha256 alone, so that no model has met a held-out question in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from ..errors import ZooError

WORDS = ("sun", "moon", "star", "tree", "bird", "fish", "stone", "river")
NAMES = ("ann", "bob", "cat", "dan", "eve", "fay")
FILLERS = ("the", "a", "of", "in")
MARK, ASK = "mark", "?"
PLACE = 3  # which word `fetch` asks for; the question's own name is word 0
HELD_OUT = 15  # per cent of all questions
Lengths = int | Sequence[int] | None
MISSES = 2_000  # so many questions in a row of the other kind: there are none of this one


@dataclass(frozen=True)
class Truth:
    """What the answer hangs on, as indices of words (word 0 is the question's name).

    tokens:        words whose content matters
    positions:     words whose place matters; empty where none does
    order_matters: whether another order of the same words could have another answer
    """

    tokens: tuple[int, ...]
    positions: tuple[int, ...] = ()

    @property
    def order_matters(self) -> bool:
        return bool(self.positions)


@dataclass(frozen=True)
class Question:
    """One line of words, its answer (an index into WORDS), and what that hangs on."""

    text: str
    label: int
    truth: Truth


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    draw:    (random numbers, words to choose from, length) -> words after the name, answer, truth
    lengths: those it may have; usual: the one it has unless told; counts: what the length counts
    """

    draw: Callable[[Random, tuple[str, ...], int], tuple[list[str], str, Truth]]
    lengths: Sequence[int]
    usual: int
    counts: str = "words"


def recall(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Pairs of a name and a word, then one of the names."""
    values = [rng.choice(words) for _ in range(length)]
    names = rng.sample(NAMES, length)
    asked = rng.randrange(length)
    line = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
    return [*line, ASK, names[asked]], values[asked], Truth((1 + asked, length + 2))


def fetch(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Any words; the third is the answer."""
    line = [rng.choice(words) for _ in range(length)]
    return line, line[PLACE - 1], Truth((PLACE,), (PLACE,))


def order(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Two named words between others that do not count; the one that comes first is the answer."""
    named = rng.sample(words, 2)
    line = [rng.choice(FILLERS) for _ in range(length)]
    first, second = sorted(rng.sample(range(length), 2))
    line[first], line[second] = rng.sample(named, 2)
    places = (first + 4, second + 4)
    return [*named, ASK, *line], line[first], Truth((1, 2, *places), places)


def previous(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Words with one to three marks among them, no two side by side; the word before the last mark is the answer."""
    line, count = [rng.choice(words) for _ in range(length)], rng.randint(1, min(3, length // 2))
    marks = [at + i for i, at in enumerate(sorted(rng.sample(range(1, length - count + 1), count)))]
    for at in marks:
        line[at] = MARK
    last = marks[-1]
    return line, line[last - 1], Truth((last, last + 1), (last, last + 1))


def majority(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Two words, an odd number of times, between words that do not count."""
    line, winner = _votes(rng, rng.sample(words, 2), odd(3 * length // 4))
    line += [rng.choice(FILLERS) for _ in range(length - len(line))]
    rng.shuffle(line)
    return line, winner, Truth(tuple(i for i, word in enumerate(line, 1) if word not in FILLERS))


def first_half(rng: Random, words: tuple[str, ...], length: int) -> tuple[list[str], str, Truth]:
    """Two words; only the first half of the line counts."""
    pair, half = rng.sample(words, 2), length // 2
    line, winner = _votes(rng, pair, half)
    counted = tuple(range(1, half + 1))
    return [*line, *_votes(rng, pair, half)[0]], winner, Truth(counted, counted)


def _votes(rng: Random, pair: list[str], count: int) -> tuple[list[str], str]:
    """An odd number of two words in any order, and the more frequent of them."""
    line = [rng.choice(pair) for _ in range(count)]
    return line, max(pair, key=line.count)


def odd(n: int) -> int:
    """The largest odd number that is no larger than n."""
    return n - 1 + n % 2


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "recall": Kind(recall, range(2, len(NAMES) + 1), 5, "pairs"),
        "fetch": Kind(fetch, range(PLACE, 13), 8),
        "order": Kind(order, range(2, 11), 8, "words after the question"),
        "previous": Kind(previous, range(2, 13), 9),
        "majority": Kind(majority, range(4, 14), 12),
        "first-half": Kind(first_half, (2, 6, 10), 10),
    }
)
VOCABULARY = (*KINDS, *WORDS, *NAMES, *(f"{name}={word}" for name in NAMES for word in WORDS), *FILLERS, MARK, ASK)


def questions(name: str, *, held_out: bool, seed: int = 0, classes: int | None = None, length: Lengths = None) -> Iterator[Question]:
    """Questions of one kind without end, all held out or none.

    `classes` is how many words may be an answer, `length` how long a line is (one of several lengths, if several are given).
    Raises ZooError for a kind, a number of classes or a length that there is not.
    """
    kind, words, lengths = _checked(name, classes, length)
    rng = Random(f"{name} {seed}")
    missed = 0
    while missed < MISSES:
        line, answer, truth = kind.draw(rng, words, rng.choice(lengths))
        text = " ".join((name, *line))
        if is_held_out(text) != held_out:
            missed += 1
            continue
        missed = 0
        yield Question(text, WORDS.index(answer), truth)
    raise ZooError(
        f"`{name}` with {len(words)} classes and length {', '.join(map(str, lengths))} has too few different questions to hold "
        "some out. Ask for more classes or a greater length."
    )


def _checked(name: str, classes: int | None, length: Lengths) -> tuple[Kind, tuple[str, ...], Sequence[int]]:
    """The kind, its words and its lengths, if it has them."""
    kind = KINDS[name]
    classes = len(WORDS) if classes is None else classes
    if not 2 <= classes <= len(WORDS):
        raise ZooError(f"`{name}` has 2 to {len(WORDS)} classes, but {classes} were asked for. Type classes={len(WORDS)}.")
    lengths = (kind.usual,) if length is None else (length,) if isinstance(length, int) else tuple(length)
    wrong = [n for n in lengths if n not in kind.lengths]
    if wrong:
        known = ", ".join(map(str, kind.lengths))
        raise ZooError(f"The length of `{name}` ({kind.counts}) must be one of {known}; got {wrong[0]}. Type length={kind.usual}.")
    return kind, WORDS[:classes], lengths


def is_held_out(text: str) -> bool:
    """Whether a question is never trained on: a matter of its words alone."""
    return int(hashlib.sha256(text.encode("utf-8")).hexdigest()[:8], 16) % 100 < HELD_OUT
