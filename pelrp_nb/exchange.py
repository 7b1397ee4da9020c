"""exchange(model, inputs) -> Exchange: what each token's position is worth, by exchanging it with those of others.

For places t and u let A' be the attention weights of a layer when the positions of t and u are exchanged in everything that enters its
scores (rotations, biases, ALiBi, relative embeddings), tokens and masks staying where they are, and the softmax computed again, exactly.
With g the bent gradient at the attention's output under CP-LRP,

    P_tu = sum over layers, heads, i, j of (A - A')_ij (g_i . v_j)           P_tu = P_ut, P_tt = 0
    P_t  = mean over u of P_tu

Positions that are added to vectors enter linearly: P_tu = (p_t - p_u) . (g_t - g_u), with g under PA-LRP where they are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .batches import seen, spoken
from .calls import fitting
from .composites import CP_LRP, PA_LRP
from .engine.leaves import Leaf
from .engine.leaving import Leaving
from .engine.options import Options
from .engine.places import credit
from .engine.places.maps import Axis
from .engine.positions.exchanging import Exchanges
from .engine.propagation import Propagation, propagate
from .engine.support import inspect
from .engine.trace import Trace
from .errors import InputError, ModelError
from .explain import of_pipeline
from .inputs.arguments import call
from .inputs.encode import encode_all
from .inputs.model_input import Encoded
from .inputs.outputs import of_row
from .inputs.padding import Padding, fill_of, padded
from .inputs.rows import Errors
from .results.exchange import Exchange
from .rules import PositionKind
from .targets.logits import answers_each
from .targets.resolve import Asked, Question, answer, ask

__all__ = ["exchange"]

ADDED, FIRST = "added positions", -1  # before all attention
CAUSAL = "In a causal model the mask tells positions as well, unseen by any exchange: a share of 0 there does not make order worthless."
ADDS = "sum"  # the part of positions that are added
NO_CHOICE = (
    "exchange without it: positions in the scores of attention are judged under CP-LRP, positions that are added to vectors under PA-LRP; "
    "a composite is for explain(model, inputs, composite=...)"
)
FEW = (
    "Positions are exchanged between two places or more; of this input {} can take part. Special tokens do not, unless you type "
    "special=True."
)


@fitting({"composite": NO_CHOICE, "options": "partners={} or seed=0", "k": "partners={}"})
def exchange(
    model: nn.Module, inputs: Any, *, processor: Any = None, target: Any = None, contrast: Any = None, partners: int | None = 8,
    seed: int = 0, special: bool = False,
) -> Exchange | list[Exchange]:  # fmt: skip
    """What the explained number owes to each token standing where it stands.

        exchange(model, "the cat saw the dog", processor=tokenizer).signed

    Args:
        model, inputs, processor, target, contrast: as for `explain`; inputs in a list are exchanged one after the other.
        partners: with how many others each place exchanges its position, drawn at random; None: with all.
        seed: how partners are drawn.
        special: whether special tokens take part.

    Returns:
        an `Exchange`, in units of the explained number; a list of them for several inputs. It is no part of the ledger.

    Raises:
        InputError: the model has no positions, or fewer than two places take part. ModelError: positions enter where they cannot be
        exchanged (joined features, factors of tokens, windows that are cut apart), told by name. What `explain` raises.
    """
    if partners is not None and (isinstance(partners, bool) or not isinstance(partners, int) or partners < 1):
        raise InputError(f"partners must be a number of other places, or None for all; got {partners!r}. Type partners=8.")
    model, processor = of_pipeline(model, processor)
    with Leaving(), ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        inspect(model)
        rows, several = encode_all(model, inputs, processor)
        asked = ask(model, rows, target, contrast, several, processor)
        if any(len(one.questions) != 1 for one in asked):
            raise InputError("An exchange is of one target for each input. Type target=... for one of them.")
        found = Errors(several).each(asked, lambda one: Row(model, processor, one, partners, seed, special).exchange())
    return found if several else found[0]


class Row:
    """One input and its question."""

    def __init__(self, model: nn.Module, processor: Any, asked: Asked, partners: int | None, seed: int, special: bool) -> None:
        self.model, self.processor, self.asked = model, processor, asked
        self.partners, self.seed = partners, seed
        self.batch = padded(model, [asked.row], Padding("right", False, fill_of(model, processor)))
        self.cut = seen(asked, 0, self.batch.visible[0])  # no padding, and nothing after what the target's place could see
        self.chosen = chosen(asked.row, self.cut, special)

    def value(self) -> tuple[Tensor, str]:
        """The explained number, and its name."""
        output = call(self.model, self.batch.arguments)
        visible = self.batch.visible[0]
        own = of_row(output, 0, 1, visible, each=answers_each(output, self.model, visible))
        question: Question = self.asked.questions[0]
        return answer(question, own, self.model, self.processor, spoken(self.asked))[:2]

    def exchange(self) -> Exchange:
        """Attention under CP-LRP, and what is added under PA-LRP."""
        worth = Exchanges(self.partners, self.seed, self.chosen)
        with propagate(self.model, CP_LRP, Options(ledger=False)) as flow:
            flow.worth, flow.taped = worth, True
            value, text = self.value()
            (trace,) = flow.traces([value], visible=[self.cut])
        assert trace is not None
        sinks = flow.inputs.sinks
        refuse(flow, sinks, worth)
        if any(leaf.part == ADDS for leaf in sinks):
            self.added(worth)
        number = float(value.detach())
        parts = trace.streams or {flow.streams.names[0] if flow.streams.several else "": trace}
        found = {name: self.told(part, name, worth, text, number, flow) for name, part in parts.items()}
        if not worth.pairs and worth.places:
            raise InputError(FEW.format(1))
        if not worth.pairs:
            raise InputError(f"The value depends on no attention and no position, so nothing can be exchanged. {CAUSAL}")
        first = next(name for name in found if name in worth.pairs)
        streams = found if len(found) > 1 else {}
        return Exchange(**{**vars(found[first]), "streams": streams})

    def added(self, worth: Exchanges) -> None:
        """What is added to vectors, linearly."""
        with propagate(self.model, PA_LRP, Options(ledger=False)) as flow:
            value, _ = self.value()
            flow.traces([value], keep=True, visible=[{}])
        leaves = [leaf for leaf in flow.inputs.sinks if leaf.part == ADDS]
        gradients = torch.autograd.grad(value, [leaf.tensor for leaf in leaves if leaf.tensor is not None], allow_unused=True)
        for leaf, g in zip(leaves, gradients, strict=True):
            if g is not None:
                found = linear(leaf, g, worth)
                if found is not None:
                    worth.add(leaf.stream, ADDED, FIRST, found)

    def told(self, trace: Trace, name: str, worth: Exchanges, text: str, value: float, flow: Propagation) -> Exchange:
        """One stream as a result; places that are padding left out."""
        visible, drawn = self.cut.get(name), worth.pairs.get(name)
        if trace.tokens.dim() == 2:
            semantic = trace.semantic
            labels, numbers = self.asked.row.labels.get(name), tuple(map(str, range(len(semantic))))
            tokens = labels.tokens if labels is not None and len(labels.tokens) >= len(semantic) else numbers
        else:
            semantic, tokens = of_picture(trace.tokens, *worth.places.get(name, ((), [()])))
        T = len(semantic)
        at = {int(p): i for i, p in enumerate(visible.at)} if visible is not None else {i: i for i in range(T)}
        pairs = torch.zeros(0, 2, dtype=torch.long) if drawn is None else renamed(drawn.each(), at)
        places = torch.zeros(0, dtype=torch.long) if drawn is None else renamed(drawn.places, at)
        kinds = tuple(dict.fromkeys(str(leaf.kind) for leaf in flow.inputs.sinks if leaf.stream == name))
        return Exchange(tuple(tokens[:T]), text, value, places, pairs, worth.of(name), semantic, self.partners, self.seed, kinds, (CAUSAL,))


def renamed(places: Tensor, at: Mapping[int, int]) -> Tensor:
    """Places of the model's as those of the result."""
    return torch.tensor([at[p] for p in places.flatten().tolist()], dtype=torch.long).reshape(places.shape)


