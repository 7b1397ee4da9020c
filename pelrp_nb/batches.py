"""Inputs through the model in padded batches: each row as if it were alone, each error by the number of its input."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .composites import Composite, in_force
from .engine.options import Options
from .engine.backward.conditional import part_of
from .engine.propagation import Propagation, propagate
from .engine.trace import Trace, Visible
from .errors import InputError, ModelError, PelrpError, RuleError
from .inputs.arguments import RAISED, call, takes
from .inputs.model_input import Encoded
from .inputs.outputs import has_rows, logits_of_row, mixes, of_row
from .inputs.grouping import TOKENS, beginning, grouped
from .inputs.padding import Padding, fill_of, harmless, padded
from .inputs.rows import Errors, good
from .ledger import Ledger
from .results.build import Told, common, explanation
from .results.explanation import Explanation
from .rules.pages import own_pages
from .targets.kept import keeping, kept
from .targets.logits import answers_each, logits_of, one_per_token
from .targets.resolve import Asked, answer, ask, spoken
from .targets.target import Each

LONG = 0.5  # seconds from which on a bar is shown
ROUNDS = {"float64": 1e-7, "float32": 1e-5}  # the part of a ledger's scale that rounding takes at most


@dataclass(frozen=True)
class Run:
    """One call of `explain`: batch after batch. `tokens`: how many padded places a batch has at most."""

    model: nn.Module
    processor: Any
    composite: Composite
    options: Options
    errors: Errors = field(default_factory=Errors)
    tokens: int = TOKENS

    def ask(self, rows: Sequence[Any], target: Any, contrast: Any, several: bool) -> list[Any]:
        """The questions of every input, in order; where one cannot be asked, it is told or skipped by its number."""
        kept = good(rows)
        targets, contrasts = for_each(target, kept, len(rows)), for_each(contrast, kept, len(rows))
        try:
            asked: list[Any] = ask(self.model, [rows[i] for i in kept], targets, contrasts, several, self.processor)
        except PelrpError:
            if not several or any(isinstance(x, Each) and len(x.targets) != len(kept) for x in (targets, contrasts)):
                raise
            pairs = [(rows[i], target_of(targets, k), target_of(contrasts, k)) for k, i in enumerate(kept)]
            asked = [self.errors.attempt(i, partial(self.ask_one, *pair)) for i, pair in zip(kept, pairs, strict=True)]
        there = dict(zip(kept, asked, strict=True))
        return [there.get(i, row) for i, row in enumerate(rows)]

    def ask_one(self, row: Encoded, target: Any, contrast: Any) -> Asked:
        """The questions of one input."""
        return ask(self.model, [row], target, contrast, False, self.processor)[0]

    def all(self, asked: Sequence[Any], done: Callable[[int], Any] | None = None) -> list[Any]:
        """The answers to every input, in order; `done` hears after each batch how many inputs it had, or else a bar is shown."""
        from tqdm.auto import tqdm

        found: list[Any] = list(asked)
        padding, batches = self.planned(asked)
        hidden = done is not None or len(batches) < 2
        for numbers in tqdm(batches, desc="explain", unit="batch", leave=False, disable=hidden, delay=LONG):
            for i, answers in zip(numbers, self.batch([asked[i] for i in numbers], padding, numbers), strict=True):
                found[i] = answers
            if done is not None:
                done(len(numbers))
        return found

    def planned(self, asked: Sequence[Any]) -> tuple[Padding, list[list[int]]]:
        """How rows are padded, and which inputs share a batch: those of similar length, where padding is harmless."""
        kept = good(asked)
        rows = [asked[i].row for i in kept]
        padding = Padding("right", False, fill_of(self.model, self.processor))
        batches = grouped(rows, True, self.tokens, beginning(self.model) if len(rows) > 1 else None)
        if max(map(len, batches), default=0) > 1:
            way = self.way(rows, batches)
            padding, batches = (way, batches) if way is not None else (padding, grouped(rows, False, self.tokens))
        return padding, [[kept[i] for i in batch] for batch in batches]

    def way(self, rows: Sequence[Encoded], batches: Sequence[Sequence[int]]) -> Padding | None:
        """How rows of unequal length may be padded; None where that does harm, or the model refuses the input."""
        try:
            return harmless(self.model, rows, batches, self.processor)
        except RAISED:
            return None

    def batch(self, asked: Sequence[Asked], padding: Padding, numbers: Sequence[int]) -> list[Any]:
        """The answers to the inputs of one batch; one by one where the model or the books cannot keep its rows apart."""
        if len(asked) > 1:
            try:
                return self.together(asked, padding)
            except RuleError:
                raise
            except (Together, PelrpError, *RAISED):
                pass
        return [self.errors.attempt(i, partial(self.single, a, padding)) for i, a in zip(numbers, asked, strict=True)]

    def single(self, asked: Asked, padding: Padding) -> list[Explanation]:
        """The answers to one input. Raises InputError with the model's own words where the model itself refuses it."""
        try:
            return self.together([asked], padding)[0]
        except Leaking:
            return self.together([replace(asked, row=replace(asked.row, leaks=True, labels=asked.row.whole or {}))], padding)[0]
        except PelrpError:
            raise
        except RAISED as error:
            refused_by_itself(self.model, padded(self.model, [asked.row], padding).arguments)
            refused_with_gradients(self.model, error)
            refused_with_rules(self.model, self.composite, error)
            raise

    @torch.no_grad()
    def alone(self, asked: Asked, padding: Padding) -> Any:
        """The model's own output for one input, whose shapes say what has rows; nothing random is drawn."""
        with torch.random.fork_rng(devices=[]):
            return call(self.model, padded(self.model, [asked.row], padding).arguments)

    def together(self, asked: Sequence[Asked], padding: Padding) -> list[list[Explanation]]:
        """One forward pass; one backward pass for the first questions of all rows, one for the second ones, and so on."""
        B = len(asked)
        batch = padded(self.model, [a.row for a in asked], padding)
        found: list[list[Explanation]] = [[] for _ in asked]
        asked_inside = tuple(dict.fromkeys(c for one in asked for q in one.questions for c in q.inside))
        picked = all(q.picks for one in asked for q in one.questions)
        alone = None if picked or B == 1 else self.alone(asked[0], padding)
        with propagate(self.model, self.composite, self.options, asked_inside) as flow:
            given = named_parts(batch.arguments, asked)
            more = keeping(self.model, given, asked, batch.visible)
            output = call(self.model, {**given, **more})
            if B > 1 and (mixes(logits_of(output) if picked else output, B) or not (picked or has_rows(output, alone, B))):
                raise Together
            if B > 1 and one_per_token(getattr(output, "logits", None), self.model, max(len(spoken(one)) for one in asked)):
                raise Together  # padding has logits as well
            with torch._C.DisableTorchFunction() if picked else nullcontext():  # what a function of the user's does has rules
                cut = logits_of_row if picked or more else of_row
                rows = [
                    kept(cut(output, i, B, v, each=answers_each(output, self.model, v)), more, one, v)
                    for i, (one, v) in enumerate(zip(asked, batch.visible, strict=True))
                ]
                inside = {c: part_of(flow, c) for c in asked_inside}
                parts = ({c: of_row(x, i, B, visible) for c, x in inside.items()} for i, visible in enumerate(batch.visible))
                chosen = [[answer(q, own, self.model, self.processor, spoken(one), part) for q in one.questions]
                          for one, own, part in zip(asked, rows, parts, strict=True)]  # fmt: skip
            about, last = common(flow), max(map(len, chosen))
            for k in range(last):
                here = [c[k] if k < len(c) else None for c in chosen]
                cuts = [seen(a, k, v) for a, v in zip(asked, batch.visible, strict=True)]
                traces = flow.traces([h and h[0] for h in here], keep=k + 1 < last, visible=cuts)
                with torch._C.DisableTorchFunction():  # arithmetic on results is none of the model's: nothing is noted on them
                    apart(flow, asked, traces)
                    for one, trace, h, answers in zip(asked, traces, here, found, strict=True):
                        if trace is not None and h is not None:
                            q = one.questions[k]
                            told = Told(one.row, q.upto, h[1], float(h[0].detach()), h[2])
                            answers.append(explanation(flow, told, trace, about))
        return found


