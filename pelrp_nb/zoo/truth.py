"""A table of truth: where each method puts its relevance, on questions whose right explanation is known.

mass    the part of sum |R| over the words of a question (its own name and the special tokens left out) that lies on the words its
        answer hangs on
share   sum |P| / (sum |S| + sum |P|), P summed over sinks first, beside the same of two controls:
        misplaced   the sinks hold the positions of other tokens, dealt out at random: R = P' * g (not for biases among scores,
                    whose gradient is heard and not kept)
        half        positions taken as given, and a factor of one on queries and keys in every layer, which is paid half as any
                    factor is: what a sink takes that means nothing

Only questions that the model answers rightly are explained; what is explained is the logit of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..composites import ATTN_LRP, CP_LRP, PA_LRP, Composite
from ..engine.options import Options
from ..engine.propagation import propagate
from ..errors import ZooError
from .catalogue import KINDS as POSITIONS
from .catalogue import MODELS
from .questions import KINDS, Question
from .shelf import card, load, names
from .tasks import task

if TYPE_CHECKING:
    from ..engine.propagation import Propagation

METHODS = (
    "PA-LRP signed", "PA-LRP absolute", "PA-LRP positive", "PA-LRP l2", "AttnLRP", "CP-LRP", "input x gradient", "random",
)  # fmt: skip
SHARES = ("positional share", "misplaced", "half")
LIMIT = 100  # questions of each kind
_PLAIN = Options(ledger=False)


@dataclass(frozen=True)
class Row:
    """One task and kind of position: means over questions, and the standard errors of these means.

    solved: whether the model's card says it can answer; count: questions explained
    """

    task: str
    positions: str
    solved: bool
    count: int
    mass: Mapping[str, tuple[float, float]]
    share: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Batch:
    """Questions of one length as one batch without padding: ids (B, T), answers (B,), counted and true words (B, T)."""

    ids: Tensor
    answers: Tensor
    counted: Tensor
    truth: Tensor


def table(limit: int = LIMIT, seed: int = 0, tell: Callable[[str], None] = lambda name: None) -> list[Row]:
    """All tasks and kinds of positions; `limit` questions of each task."""
    if limit < 1:
        raise ZooError(f"There must be at least one question, but limit is {limit}. Type limit={LIMIT}.")
    rows = []
    for name in [f"tasks-{called}" for called in POSITIONS if f"tasks-{called}" in names()]:
        positions = MODELS[name].positions
        model, tokenizer = load(name)
        unsolved = card(name)["unsolved"]
        for kind in KINDS:
            tell(f"{positions} {kind}")
            found = measured(model, tokenizer, task(kind, count=limit).examples, seed)
            if found is not None:
                rows.append(Row(kind, positions, kind not in unsolved, *found))
    return rows


def measured(
    model: Any, tokenizer: Any, questions: Sequence[Question], seed: int = 0
) -> tuple[int, dict[str, tuple[float, float]], dict[str, tuple[float, float]]] | None:
    """(count, mass by method, share by control) over the questions answered rightly; None if there are none."""
    masses, _, shares = each(model, tokenizer, questions, seed)
    if not masses:
        return None
    means, controls = ({name: _mean(one) for name, one in some.items()} for some in (masses, shares))
    return len(masses["random"]), means, controls


def each(
    model: Any, tokenizer: Any, questions: Sequence[Question], seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Mass by |R|, mass by positive R and share of every question answered rightly, by method and by control; {} if there are none."""
    rng = torch.Generator().manual_seed(seed)
    sizes: dict[str, list[Tensor]] = {name: [] for name in METHODS}
    positive: dict[str, list[Tensor]] = {name: [] for name in METHODS}
    shares: dict[str, list[Tensor]] = {name: [] for name in SHARES}
    for batch in _batches(model, tokenizer, questions):
        relevance, share = of_batch(model, batch, rng)
        for name, R in relevance.items():
            for found, part in ((sizes, R.abs()), (positive, R.clamp(min=0))):
                part = part * batch.counted
                found[name].append(((part * batch.truth).sum(-1) / part.sum(-1)).nan_to_num(0.0))
        for name, one in share.items():
            shares[name].append(one)
    first, second, third = ({name: torch.cat(parts) for name, parts in found.items() if parts} for found in (sizes, positive, shares))
    return first, second, third


def _mean(values: Tensor) -> tuple[float, float]:
    """The mean and its standard error."""
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else values.new_tensor(0.0)
    return float(values.mean()), float(error)