def chosen(row: Encoded, visible: Mapping[str, Any], special: bool) -> dict[str, list[int]]:
    """The places of each stream that take part. Raises InputError if those of the first are fewer than two."""
    found = {}
    for name, labels in row.labels.items():
        kept = visible.get(name)
        at = list(range(len(labels.tokens))) if kept is None else [int(p) for p in kept.at]
        marks = (labels.special if len(labels.special) >= len(at) else (False,) * len(at))[: len(at)]
        found[name] = [p for p, mark in zip(at, marks, strict=True) if special or not mark]
    if found and all(len(places) < 2 for places in found.values()):
        raise InputError(FEW.format(sum(map(len, found.values()))))
    return found


def refuse(flow: Propagation, sinks: list[Leaf], worth: Exchanges) -> None:
    """Raise where there are no positions, or some enter where they cannot be exchanged."""
    if not sinks:
        raise InputError(f"{type(flow.model).__name__} has no positions that could be exchanged. {CAUSAL}")
    for leaf in sinks:
        known = leaf.part == "score" or leaf.kind == PositionKind.RELATIVE_EMBEDDING or turned(leaf)
        if not (leaf.part == ADDS or leaf in worth.entered or known):
            raise ModelError(
                f"The positions of `{leaf.name}` are {leaf.kind}: they enter beside scores and sums, or before a linear map, where they "
                "cannot be exchanged. Type explain(model, ..., composite=pelrp_nb.PA_LRP)."
            )