def named_parts(arguments: Mapping[str, Any], asked: Sequence[Asked]) -> Mapping[str, Any]:
    """The arguments of a call whose logits we look up by name: in a tuple nobody can tell them from a loss."""
    handed = any(q.handed for one in asked for q in one.questions)
    return {**arguments, "return_dict": True} if arguments.get("return_dict") is False and not handed else arguments


# what torch says where something cannot be done to a tensor with a gradient
GRADED = ("requires grad", "require grad", "inplace", "in-place", "automatic differentiation")


class Together(Exception):
    """A batch whose rows cannot be kept apart."""


class Leaking(Together):
    """What a mask hides at an end takes part in the answer, so it must be shown."""


def apart(flow: Propagation, asked: Sequence[Asked], traces: Sequence[Trace | None]) -> None:
    """Raise Together where the books of a batch may be mixed, or where hidden places have a part in one."""
    if len(asked) > 1 and mixed(flow, traces):
        raise Together
    if flow.account.rows > len(asked):
        raise InputError(
            f"The input has {flow.account.rows} rows that the model keeps apart, and its output has none for each. Explain one row at a "
            "time: explain(model, x[:1])."
        )
    for one, trace in zip(asked, traces, strict=True):
        if trace is not None and one.row.own and not one.row.leaks and leaks(trace):
            raise Leaking
        if trace is not None and one.row.alone and leaks(trace):
            raise InputError(
                f"Which axis of `{one.row.main}` holds the places cannot be told: {tuple(one.row.tensors[one.row.main].shape)}. "
                f"Pass a batch of one, {one.row.main}[None], to a module that takes batches."
            )


