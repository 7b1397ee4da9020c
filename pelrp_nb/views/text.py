"""Tokens are hostile text: what cannot be seen is made visible, and numbers carry their sign."""

from __future__ import annotations

import math
import unicodedata
from functools import partial
from typing import NamedTuple

from ..amounts import HYPHEN, Show, account, balance, digits, largest, signed, size
from ..amounts import verdict as phrase
from .data import Plain

UNTOLD = "could not be told"  # what the notes say of a constant behind places that were lost
UNSURE = "whether there are positions could not be told, see the notes"
CONSTANT = "this method books no positions: it takes them for constants"
HALF = "rotary: half of the query-key path by convention"
MASK = "a causal mask, where there is one, still tells order"
LONGEST = 80  # characters of one token that a view shows
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# They draw nothing, though Unicode calls them letters, marks, symbols.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_MARKS, _CHIPS = 4, 8  # accents on one letter that are drawn; names in one token


class Piece(NamedTuple):
    """Some characters as they are, or the name of one that cannot be seen."""

    text: str
    chip: bool


def pieces(text: str, most: int = LONGEST) -> tuple[Piece, ...]:
    """The text cut into what can be shown as it is and names for the rest.

    Clipped after `most` characters, or when names get too many.
    """
    if text == "":
        return (Piece("empty", True),)
    if not text.strip(" "):
        return (Piece("space" if len(text) == 1 else f"{len(text)} spaces", True),)
    shown: list[Piece] = []
    accents, end, names = 0, 0, max(_CHIPS, most // 10)
    for at, letter in enumerate(text[:most]):
        if sum(piece.chip for piece in shown) == names:
            break
        end = at + 1
        accents = accents + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        name = _code(letter) if accents > _MARKS else _name(text, at)
        if name is None and shown and not shown[-1].chip:
            shown[-1] = Piece(shown[-1].text + letter, False)
        else:
            shown.append(Piece(letter, False) if name is None else Piece(name, True))
    if end < len(text):
        shown.append(Piece(f"{len(text) - end:,} more characters", True))
    return tuple(shown)


def visible(text: str, most: int = LONGEST) -> str:
    """The same as one line of text, names in angle brackets: `a⟨U+202E⟩b`."""
    return "".join(f"⟨{piece.text}⟩" if piece.chip else piece.text for piece in pieces(text, most))


def _name(text: str, at: int) -> str | None:
    """What to call a character that cannot be seen, or would move its neighbours; None for the rest."""
    letter = text[at]
    kind = unicodedata.category(letter)
    before = text[at - 1] if at else ""
    if letter == "\u200d" and _joins_emoji(text, at):
        return None
    if "\ufe00" <= letter <= "\ufe0f":  # variation selectors: fine on a symbol, invisible elsewhere
        return None if before and (unicodedata.category(before) == "So" or before in "#*0123456789") else _code(letter)
    if kind in ("Mn", "Me") and (not before or before == " "):
        return _code(letter)  # an accent without a letter would sit on the neighbour
    unseen = kind[0] == "C" or kind in ("Zl", "Zp") or (kind == "Zs" and letter != " ")
    if unseen or letter in _BLANK or 0xE0100 <= ord(letter) <= 0xE01EF or 0x180B <= ord(letter) <= 0x180F:
        return _SHORT.get(letter, _code(letter))
    return None


def _joins_emoji(text: str, at: int) -> bool:
    """Whether the zero-width joiner here stands between two emoji, where it belongs."""
    before = text[:at].rstrip("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")[-1:]
    after = text[at + 1 : at + 2]
    return all(c and unicodedata.category(c) == "So" for c in (before, after))


def _code(letter: str) -> str:
    return f"U+{ord(letter):04X}"


def title(data: Plain, minus: str = HYPHEN) -> str:
    """What was explained, in a few words: `positive = +2.3456`."""
    return f"{visible(data['target'])} = {signed(data['value'], 5, minus)}"


def conventional(data: Plain) -> bool:
    """Whether positions got half of the query-key path, whatever the angle: a rotary model under the rule of products."""
    composite = str(data["card"].get("composite", ""))
    return "rotary" in data["sink_kinds"] and not any(f"softmax={rule}" in composite for rule in ("constant", "delta"))


def meaning(data: Plain) -> str:
    """What must be said with a positional share, in a few words; nothing where it needs none."""
    if not math.isfinite(data["positional_share"]) or f"{data['positional_share']:.0%}" == "0%":
        return MASK
    return HALF if conventional(data) else ""


def positions(data: Plain) -> str:
    """How much positions carry and what that means, or why they carry nothing: the method has them as constants, or the model none."""
    if data["sinks"]:
        said = meaning(data)
        return f"positions carry {data['positional_share']:.0%}{f' ({said})' if said else ''}"
    if "positions='constant'" in str(data["card"].get("composite", "")):
        return CONSTANT
    return UNSURE if any(UNTOLD in note for note in notes(data)) else f"no positions found in this model ({MASK})"


def notes(data: Plain) -> list[str]:
    """What could have been read otherwise, and what could not be told."""
    return [visible(str(note), 400) for note in data["card"].get("notes", ())]


def verdict(data: Plain) -> str:
    """In which state the ledger is: "closed", "open at layer 3", "cannot tell in bfloat16", "not kept"."""
    ledger = data["ledger"]
    return phrase(ledger["state"], visible(str(ledger["opened"])), ledger["precision"])


def state(data: Plain, minus: str = HYPHEN) -> str:
    """The verdict, and what it proves."""
    ledger = data["ledger"]
    return balance(
        ledger["state"], verdict(data), ledger["gap"], ledger["allowed"], ledger["precision"],
        ledger["audited"], map(visible, ledger["unknown"]), lambda amount: size(amount).replace(HYPHEN, minus), ledger["softmax"].values(),
    )  # fmt: skip


def line(data: Plain, most: int = 3, minus: str = HYPHEN) -> str:
    """The result in one line."""
    both = data["parts"]["signed"]["both"]
    order = sorted(range(len(both)), key=lambda t: (math.isnan(both[t]), -abs(both[t]), t))[:most]
    show = digits(largest(both), 3)
    top = ", ".join(f"{visible(data['tokens'][t], 20)} {show(both[t], minus)}" for t in order) or "no tokens"
    share = positions(data).replace("carry ", "") if data["sinks"] else f"positions {data['positional_share']:.0%}"
    told = "; ".join([title(data, minus), top, share, f"ledger {verdict(data)}", *(f"note: {note}" for note in notes(data)[:1])])
    return f"Explanation({visible(data['model'], 60)}: {told})"


def screen(data: Plain, most: int = 40) -> str:
    """The result as a small table of text: tokens with content and position, the ledger's state under them."""
    signed = data["parts"]["signed"]
    columns = [signed["content"], signed["position"], signed["both"]]
    show = digits(largest(*columns))
    width = max([8, *(len(show(x, HYPHEN)) for column in columns for x in column)]) + 2
    names = [visible(token, 28) for token in data["tokens"]]
    room = max([5, *map(len, names[:most])])
    lines = [f"{visible(data['model'], 60)}: {title(data)}", ""]
    lines.append(f"{'token':<{room}}" + "".join(f"{head:>{width}}" for head in ("content", "position", "both")))
    for t, name in enumerate(names[:most]):
        lines.append(f"{name:<{room}}" + "".join(f"{show(column[t], HYPHEN):>{width}}" for column in columns))
    if len(names) > most:
        rest = (show(sum(column[most:]), HYPHEN) for column in columns)
        lines.append(f"{f'{len(names) - most:,} more':<{room}}" + "".join(f"{x:>{width}}" for x in rest))
    lines.append(f"{'sum':<{room}}" + "".join(f"{show(sum(column), HYPHEN):>{width}}" for column in columns))
    rows = data["ledger"]["rows"]
    shown: Show = partial(digits(largest(amount for _, amount in rows)), minus=HYPHEN)
    told = (f"{name} {amount}" for name, _, amount in account(rows, data["ledger"]["state"], shown))
    lines += ["", positions(data), "  ".join(told), f"ledger {state(data)}", *(f"note: {note}" for note in notes(data))]
    return "\n".join(lines)
