"""Two programs of the same function side by side: what an explanation says of each, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pelrp_nb import PA_LRP, Options, propagate

from .base import Group, Spelling

RELATIVE = 1e-9


@dataclass(frozen=True)
class Account:
    """What is compared: relevance by stream, the ledger's lines, boundaries in call order (None where the modules differ)."""

    value: float
    closed: bool
    lines: Mapping[str, float]
    scale: float
    streams: tuple[str, ...]
    tokens: tuple[Tensor, ...]
    positional: tuple[Tensor, ...]
    kinds: tuple[tuple[str, ...], ...]
    boundaries: tuple[Tensor, ...] | None


def account(spelling: Spelling) -> Account:
    """Explain one number of the spelling's output."""
    model = spelling.build()
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        out = spelling.call(model, *spelling.inputs)
        if spelling.row is None:
            trace = flow.trace(spelling.pick(out))
        else:
            trace = flow.traces([spelling.pick(row[None]) for row in out])[spelling.row]
    return account_of(trace, spelling)


def account_of(trace: Any, spelling: Spelling) -> Account:
    """A trace as what is compared; streams that received nothing at all are left out where another one did."""
    parts = dict(trace.streams) or {"": trace}
    lit = {name: t for name, t in parts.items() if bool(t.tokens.any()) or bool(t.positional.any())}
    parts = lit or parts
    read = spelling.read or (lambda tokens: tokens.sum(-1) if tokens.dim() < 3 else tokens)
    ledger = trace.ledger
    lines = {"tokens": ledger.tokens, "positions": ledger.positions, "constants": sum(ledger.constants.values()),
             "softmax": sum(ledger.softmax.values()), "stabilisers": ledger.stabilisers}  # fmt: skip
    return Account(
        ledger.value, ledger.closed, lines, ledger.scale, tuple(parts),
        tuple(read(t.tokens) for t in parts.values()), tuple(t.positional for t in parts.values()),
        tuple(tuple(sink.kind for sink in t.sinks) for t in parts.values()),
        tuple(b.relevance for t in parts.values() for b in t.boundaries) if spelling.boundaries else None,
    )  # fmt: skip


@cache
def reference_of(family: str, name: str) -> Account:
    """The reference spelling's account, made once."""
    from . import GROUPS

    return account(GROUPS[family, name].spellings[0])


@cache
def truth_of(family: str, name: str) -> Mapping[str, Tensor]:
    """What a group knows by hand, computed once."""
    from . import GROUPS

    return GROUPS[family, name].truth()


def far(ours: Tensor, theirs: Tensor, allowed: float) -> str | None:
    """How two tensors differ, in words; None if they are equal to what is allowed."""
    if ours.shape != theirs.shape:
        return f"{tuple(ours.shape)} instead of {tuple(theirs.shape)}"
    apart = float((ours - theirs).abs().max()) if ours.numel() else 0.0
    return None if apart <= allowed else f"{shown(ours)} instead of {shown(theirs)}"


def shown(x: Tensor) -> str:
    """A tensor in a few words."""
    return f"sum {float(x.sum()):+.4f}" if x.numel() > 1 else f"{float(x.sum()):+.6f}"


def differences(ours: Account, theirs: Account, relative: float = RELATIVE) -> list[str]:
    """In what two accounts of one function differ; empty if in nothing."""
    allowed, found = relative * max(theirs.scale, 1e-3), []

    def compare(what: str, a: Tensor, b: Tensor) -> None:
        if (told := far(a, b, allowed)) is not None:
            found.append(f"{what} {told}")

    if len(ours.tokens) != len(theirs.tokens):
        return [f"streams {ours.streams} instead of {theirs.streams}"]
    for i in range(len(ours.tokens)):
        where = f" of {theirs.streams[i]}" if theirs.streams[i] else ""
        compare(f"tokens{where}", ours.tokens[i], theirs.tokens[i])
        if ours.kinds[i] != theirs.kinds[i]:
            found.append(f"kinds{where} {list(ours.kinds[i])} instead of {list(theirs.kinds[i])}")
        else:
            compare(f"positional{where}", ours.positional[i], theirs.positional[i])
    for line, amount in theirs.lines.items():
        compare(line, torch.tensor([ours.lines[line]]), torch.tensor([amount]))
    if ours.boundaries is not None and theirs.boundaries is not None:
        if len(ours.boundaries) != len(theirs.boundaries):
            found.append(f"{len(ours.boundaries)} boundaries instead of {len(theirs.boundaries)}")
        else:
            for i, (a, b) in enumerate(zip(ours.boundaries, theirs.boundaries)):
                compare(f"boundary {i}", a, b)
    return found


def untrue(ours: Account, group: Group) -> list[str]:
    """In what an account contradicts what is known of the function; empty if in nothing."""
    found = [] if ours.closed else [f"the ledger is open: {ours.lines}"]
    kinds = tuple(kind for each in ours.kinds for kind in each)
    if kinds != group.kinds:
        found.append(f"kinds {list(kinds)}, known {list(group.kinds)}")
    places = tuple(p.shape[-1] for p in ours.positional)
    if places != group.places:
        found.append(f"places {places}, known {group.places}")
    if group.streams and ours.streams != group.streams:
        found.append(f"streams {ours.streams}, known {group.streams}")
    if group.truth is not None and not found:
        found += beside(ours, truth_of(group.family, group.name))
    return found


def beside(ours: Account, truth: Mapping[str, Tensor]) -> list[str]:
    """Relevance against what was computed by hand: totals where only those are known."""
    found, allowed = [], RELATIVE * max(ours.scale, 1e-3)
    for what, of in (("tokens", ours.tokens), ("positional", ours.positional)):
        if what in truth:
            known, seen = truth[what], torch.cat(of)
            told = far(seen if seen.dim() == known.dim() else seen.sum(-1), known, allowed)
            found += [f"{what} {told} by hand"] if told is not None else []
    return found


def verdict(group: Group, spelling: Spelling) -> tuple[Account | None, list[str]]:
    """The account of a spelling, and what is wrong with it; None if it was refused."""
    try:
        ours = account(spelling)
    except Exception as error:  # whatever a user would see instead of an explanation
        return None, [f"{type(error).__name__}: {str(error)[:160]}"]
    wrong = untrue(ours, group)
    if spelling is group.spellings[0]:
        return ours, wrong
    try:
        theirs = reference_of(group.family, group.name)
    except Exception as error:
        return ours, [*wrong, f"the reference: {type(error).__name__}: {str(error)[:100]}"]
    if group.truth is not None and untrue(theirs, group):  # a wrong reference tells nothing about its twins
        return ours, wrong
    return ours, wrong + differences(ours, theirs, 0.0 if group.exact else RELATIVE)
