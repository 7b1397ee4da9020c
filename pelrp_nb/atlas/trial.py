"""One architecture, explained once in float64 and once in float32, and what came of it as plain data."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..composites import NAMED, PA_LRP, Composite
from ..engine.options import Options
from ..errors import PelrpError, RuleError
from ..explain import explain
from .build import Built, NotBuilt, answer, build, cast, logits_of, shortened
from .expected import announced
from .names import Entry
from .state import differences, snapshot


@dataclass
class Run:
    """One explanation in one precision.

    outcome:    "explained", "refused" (a reason is given), "crashed" (a fault of ours)
    difference: largest difference between the logits under the rules and the plain ones, as a part of the largest logit
    sinks:      kind of position -> how many sinks of it; layers: how many layers the model was seen to have
    gap, scale, allowed: of the audited ledger; opened: the layer at which it opened; notes: of the explanation
    softmax:    the sizes of what its softmaxes keep, added up
    changed:    what was not as before afterwards
    """

    outcome: str
    reason: str = ""
    difference: float | None = None
    sinks: dict[str, int] = field(default_factory=dict)
    layers: int = 0
    gap: float | None = None
    scale: float | None = None
    allowed: float | None = None
    opened: str | None = None
    audited: bool = False
    positional: float | None = None
    softmax: float | None = None
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Row:
    """All that is known of one architecture.

    outcome: "not built" with the library's reason, "built", or "lost" (time limit, memory, crash of the process)
    single_only: why the plain model cannot run in float64; empty if it can
    announced: kinds of positions that names in the model announce, and one such name for each
    """

    kind: str
    name: str
    model: str
    option: str
    outcome: str
    reason: str = ""
    recipe: str = ""
    parameters: int = 0
    inputs: list[str] = field(default_factory=list)
    attention: str | None = None
    single_only: str = ""
    announced: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    seconds: float = 0.0


def run(entry: Entry, dtypes: tuple[str, ...] = ("float64", "float32"), method: str = "pa-lrp") -> dict[str, Any]:
    """Build one architecture in this process and explain it by the composite of that name; the row as plain data."""
    start = time.perf_counter()
    row = Row(entry.kind, entry.name, entry.model, entry.option, "not built")
    with quietly(), torch.random.fork_rng([]):
        try:
            built = build(entry)
        except NotBuilt as error:
            row.reason = str(error)
        else:
            _fill(row, built, dtypes, NAMED[method])
    row.seconds = time.perf_counter() - start
    return asdict(row)


def _fill(row: Row, built: Built, dtypes: tuple[str, ...], composite: Composite) -> None:
    """What is known of a model that was built, and its explanations."""
    row.outcome, row.recipe, row.single_only = "built", built.recipe, built.single_only
    row.parameters = sum(p.numel() for p in built.model.parameters())
    row.inputs = list(built.given)
    row.attention = getattr(built.model.config, "_attn_implementation", None)
    row.announced = announced(built.model, lambda: answer(built.model, built.given, torch.float32))
    for dtype in ("float32",) if built.single_only else dtypes:
        row.runs[dtype] = done = once(built, getattr(torch, dtype), composite)
        if done.outcome != "explained":
            break


@contextmanager
def quietly() -> Iterator[None]:
    """Without the library's remarks on configurations that nobody will use."""
    from transformers import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def once(built: Built, dtype: torch.dtype, composite: Composite = PA_LRP) -> Run:
    """One audited explanation of the highest logit of the last place."""
    model, given = built.model.to(dtype), cast(built.given, dtype)
    torch.manual_seed(0)
    plain = answer(model, given, dtype)  # where the plain model draws numbers, it draws the same ones again below
    row = plain[0].reshape(-1, plain.shape[-1])[-1]
    highest, bent = int(row.argmax()), []

    def target(output: Any) -> Tensor:
        logits = logits_of(output)
        bent.append(logits.detach())
        return logits[0].reshape(-1, logits.shape[-1])[-1, highest]

    before = snapshot(model, given)
    torch.manual_seed(0)
    try:
        x = {k: v for k, v in given.items() if isinstance(v, Tensor)}
        found = explain(model, x, target=target, composite=composite, options=Options(audit=True))
        done = explained(found)
    except PelrpError as error:
        done = Run("refused", f"{'' if isinstance(error, RuleError) else type(error).__name__ + ': '}{error}")
    except Exception as error:
        done = Run("crashed", f"{shortened(error)} <- {tail(error)}")
    done.changed = differences(before, snapshot(model, given))
    if bent:
        done.difference = float((bent[0] - plain).abs().max() / plain.abs().max())
    return done


def explained(found: Any) -> Run:
    """What an explanation says of itself."""
    ledger, parts = found.ledger, list(found.streams.values()) or [found]
    sinks = Counter(kind for part in parts for kind in part.sink_kinds)
    layers = sum(b.kind == "layer" for b in found.boundaries)
    return Run(
        "explained", sinks=dict(sinks), layers=layers, gap=ledger.gap, scale=ledger.scale, allowed=ledger.allowed,
        opened=ledger.opened, audited=ledger.audited, positional=ledger.positions, softmax=sum(map(abs, ledger.softmax.values())),
        notes=list(found.notes),
    )  # fmt: skip


def tail(error: BaseException, most: int = 4) -> str:
    """The innermost calls of our own code that led to an error."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "pelrp_nb" in f.filename and "pelrp_nb/atlas" not in f.filename]
    return " <- ".join(f"{f.filename.split('pelrp_nb/')[-1]}:{f.lineno} {f.name}" for f in reversed(ours[-most:]))
