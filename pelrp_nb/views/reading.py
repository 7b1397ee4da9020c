"""The card of a result: its sentences, and its text as people read it, word by word with what stands between them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from .data import Plain, PlainWord
from .headline import PATCH, adds_up, headline, kind_of, opposed, outside, places, sides, streams_of, terms
from .payload import label
from .text import visible

BEFORE = frozenset(".,;:!?%)]}\u201d\u2019\u3002\u3001\uff0c")  # no space stands before these
AFTER = frozenset("([{\u201c\u2018")  # and none after these
STARTS = ("\u2581", "\u0120")  # how tokenizers write that a word starts


def reading(data: Plain) -> dict[str, Any]:
    """What the card shows.

    headline, against: pieces [text, whether it is somebody's word]; outside, adds_up: sentences
    sides:   what a negative number means, and a positive one
    terms:   [row of the ledger, what it is called, amount, as it is printed] of what the value is made of
    streams: [{"name", "kind", "turned", "words": [{"ids", "text", "before", "special"}], "grid"}]; turned: right to left;
             of a word only what is not as usual, or its one token: see `_sent`
    """
    return {
        "headline": headline(data), "against": opposed(data), "outside": outside(data), "adds_up": adds_up(data), "terms": terms(data),
        "sides": sides(data),
        "streams": [_stream(name, stream) for name, stream in streams_of(data).items()],
    }  # fmt: skip


def _stream(name: str, data: Plain) -> dict[str, Any]:
    kind = kind_of(data)
    found: dict[str, Any] = {"name": visible(name) if name else "", "kind": kind, "turned": kind == "text" and turned(data)}
    if kind == "picture":
        return found | {"grid": list(grid_of(data)), "words": []}
    if kind == "sound":
        return found | {"words": [{"ids": list(p.tokens), "text": p.text, "before": ""} for p in places(data)]}
    return found | {"words": [_sent(word, data["tokens"]) for word in words(data)]}


def _sent(word: dict[str, Any], tokens: Sequence[str]) -> dict[str, Any] | int:
    """A word without what the page takes for granted: the text of its one token, a space before it, no special token.

    Where nothing else is left it is the index of that token.
    """
    found: dict[str, Any] = {"ids": word["ids"]}
    if len(word["ids"]) > 1 or word["own"] != tokens[word["ids"][0]]:
        found["text"] = label(word["own"])
    found |= ({"special": True} if word["special"] else {}) | ({} if word["before"] == " " else {"before": word["before"]})
    return found["ids"][0] if len(found) == 1 and len(found["ids"]) == 1 else found


def grid_of(data: Plain) -> tuple[int, int, int]:
    """(rows, columns, tokens before the first patch) of a picture."""
    at = [match for token in data["tokens"] if (match := PATCH.fullmatch(token))]
    return 1 + max(int(m[1]) for m in at), 1 + max(int(m[2]) for m in at), len(data["tokens"]) - len(at)


def words(data: Plain) -> list[dict[str, Any]]:
    """Each word as it is (`own`), with its tokens and the white space before it; every token is in exactly one."""
    given = data.get("words") or [PlainWord(text=token, tokens=[t]) for t, token in enumerate(data["tokens"])]
    special, marked = data["special"], any(token.startswith(STARTS) for token in data["tokens"])
    found: list[dict[str, Any]] = []
    for i, word in enumerate(given):
        before = _between(data, given[i - 1], word, marked) if i else ""
        apart = all(special[t] for t in word["tokens"])
        found.append({"ids": list(word["tokens"]), "own": word["text"], "before": before, "special": apart})
    return found


def _between(data: Plain, one: PlainWord, other: PlainWord, marked: bool) -> str:
    """The white space between two words: as the text has it, else as the tokenizer marks it, else as people write."""
    end, start, text = one.get("end"), other.get("start"), data.get("text")
    if end is not None and start is not None and text is not None and start >= end:
        white = text[end:start]
        return "\n" if "\n" in white else " " if white else ""
    token = data["tokens"][other["tokens"][0]]
    among = not (data["special"][other["tokens"][0]] or data["special"][one["tokens"][-1]])
    if marked and among and (token.startswith(STARTS) or not data.get("words")):  # words given begin without marks where words do
        return " " if token.startswith(STARTS) else ""
    return "" if other["text"][:1] in BEFORE or one["text"][-1:] in AFTER else " "


def turned(data: Plain) -> bool:
    """Whether most letters are written from right to left; special tokens are no text."""
    letters = [c for t, token in enumerate(data["tokens"]) if not data["special"][t] for c in token]
    return _count(letters, ("R", "AL")) > _count(letters, ("L",))


def _count(letters: Sequence[str], kinds: tuple[str, ...]) -> int:
    return sum(unicodedata.bidirectional(letter) in kinds for letter in letters)
