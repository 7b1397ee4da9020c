"""Texts that others wrote, made so that nothing in them acts: not on a terminal, not in a page, not in a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

JOINERS = "\u200c\u200d"  # names in Persian and Hindi are written with them
_AFTER = re.compile(r"(^|[;,|\t\r\n])([\s\"']*)(.)", re.DOTALL)  # where a spreadsheet may see the beginning of a cell


def readable(text: object, most: int = 300) -> str:
    """A text on one line, what cannot be seen in it written out: commands to a terminal, directions, halves of characters."""
    line = re.sub(r"\s", " ", str(text)[:most].strip())
    return "".join(c if c.isprintable() or c in JOINERS else f"\\u{ord(c):04x}" for c in line)


def no_formula(cell: object) -> object:
    """A text that no spreadsheet takes for a formula, by whatever it divides cells; other values are as they are."""

    def stopped(found: re.Match[str]) -> str:
        acts = unicodedata.normalize("NFKC", found[3])[:1] in ("=", "+", "-", "@", "\u2212", "\t", "\r")
        return f"{found[1]}{found[2]}'{found[3]}" if acts else found[0]

    return _AFTER.sub(stopped, cell) if isinstance(cell, str) else cell
