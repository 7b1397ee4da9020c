"""The kinds of position: how one enters a model, in the words that are stored and shown, and the page that says what it is paid."""

from __future__ import annotations

from enum import StrEnum

from ._rule import Rule
from .absolute import absolute
from .alibi import alibi
from .decay import decay
from .joined import joined
from .learnable import learnable
from .modulation import modulation
from .relative_bias import relative_bias
from .relative_embedding import relative_embedding
from .rotary import rotary


class PositionKind(StrEnum):
    """A closed list; each member is its own word and carries its rule: `PositionKind("relative bias").rule`."""

    rule: Rule

    def __new__(cls, word: str, rule: Rule) -> PositionKind:
        kind = str.__new__(cls, word)
        kind._value_, kind.rule = word, rule
        return kind

    ABSOLUTE = "absolute", absolute
    LEARNABLE = "learnable", learnable
    ROTARY = "rotary", rotary
    MODULATION = "modulation", modulation
    JOINED = "joined", joined
    RELATIVE_BIAS = "relative bias", relative_bias
    ALIBI = "alibi", alibi
    RELATIVE_EMBEDDING = "relative embedding", relative_embedding
    DECAY = "decay", decay
