"""What must hold of every random model, in either spelling."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from interrupts import changed, surroundings
from spellings.compare import far
from torch import Tensor

from pelrp_nb import Options, propagate
from pelrp_nb.composites import as_composite
from pelrp_nb.errors import ModelError

from .by_hand import Bent, Known, truth
from .design import Design, Spelling
from .model import WORDS, Model
from .spelt import Spelt

RELATIVE = 1e-9


@dataclass(frozen=True)
class Answer:
    """What one spelling was explained as: tokens and sinks by stream, the ledger's lines, and how the forward pass compares."""

    tokens: dict[str, Tensor]
    sinks: dict[str, list[tuple[str, Tensor]]]
    lines: dict[str, float]
    scale: float
    closed: bool
    out: Tensor  # the three numbers of the row
    apart: float  # of them from the plain model's


def ids_of(design: Design) -> tuple[Tensor, ...]:
    """A row of ids for each stream."""
    rng = torch.Generator().manual_seed(design.seed)
    return tuple(torch.randint(WORDS, (1, n), generator=rng) for n in design.places[: design.texts])


def laid_out(ids: Tensor, s: Spelling, seed: int) -> Tensor:
    """The row in its batch, in the layout of the spelling."""
    if s.layout == "no batch":
        return ids[0]
    rng = torch.Generator().manual_seed(seed + 1)
    rows = torch.randint(WORDS, (s.rows, ids.shape[1]), generator=rng)
    rows[s.row] = ids[0]
    return rows.T if s.layout == "sequence first" else rows


def explained(design: Design, s: Spelling, composite: str) -> Answer:
    """Explain one number of the model; what the call left behind is an error."""
    model = Model(design, Spelt(design, s))
    given = tuple(laid_out(ids, s, design.seed) for ids in ids_of(design))
    with torch.no_grad():
        plain = model(*given)
    before, weights = surroundings(model), {name: (p, p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    with propagate(model, as_composite(composite), Options(audit=True)) as flow:
        out = model(*given)
        picks = [out[1]] if s.layout == "no batch" else [row[1] for row in out]
        trace = flow.traces(picks)[s.row] if len(picks) > 1 else flow.trace(picks[0])
    left = changed(before, surroundings(model))
    for name, p in model.named_parameters():
        was, value, wanted = weights[name]
        if p is not was or not torch.equal(p, value) or p.grad is not None or p.requires_grad != wanted:
            left.append(name)
    assert not left, f"left behind: {left}"
    return answer(trace, (out if s.layout == "no batch" else out[s.row]).detach(), float((out.detach() - plain).abs().max()))


def answer(trace: Any, out: Tensor, apart: float) -> Answer:
    """A trace as what is compared."""
    parts = dict(trace.streams) or {"first": trace}
    ledger = trace.ledger
    lines = {"value": ledger.value, "tokens": ledger.tokens, "positions": ledger.positions,
             "constants": sum(ledger.constants.values()), "softmax": sum(ledger.softmax.values())}  # fmt: skip
    sinks = {name: list(zip((str(x.kind) for x in t.sinks), t.positional)) for name, t in parts.items()}
    return Answer({name: t.semantic for name, t in parts.items()}, sinks, lines, ledger.scale, ledger.closed, out, apart)


def kinds(sinks: dict[str, list[tuple[str, Tensor]]]) -> dict[str, Counter[str]]:
    """How many sinks of each kind, by stream."""
    return {name: Counter(kind for kind, _ in some) for name, some in sinks.items()}


def against_truth(ours: Answer, known: Known) -> list[str]:
    """What contradicts what was computed by hand."""
    found, allowed = [], RELATIVE * max(ours.scale, 1e-3)
    if set(known) != set(ours.tokens):
        return [f"streams {sorted(ours.tokens)} instead of {sorted(known)}"]
    wanted = {name: sinks for name, (_, sinks) in known.items()}
    if kinds(ours.sinks) != kinds(wanted):
        return [f"kinds {kinds(ours.sinks)}, by hand {kinds(wanted)}"]
    for name, (tokens, sinks) in known.items():
        told = [(f"tokens of {name}", far(ours.tokens[name], tokens, allowed))]
        for i, (kind, amount) in enumerate(sinks):
            mine = dict(enumerate(of_kind(ours.sinks[name], kind)))[[k for k, _ in sinks[:i]].count(kind)]
            told.append((f"{kind} {i} of {name}", far(mine if amount.dim() else mine.sum(), amount, allowed)))
        found += [f"{what} {words} by hand" for what, words in told if words is not None]
    return found


def of_kind(sinks: list[tuple[str, Tensor]], kind: str) -> list[Tensor]:
    """The sinks of one kind, in call order."""
    return [amount for one, amount in sinks if one == kind]


def differences(ours: Answer, theirs: Answer) -> list[str]:
    """In what two spellings of one function are explained otherwise."""
    allowed, found = RELATIVE * max(theirs.scale, 1e-3), []
    if kinds(ours.sinks) != kinds(theirs.sinks):
        return [f"kinds {kinds(ours.sinks)}, its twin {kinds(theirs.sinks)}"]
    pairs = [(f"tokens of {name}", ours.tokens[name], theirs.tokens[name]) for name in theirs.tokens]
    for name, sinks in theirs.sinks.items():
        for kind in dict.fromkeys(kind for kind, _ in sinks):
            pairs.append((f"{kind} of {name}", torch.stack(of_kind(ours.sinks[name], kind)), torch.stack(of_kind(sinks, kind))))
    pairs += [(line, torch.tensor([ours.lines[line]]), torch.tensor([amount])) for line, amount in theirs.lines.items()]
    for what, a, b in pairs:
        if (told := far(a, b, allowed)) is not None:
            found.append(f"{what} {told} of its twin")
    return found


def faults(design: Design, one: Spelling, other: Spelling, composite: str) -> tuple[list[str], list[Answer]]:
    """Everything that does not hold of a model in two spellings."""
    out, known = truth(Model(design, Bent(design, constant=composite == "cp-lrp")), ids_of(design))
    answers = [explained(design, s, composite) for s in (one, other)]
    for ours in answers:
        torch.testing.assert_close(ours.out, out, rtol=1e-9, atol=1e-9)  # else the spellings are none
    wrong = differences(*answers)
    for which, ours in zip(("one", "other"), answers):
        wrong += [] if ours.closed else [f"{which}: the ledger is open: {ours.lines}"]
        wrong += [f"{which}: the output is {ours.apart} off"] if ours.apart > 1e-12 * max(1.0, float(out.abs().max())) else []
        if composite in ("pa-lrp", "cp-lrp"):
            wrong += [f"{which}: {told}" for told in against_truth(ours, known)]
    return wrong, answers


def checked(design: Design, one: Spelling, other: Spelling, composite: str) -> list[Answer]:
    """The answers of two spellings, once everything is known to hold; none where delta attention refused one of them by name."""
    try:
        wrong, answers = faults(design, one, other, composite)
    except ModelError as error:
        if composite == "delta-lrp" and "composite=pelrp_nb.PA_LRP" in str(error):
            return []
        raise
    assert not wrong, "\n".join([composite, *wrong])
    return answers