def _batches(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Iterator[Batch]:
    """The questions answered rightly, those of one length together."""
    for _, some in groupby(sorted(questions, key=lambda one: len(one.text.split())), key=lambda one: len(one.text.split())):
        group = list(some)
        encoded = tokenizer([one.text for one in group], return_tensors="pt", return_special_tokens_mask=True)
        ids, answers = encoded["input_ids"], torch.tensor([one.label for one in group])
        counted = encoded["special_tokens_mask"] == 0
        counted[:, counted[0].nonzero()[0]] = False  # the question's own name
        truth = torch.zeros_like(counted)
        for row, one in zip(truth, group, strict=True):
            row[[1 + word for word in one.truth.tokens]] = True  # the first token is special
        with torch.no_grad():
            right = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.argmax(-1) == answers
        if right.any():
            yield Batch(ids[right], answers[right], counted[right], truth[right])


def of_batch(model: Any, batch: Batch, rng: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Relevance (B, T) by every method, and shares (B,) with their controls."""
    found: dict[str, Tensor] = {}
    with propagate(model, PA_LRP, _PLAIN) as flow:
        value = _value(model, batch)
    trace = flow.trace(value, keep=True)
    tokens, *leaves = flow.inputs.tokens[0], *(leaf.tensor for leaf in flow.inputs.sinks if leaf.tensor is not None)
    semantic, *paid = torch.autograd.grad(value, [tokens, *leaves])
    S, P = (tokens.detach() * semantic).sum(-1), _rows(trace.positional, len(batch.ids)).sum(1)
    kept = {name: _rows(one, len(batch.ids)) for name, one in trace.reductions.items()}
    found["PA-LRP signed"] = S + P
    found["PA-LRP absolute"] = S + kept["positional.absolute"].sum(1)
    for name in ("positive", "l2"):
        found[f"PA-LRP {name}"] = kept[f"semantic.{name}"] + kept[f"positional.{name}"].sum(1)
    found["AttnLRP"] = _content(model, batch, ATTN_LRP)
    found["CP-LRP"] = _content(model, batch, CP_LRP)
    found["input x gradient"] = input_times_gradient(model, batch)
    found["random"] = torch.rand(S.shape, generator=rng)
    shares = {"positional share": _share(S, P), "half": _share(*halves(model, batch))}
    if len(leaves) == len(flow.inputs.sinks):  # a bias among scores is heard as sums only
        wrong = [misplaced(leaf.detach(), g, S.shape[1], rng) for leaf, g in zip(leaves, paid, strict=True)]
        shares["misplaced"] = _share(S, sum(wrong, torch.zeros_like(S)))
    return found, shares


def _value(model: Any, batch: Batch) -> Tensor:
    """The sum of the answers' logits: rows of a batch do not mix, so each keeps its own relevance."""
    logits = model(input_ids=batch.ids, attention_mask=torch.ones_like(batch.ids)).logits
    return logits.gather(1, batch.answers[:, None]).sum()


def _rows(x: Tensor, rows: int) -> Tensor:
    """A trace drops the axis of a batch of one."""
    return x[None] if rows == 1 else x


def _share(S: Tensor, P: Tensor) -> Tensor:
    S, P = S.abs().sum(-1), P.abs().sum(-1)
    return P / (S + P)


def _content(model: Any, batch: Batch, composite: Composite) -> Tensor:
    """(B, T) of a composite; with added positions, if it has such sinks."""
    with propagate(model, composite, _PLAIN) as flow:
        trace = flow.trace(_value(model, batch))
    return _rows(trace.tokens, len(batch.ids)).sum(-1) + _rows(trace.positional, len(batch.ids)).sum(1)


def input_times_gradient(model: Any, batch: Batch) -> Tensor:
    """(B, T) token vectors times their plain gradient."""
    seen: list[Tensor] = []

    def leaf(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[0]

    handle = model.get_input_embeddings().register_forward_hook(leaf)
    try:
        with torch.enable_grad():
            (g,) = torch.autograd.grad(_value(model, batch), seen)
    finally:
        handle.remove()
    return (seen[0].detach() * g).sum(-1)


def misplaced(P: Tensor, g: Tensor, T: int, rng: torch.Generator) -> Tensor:
    """(B, T) what a sink would be paid if it held the positions of other tokens.

    P, g: (B, ..., T, features)
    """
    R = P[..., torch.randperm(T, generator=rng), :] * g
    return R.sum([i for i in range(1, R.dim()) if i != R.dim() - 2])


# --- sinks that mean nothing -----------------------------------------------------------------------------------------

QUERIES_AND_KEYS = ("query", "key", "q_lin", "k_lin", "q", "k")
JOINED = "Wqkv"  # one map for queries, keys and values side by side


def halves(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, T) content and (B, T) what factors of one take that stand on queries and keys in every layer."""
    with propagate(model, ATTN_LRP, _PLAIN) as flow, _factors(model, flow) as factors:
        value = _value(model, batch)
    tokens = flow.inputs.tokens[0]
    semantic, *paid = torch.autograd.grad(value, [tokens, *factors])
    return (tokens.detach() * semantic).sum(-1), torch.stack([g.sum(-1) for g in paid]).sum(0)


@contextmanager
def _factors(model: nn.Module, flow: Propagation) -> Iterator[list[Tensor]]:
    """A factor of one on the output of every map that makes queries or keys."""
    factors: list[Tensor] = []

    def one(x: Tensor) -> Tensor:
        factors.append(flow.leaf(torch.ones_like(x)))
        return x * factors[-1]

    def whole(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        return one(output)

    def but_values(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        cut = output.shape[-1] * 2 // 3
        return torch.cat([one(output[..., :cut]), output[..., cut:]], -1)

    handles = []
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        if isinstance(module, nn.Linear) and last in (*QUERIES_AND_KEYS, JOINED):
            handles.append(module.register_forward_hook(but_values if last == JOINED else whole))
    try:
        yield factors
    finally:
        for handle in handles:
            handle.remove()