def turned(leaf: Leaf) -> bool:
    """Whether it turns values, which keep their own sink, or scores that the value does not depend on."""
    return leaf.kind == PositionKind.ROTARY and (leaf.reaches or leaf.role == "value")


def linear(leaf: Leaf, g: Tensor, worth: Exchanges) -> Tensor | None:
    """(1, pairs) of positions that are added: (p_t - p_u) . (g_t - g_u); None where there are no pairs."""
    assert leaf.tensor is not None
    p, layout = leaf.tensor.detach(), leaf.layout(leaf.tensor.dim())
    axes = layout.axes
    rest = [a for a in range(p.dim()) if a not in axes]
    p, g = (x.permute([*axes, *rest]).flatten(0, len(axes) - 1).flatten(1).double().cpu() for x in (p, g))
    at, cells = credit.index_of(layout, axes, tuple(leaf.tensor.shape[a] for a in axes))
    if len(cells) != len(p):
        raise ModelError(f"The positions of `{leaf.name}` stand more than once for a place, where they cannot be exchanged.")
    own = credit.of_input(cells)
    index = (torch.arange(len(p)) if at is None else at.argsort())[[cells.index(cell) for cell in own]]
    pairs = worth.drawn(leaf, own)
    if pairs is None:
        return None
    t, u = index[pairs.each().T]
    return ((p[t] - p[u]) * (g[t] - g[u])).sum(-1)[None]


def of_picture(R: Tensor, keys: tuple[Axis, ...], cells: list[credit.Place]) -> tuple[Tensor, tuple[str, ...]]:
    """(n,) relevance of pixels (C, H, W) summed to the n places of a picture, and their names.

    keys: the axes of the pixels (1, C, H, W) along which the places lie; cells: the pixel where each begins
    """
    R = R.sum([a for a in range(R.dim()) if a + 1 not in {key.axis for key in keys}])
    shape = []
    for axis, begins in enumerate(sorted(set(column)) for column in zip(*cells, strict=True)):
        at = torch.searchsorted(torch.tensor(begins), torch.arange(R.shape[axis]), right=True).sub(1).clamp(min=0)
        R = R.new_zeros([len(begins) if a == axis else n for a, n in enumerate(R.shape)]).index_add(axis, at, R)
        shape.append({cell: i for i, cell in enumerate(begins)})
    grid = [tuple(numbers[c] for numbers, c in zip(shape, cell, strict=True)) for cell in cells]
    return torch.stack([R[at] for at in grid]), tuple(f"patch {','.join(map(str, at))}".strip() for at in grid)
