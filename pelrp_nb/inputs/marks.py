"""Where words begin among tokens of which no text is known: tokenizers mark it, each in its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

STARTS = ("\u2581", "\u0120")  # how tokenizers write that a word starts: SentencePiece, byte-level
CONTINUES = "##"  # how WordPiece writes that it goes on
ENDS = "</w>"  # how the byte pairs of OpenAI-GPT and CLIP write that it ends


def words_of(tokens: Sequence[str], special: Sequence[bool], tokenizer: Any) -> tuple[int | None, ...] | None:
    """The word of each token, None for special ones; None in all where the tokenizer cannot say.

    A token without a mark begins a word for one tokenizer and goes on with it for another, whatever marks stand beside it: so the
    tokenizer is asked to write two of them, and whether they come out as one word.
    """
    if any(token.endswith(ENDS) for token in tokens):
        return _until_ends(tokens, special)
    bare = next((t for t, s in zip(tokens, special, strict=True) if not s and t.isalpha() and not t.startswith(STARTS)), None)
    if bare is None or not hasattr(tokenizer, "convert_tokens_to_string"):
        return None
    glued = len(str(tokenizer.convert_tokens_to_string([bare, bare])).split()) == 1
    found: list[int | None] = []
    word = -1
    for i, token in enumerate(tokens):
        goes_on = token.startswith(CONTINUES) or (glued and not token.startswith(STARTS))
        word += not (goes_on and i > 0 and not special[i - 1])
        found.append(None if special[i] else word)
    return tuple(found)


def _until_ends(tokens: Sequence[str], special: Sequence[bool]) -> tuple[int | None, ...]:
    """A word goes on until one of its tokens ends it."""
    found: list[int | None] = []
    word, open_ = -1, False
    for token, apart in zip(tokens, special, strict=True):
        word += not open_ or apart
        found.append(None if apart else word)
        open_ = not apart and not token.endswith(ENDS)
    return tuple(found)
