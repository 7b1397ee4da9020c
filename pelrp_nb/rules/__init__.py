"""The textbook: one page per rule, in reading order."""

from __future__ import annotations

from ..errors import InputError
from ._rule import Rule
from .own import check_rule as check_rule
from .own import make as make

# isort: off, this is the reading order
from .epsilon import epsilon
from .gamma import gamma
from .alpha_beta import alpha_beta
from .zplus import zplus
from .zbox import zbox
from .uniform import uniform
from .division import division
from .identity import identity
from .softmax import softmax
from .logsumexp import logsumexp
from .log_softmax import log_softmax
from .rms_norm import rms_norm
from .layer_norm import layer_norm
from .residual import residual
from .reslrp import reslrp
from .constant import constant
from .attention import attention
from .delta import delta
from .absolute import absolute
from .learnable import learnable
from .rotary import rotary
from .modulation import modulation
from .joined import joined
from .relative_bias import relative_bias
from .alibi import alibi
from .relative_embedding import relative_embedding
from .decay import decay
from .kinds import PositionKind as PositionKind
# isort: on

ALL: tuple[Rule, ...] = (
    epsilon, gamma, alpha_beta, zplus, zbox,             # linear maps
    uniform, division, identity,                         # products, activations
    softmax, logsumexp, log_softmax,                     # softmax and its logarithm
    rms_norm, layer_norm, residual, reslrp, constant,    # what holds a transformer together
    attention,                                           # all of these composed
    delta,                                               # attention again: what positions changed of its weights
    absolute, learnable, rotary, modulation, joined,     # where positions enter: at tokens,
    relative_bias, alibi, relative_embedding, decay,     # at pairs of tokens
)  # fmt: skip


def by_name(name: str) -> Rule:
    """The rule of that name; `name(rule)` is the other way round."""
    for rule in ALL:
        if rule.name == name:
            return rule
    raise InputError(f"no rule is called {name!r}; there are {', '.join(r.name for r in ALL)}")


def name(rule: Rule) -> str:
    """The rule's name, as it is typed."""
    return rule.name


def table() -> str:
    """All rules as a Markdown table, read off the first and the last lines of their pages."""
    rows = [f"| `{rule.name}` | {rule.sentence} | {rule.conserves} | {rule.paper} |" for rule in ALL]
    return "\n".join(["| rule | in one sentence | conserves | paper |", "|---|---|---|---|", *rows])
