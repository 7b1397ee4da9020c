"""A result as a person would tell it: what was decided, because of which words, what spoke against it, whether the numbers add up.

Words carry content and position together, signed.  Places of a picture are named by where they lie in it, sound by its seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..amounts import FINER, HYPHEN, MINUS, NOT_KEPT, Digits, account, digits, largest
from .data import Plain
from .text import verdict, visible

QUOTED, LABEL = 28, 48  # characters of a word and of a target in a sentence
NAMED = 2  # words in a sentence
FAINT = 0.1  # of the first one: a second word that carries less is not named
HARDLY = 0.01  # of what speaks for it
STRETCHES = 20  # parts that sound is told in
TERMS = {  # a row of the ledger -> what it is called where it stands alone
    "tokens": "words", "positions": "positions", "constants": "constants of the model", "softmax": "kept by the softmax",
    "stabilisers": "stabilisers", "gap": "missing",
}  # fmt: skip
PLACES = (
    ("the top left", "the top", "the top right"),
    ("the left", "the middle", "the right"),
    ("the bottom left", "the bottom", "the bottom right"),
)
PATCH = re.compile(r"patch (\d+),(\d+)")
FRAMES = re.compile(r"\d+ frames of ([\d.e+-]+) seconds")
Part = tuple[str, bool]  # a piece of a sentence, and whether it is somebody's word: a name, which is quoted


class Place(NamedTuple):
    """A word, a region of a picture, or a stretch of sound, and the tokens in it."""

    text: str
    tokens: tuple[int, ...]
    quoted: bool = True


class Reason(NamedTuple):
    """What one place carries."""

    place: Place
    amount: float


def headline(data: Plain) -> list[Part]:
    """What was decided, and mostly because of what: `Says “positive”, mostly because of “enjoyable” and “unabashedly”.`"""
    reasons, what = list(_reasons(data)), _things(data)
    said, sign = _decided(data)
    if not all(math.isfinite(one.amount) for one in reasons):
        return [*said, (f". Some of its numbers are not finite, so no {what} is named.", False)]
    found, mostly = _largest(reasons, sign)
    if found:
        return [*said, (f", {_because(data, sign, mostly)} ", False), *_listed(found), (".", False)]
    return [*said, (f"; no {what} {_nothing(data, sign) if any(one.amount for one in reasons) else 'has a part in it'}.", False)]


def opposed(data: Plain) -> list[Part]:
    """What speaks against it, in one sentence; nothing where no place carries anything."""
    reasons, sign = list(_reasons(data)), -_decided(data)[1]
    if not all(math.isfinite(one.amount) for one in reasons) or not any(one.amount for one in reasons):
        return []
    found, mostly = _largest(reasons, sign)
    mass = {side: sum(abs(one.amount) for one in reasons if one.amount * side > 0) for side in (1, -1)}
    if mass[sign] <= HARDLY * mass[-sign]:
        does = "speaks against" if _decides(data) else "raises" if sign > 0 else "lowers"
        return [(f"{'Hardly anything' if found else 'Nothing'} {does} it.", False)]
    begun = f"{'Mostly' if mostly else 'Most of all'} against it:" if _decides(data) else _because(data, sign, mostly).capitalize()
    return [(f"{begun} ", False), *_listed(found), (".", False)]


def sentence(parts: Sequence[Part], minus: str = MINUS) -> str:
    """The pieces as one text; what is somebody's word stays as it is."""
    return "".join(text if own else text.replace(MINUS, minus) for text, own in parts)


def _because(data: Plain, sign: int, mostly: bool) -> str:
    if _decides(data):
        return f"{'mostly' if mostly else 'most of all'} because of"
    return f"{'raised' if sign > 0 else 'lowered'} {'mostly' if mostly else 'most'} by"


def _nothing(data: Plain, sign: int) -> str:
    return "speaks for it" if _decides(data) else "raises it" if sign > 0 else "lowers it"


