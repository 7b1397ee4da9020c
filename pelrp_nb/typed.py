"""What commands share: the text and the target as they were typed."""

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