def leaks(trace: Trace) -> bool:
    """Whether the tokens and positions that are shown lack some of what the ledger has."""
    parts = trace.streams.values() if trace.streams else (trace,)
    shown = sum(float(part.tokens.sum()) + float(part.positional.sum()) for part in parts)
    ledger = trace.ledger
    return abs(shown - ledger.tokens - ledger.positions) > rounding(ledger)


def for_each(target: Any, kept: Sequence[int], count: int) -> Any:
    """Targets of the inputs that were not skipped."""
    if isinstance(target, Each) and len(target.targets) == count:
        return Each(tuple(target.targets[i] for i in kept))
    return target


def target_of(target: Any, k: int) -> Any:
    """The target of one input."""
    return target.targets[k] if isinstance(target, Each) else target


def refused_by_itself(model: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Raise InputError with the model's own words where it refuses this input without us, too."""
    try:
        with torch.no_grad():
            call(model, arguments)
    except RAISED as error:
        said = [*str(error).strip().splitlines(), type(error).__name__][0].rstrip(".")
        needs = ("input_ids", "pixel_values", "input_features")
        absent = [n for n in needs if takes(model, n) and n not in arguments and not (n == "input_ids" and "inputs_embeds" in arguments)]
        more = f" It also takes {' and '.join(absent)}." if absent else ""
        raise InputError(
            f"{type(model).__name__} itself refuses this input ({', '.join(arguments)}): {said}.{more} "
            f"Type model({', '.join(f'{name}=...' for name in arguments)}) to see it without pelrp_nb."
        ) from error


def refused_with_gradients(model: nn.Module, error: Exception) -> None:
    """Raise ModelError where the model itself has no objection, and torch has one since gradients are followed."""
    said = [*str(error).strip().splitlines(), ""][0].rstrip(".")
    if not isinstance(error, RuntimeError) or not any(words in said for words in GRADED):
        return
    ours = (str(Path(__file__).parent), str(Path(torch.__file__).parent))
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    where = f" The line is `{lines[-1].line}`, {Path(lines[-1].filename).name}:{lines[-1].lineno}." if lines and lines[-1].line else ""
    raise ModelError(
        f"{type(model).__name__} works by itself, and not where gradients are followed, as in training: {said}.{where} Write it out of "
        "place and without `out=`, x = x + y for x += y; or on x.detach(), if what it makes is to be a constant."
    ) from error


def refused_with_rules(model: nn.Module, composite: Composite, error: Exception) -> None:
    """Raise RuleError where the model itself has no objection, and has one to what a rule of one's own returns."""
    mine = ", ".join(own_pages(in_force(composite)))
    if mine:
        raise RuleError(
            f"{type(model).__name__} works by itself, and not under {mine}: {type(error).__name__}: {error}. A rule returns a tensor of "
            "the shape that its operation returns. Type pelrp_nb.check_rule(rule), with an example of such an operation."
        ) from error


def mixed(flow: Propagation, traces: Sequence[Trace | None]) -> bool:
    """Whether amounts may be in the wrong row's books, as a gap of more than rounding says: they came in another order than by rows."""
    ledgers = [t.ledger for t in traces if t is not None]
    return flow.account.open and any(not abs(x.gap) <= rounding(x) for x in ledgers)


def rounding(ledger: Ledger) -> float:
    """What rounding takes at most."""
    return max(ROUNDS.get(ledger.precision, 0.0) * ledger.scale, ledger.rounding)


def seen(asked: Asked, k: int, visible: Any) -> dict[str, Visible]:
    """The places that the answer to question k covers, by stream: no padding, and nothing after what its place could see."""
    if asked.row.leaks:
        return {}
    found = dict(visible)
    upto = asked.questions[k].upto if k < len(asked.questions) else None
    if upto is not None:
        stream, T = upto
        name = "decoder_input_ids" if stream == "decoder" else asked.row.main
        place = found.get(stream) or Visible(n := asked.row.tensors[name].shape[1], torch.arange(n))
        found[stream] = Visible(place.length, place.at[:T])
    return found