def sides(data: Plain) -> tuple[str, str]:
    """What a negative number of a word means, and a positive one."""
    both = _contrast(data)
    if both is not None:
        return f"for {quoted(both[1], QUOTED)[0]}", f"for {quoted(both[0], QUOTED)[0]}"
    return ("against", "for") if _decides(data) else ("lowers it", "raises it")


def outside(data: Plain) -> str:
    """Said where more than half of the value is in no word; else nothing."""
    value = data["value"]
    if not math.isfinite(value):
        return ""
    rest = value - math.fsum(one.amount for one in _reasons(data))
    if not math.isfinite(rest) or abs(rest) <= 0.5 * abs(value):
        return ""
    return "Over half of the value lies elsewhere: see the bar."


def adds_up(data: Plain) -> str:
    """Whether the numbers add up, in one phrase."""
    ledger, told = data["ledger"], verdict(data)
    if ledger["state"] == "closed":
        return f"The numbers add up (ledger {told})."
    if ledger["state"] == "open":
        return f"The numbers do not add up: {_show(data)(ledger['gap'])} is missing (ledger {told})."
    if ledger["state"] == "cannot tell":
        finer = FINER.get(ledger["precision"], 'type Options(precision="float32")')
        return f"Whether the numbers add up cannot be told in {ledger['precision'] or 'this precision'}: {finer}."
    return "Whether the numbers add up was not checked: type Options(ledger=True)."


def terms(data: Plain) -> list[tuple[str, str, float, str]]:
    """What the value is made of: (row of the ledger, what it is called, amount, as it is printed), without what is zero."""
    ledger, show = data["ledger"], _show(data)
    found = [(name, amount, shown) for name, amount, shown in account(ledger["rows"], ledger["state"], show) if name != "value"]
    kept = [(name, x, shown) for name, x, shown in found if shown != NOT_KEPT and (name == "tokens" or _counts(x, shown, show))]
    if ledger["state"] == NOT_KEPT:
        rest = data["value"] - math.fsum(x for _, x, _ in kept)
        kept.append(("gap", rest, show(rest)))
    called = {**TERMS, "tokens": _called(data), **({"gap": "not booked"} if ledger["state"] == NOT_KEPT else {})}
    return [(name, called[name], x, shown) for name, x, shown in kept]


def places(data: Plain) -> list[Place]:
    """The words of one stream, the regions of its picture, or the stretches of its sound; every token is in one."""
    kind = kind_of(data)
    if kind == "picture":
        return _regions(data["tokens"])
    if kind == "sound":
        return _stretches(data)
    words = data.get("words") or [{"text": token, "tokens": [t]} for t, token in enumerate(data["tokens"])]
    return [Place(word["text"], tuple(word["tokens"])) for word in words]


def kind_of(data: Plain) -> str:
    """What a stream is: "text", "picture" or "sound", by the names of its tokens."""
    own = [token for token, special in zip(data["tokens"], data["special"], strict=True) if not special]
    if own and all(map(PATCH.fullmatch, own)):
        return "picture"
    return "sound" if own and all(token == f"frame {t}" for t, token in enumerate(own)) else "text"


def streams_of(data: Plain) -> dict[str, Plain]:
    """Every stream by its name; one without a name where there is one."""
    return data["streams"] or {"": data}


