"""What commands share: the text and the target as they were typed, and the files that were asked for."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .errors import InputError
from .targets import target


def text_of(given: argparse.Namespace) -> str:
    """The text to explain, wherever it comes from. Raises InputError."""
    if given.text is None:
        raise InputError(f'There must be a text. Type python -m pelrp_nb {given.command} "some text", or - for standard input.')
    if given.text != "-":
        return given.text
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input must be UTF-8 text, but {error}. Convert it first: iconv -t utf-8.") from error


def target_of(given: argparse.Namespace, text: str | None) -> Any:
    """What --target and --contrast name: a number is an id, anything else a label or token, at a place if one is given."""
    name: Any = int(text) if text is not None and text.removeprefix("-").isdecimal() else text
    if given.at is None:
        return name
    return target.label(name, at=int(given.at) if given.at.removeprefix("-").isdecimal() else given.at)


def files(found: Any, given: argparse.Namespace) -> list[str]:
    """Write what was asked for; the names written. Raises InputError for a figure's suffix."""
    if given.html:
        found.to_html(given.html)
    if given.figure:
        try:
            found.figure().savefig(given.figure, bbox_inches="tight")
        except ValueError as error:
            raise InputError(f"A figure is written as PNG, SVG or PDF, by the suffix of its name: {error}.") from error
    if given.save:
        found.save(given.save)
    return [name for name in (given.html, given.figure, given.save) if name]
