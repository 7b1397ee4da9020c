"""Subwords back to words, so that a person reads `gorgeous`, not `gor` `##geous`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..inputs.marks import CONTINUES, ENDS, STARTS

Span = tuple[int, int]
_STARTS = (*STARTS, " ")  # marked, or plainly


@dataclass(frozen=True)
class Word:
    """One word and the sum of its tokens' relevance, in units of the explained number.

    start, end: its place in the text, in characters; None where the tokenizer does not tell
    tokens:     indices of its tokens
    semantic, positional: signed sums; relevance: the sum under the reduction that was asked for
    """

    text: str
    start: int | None
    end: int | None
    tokens: tuple[int, ...]
    semantic: float
    positional: float
    relevance: float


def groups(
    tokens: Sequence[str],
    special: Sequence[bool],
    offsets: Sequence[Span | None] | None,
    text: str | None,
    word_ids: Sequence[int | None] | None,
) -> list[tuple[int, ...]]:
    """Indices of the tokens of each word, in order; every token is in exactly one word.

    Tokens of one word stand side by side, are not special, have the same word id where the tokenizer gives one, and have no
    white space between them in the text.  (Some tokenizers call a whole sentence one word.)
    """
    marked = any(token.startswith(STARTS) for token in tokens)
    found: list[list[int]] = []
    for i, token in enumerate(tokens):
        joins = i > 0 and not special[i] and not special[i - 1]
        if joins and word_ids is not None:
            joins = word_ids[i] is not None and word_ids[i] == word_ids[i - 1]
        if joins and offsets is not None and text is not None and (offsets[i] or offsets[i - 1]):
            joins = _touch(offsets[i - 1], offsets[i], text)
        elif joins and token.startswith(CONTINUES):
            pass
        elif joins:
            joins = not token.startswith(_STARTS) and (marked or word_ids is not None)
        if joins:
            found[-1].append(i)
        else:
            found.append([i])
    return [tuple(group) for group in found]


def place(group: Sequence[int], offsets: Sequence[Span | None] | None, text: str | None) -> Span | None:
    """Where the word stands in the text, without the white space that some tokenizers count in; None if unknown."""
    spans = [span for i in group if offsets is not None and (span := offsets[i]) is not None and span[1] > span[0]]
    if not spans:
        return None
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    if text is not None and (bare := text[start:end].strip()):
        start += text[start:end].index(bare)
        end = start + len(bare)
    return start, end


def spelling(group: Sequence[int], tokens: Sequence[str], span: Span | None, text: str | None) -> str:
    """The word as the text has it, else its tokens put together without their marks."""
    if span is not None and text is not None:
        return text[slice(*span)]
    parts = [tokens[i].removeprefix(CONTINUES) if n else tokens[i] for n, i in enumerate(group)]
    whole = "".join(parts)
    whole = whole.removesuffix(ENDS) or whole
    return whole.lstrip("".join(_STARTS)) or whole


def _touch(before: Span | None, here: Span | None, text: str) -> bool:
    """Whether nothing white lies between two tokens, or at the start of the second."""
    if before is None or here is None or here[0] < before[0]:
        return False
    return not any(c.isspace() for c in text[before[1] : here[0]] + text[here[0] : here[1]][:1])