def _regions(tokens: Sequence[str]) -> list[Place]:
    found: dict[tuple[int, int], list[int]] = {}
    at = {t: (int(match[1]), int(match[2])) for t, token in enumerate(tokens) if (match := PATCH.fullmatch(token))}
    rows, columns = (1 + max(place[axis] for place in at.values()) for axis in (0, 1))
    for t, (r, c) in at.items():
        found.setdefault(((2 * r + 1) * 3 // (2 * rows), (2 * c + 1) * 3 // (2 * columns)), []).append(t)
    regions = [Place(PLACES[r][c], tuple(found[r, c]), False) for r, c in sorted(found)]
    return [*(Place(token, (t,)) for t, token in enumerate(tokens) if t not in at), *regions]


def _stretches(data: Plain) -> list[Place]:
    own = [t for t, special in enumerate(data["special"]) if not special]
    length = FRAMES.match(str(data.get("text") or ""))
    second = float(length[1]) if length else 0.0
    cuts = [len(own) * i // min(STRETCHES, len(own)) for i in range(min(STRETCHES, len(own)) + 1)]

    def name(first: int, end: int) -> str:
        if second:
            return f"{first * second:.2f} to {end * second:.2f} seconds"
        return f"frame {first}" if end == first + 1 else f"frames {first} to {end - 1}"

    return [Place(name(a, b), tuple(own[a:b]), False) for a, b in pairwise(cuts)]


def _reasons(data: Plain) -> Iterator[Reason]:
    for stream in streams_of(data).values():
        both = stream["parts"]["signed"]["both"]
        for place in places(stream):
            yield Reason(place, sum(both[t] for t in place.tokens))


def _decides(data: Plain) -> bool:
    """Whether the explained number says by itself what the model prefers."""
    return bool(data["card"].get("own")) or _contrast(data) is not None


def _contrast(data: Plain) -> tuple[str, str] | None:
    parts = data["target"].split(" rather than ")
    return (parts[0], parts[1]) if len(parts) == 2 else None


def _decided(data: Plain) -> tuple[list[Part], int]:
    """What the model says, and the sign of the relevance that speaks for that."""
    both, value = _contrast(data), data["value"]
    sign = -1 if value < 0 else 1
    if both is not None and value:
        first, second = both[::sign]
        return [("Prefers ", False), quoted(first), (" to ", False), quoted(second)], sign
    if data["card"].get("own"):
        label, place = re.fullmatch(r"(.*?)(?: at (\d+))?", data["target"], re.DOTALL).groups()  # type: ignore[union-attr]
        return [("Says ", False), quoted(label), *([(f" at place {place}", False)] if place else [])], 1
    return [quoted(data["target"]), (f" is {_show(data)(value)}", False)], sign


def quoted(text: str, most: int = LABEL) -> Part:
    """Somebody's word, in quotation marks of ours."""
    bare = text[1:-1] if len(text) > 2 and text[0] == text[-1] in "'\"" else text
    return f"\u201c{visible(bare.strip(' ') or bare, most)}\u201d", True


def _largest(reasons: Sequence[Reason], sign: int) -> tuple[list[Place], bool]:
    """The places that carry most with that sign, each text once, and whether they carry half of all that has it."""
    side = sorted((one for one in reasons if one.amount * sign > 0), key=lambda one: -abs(one.amount))
    found: list[Reason] = []
    for one in side:
        if len(found) < NAMED and one.place.text not in {other.place.text for other in found}:
            found += [one] if not found or abs(one.amount) >= FAINT * abs(found[0].amount) else []
    mass = sum(abs(one.amount) for one in side)
    return [one.place for one in found], sum(abs(one.amount) for one in found) >= 0.5 * mass


def _listed(found: Sequence[Place]) -> list[Part]:
    names = [quoted(place.text, QUOTED) if place.quoted else (place.text, False) for place in found]
    return [names[0]] if len(names) == 1 else [names[0], (" and ", False), names[1]]


def _things(data: Plain) -> str:
    """What the places of all streams are, one of them."""
    kinds = {kind_of(stream) for stream in streams_of(data).values()}
    return {"picture": "part of the picture", "sound": "part of the sound"}.get(kinds.pop(), "word") if len(kinds) == 1 else "part"


def _called(data: Plain) -> str:
    kinds = {kind_of(stream) for stream in streams_of(data).values()}
    return {"picture": "the picture", "sound": "the sound"}.get(kinds.pop(), "words") if len(kinds) == 1 else "the inputs"


def _show(data: Plain) -> Digits:
    return digits(largest(amount for _, amount in data["ledger"]["rows"]))


def _counts(amount: float, shown: str, show: Digits) -> bool:
    return shown == show(amount) and not (math.isfinite(amount) and float(show(amount, HYPHEN)) == 0)
