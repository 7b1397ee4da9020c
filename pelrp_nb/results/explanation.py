"""What carries the answer: one frozen value with the numbers, their names, and the ledger.

    value = sum semantic + sum positional + what the ledger's keepers took

It computes nothing about a model; it adds up, prints, draws, saves and loads what the engine found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import account
from ..engine.trace import Boundary
from ..errors import FileError, InputError
from ..ledger import Ledger
from .as_promised import as_promised, fitting
from .dtypes import DTYPES, converted, known
from .exports import Exports, as_arrays
from .kept import kept
from .reductions import KEPT, REDUCTIONS, Reduction
from .serialisation import AGAIN, read, write
from .subwords import Span, Word, groups, place, spelling

if TYPE_CHECKING:
    from ..views.data import Plain
    from ..views.sheet import Sheet
    from ..views.widget import View

VIEWS = ("explanation", "stepper", "flow", "xray", "image", "routes", "heads")


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Exports):
    """Relevance of every token, content and position apart; T tokens, S sinks.

    Tensors are on the CPU, float32 or float64 (float16 by `to`), detached; amounts are in units of `value`.

    tokens:     text of each token (T), as the tokenizer gives it; anything may stand in it
    target:     what was explained, in words
    value:      the explained number
    semantic:   (T,) relevance of each token's content, signed
    positional: (S, T) relevance of its position at each sink, signed; S is 0 where the model has no positions
    sinks:      names of the sinks (S), sink_kinds: "rotary", "learnable", "absolute" ...
    boundaries: relevance per layer boundary, attention and MLP branch, in call order of the forward pass
    ledger:     where every unit of `value` went
    card:       JSON, all that is needed to run it again
    reductions: "semantic.positive", "semantic.l2" (T,), "positional.absolute", "positional.positive", "positional.l2" (S, T)
    offsets:    (start, end) of each token in `text`, in characters; None for a token without a place
    special:    which tokens the tokenizer added
    word_ids:   word of each token, None for special ones
    map, maps:  for images (H, W) relevance per pixel, and its parts "content" and "position"
    picture:    for images the picture itself, (h, w, 3) bytes, at most 320 a side: what the map is shown over; for sound its
                spectrogram, low tones at the bottom
    streams:    the same for each input where there are several ("text", "image", "encoder" ...)
    detail:     what `Options.detail` asked for

    Source: Bakish et al. 2025 (arXiv 2506.02138).
    """

    tokens: tuple[str, ...]
    target: str
    value: float
    semantic: Tensor
    positional: Tensor
    sinks: tuple[str, ...]
    sink_kinds: tuple[str, ...]
    boundaries: tuple[Boundary, ...]
    ledger: Ledger
    card: Mapping[str, Any] = field(default_factory=dict)
    reductions: Mapping[str, Tensor] = field(default_factory=dict)
    offsets: tuple[Span | None, ...] | None = None
    text: str | None = None
    special: tuple[bool, ...] = ()
    word_ids: tuple[int | None, ...] | None = None
    map: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    streams: Mapping[str, Explanation] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    picture: Tensor | None = None

    def __post_init__(self) -> None:
        fixed: dict[str, Any] = {name: tuple(getattr(self, name)) for name in ("tokens", "sinks", "sink_kinds", "boundaries")}
        fixed |= kept(self.streams, self.detail)
        fixed["special"] = tuple(self.special) or (False,) * len(self.tokens)
        fixed["offsets"] = self.offsets and tuple([span and (int(span[0]), int(span[1])) for span in self.offsets])
        fixed["word_ids"] = self.word_ids and tuple(self.word_ids)
        try:
            fixed["card"] = json.loads(json.dumps(dict(self.card)))
        except (TypeError, ValueError) as error:
            raise InputError(f"card must be JSON, and {error}. Pass text, numbers, lists and dicts.") from error
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Shapes that fit together, tensors that are plain values."""
        T, S = len(self.tokens), len(self.sinks)
        wanted = {"semantic": (self.semantic, (T,)), "positional": (self.positional, (S, T))}
        for name, tensor in self.reductions.items():
            wanted[f"reductions[{name!r}]"] = (tensor, (T,) if name.startswith("semantic.") else (S, T))
        for what, (tensor, shape) in wanted.items():
            if tuple(tensor.shape) != shape:
                raise InputError(f"{what} must have shape {shape} for {T} tokens and {S} sinks, got {tuple(tensor.shape)}.")
            if tensor.dtype not in DTYPES.values() or tensor.device.type != "cpu" or tensor.requires_grad:
                raise InputError(
                    f"{what} must be float16, float32 or float64 on the CPU without gradient, got {tensor.dtype} on {tensor.device}. "
                    "Type tensor.detach().float().cpu()."
                )
        for what in ("special", "offsets", "word_ids"):
            given = getattr(self, what)
            if given is not None and len(given) != T:
                raise InputError(f"{what} must have one entry per token, {T}, got {len(given)}.")
        if len(self.sink_kinds) != S:
            raise InputError(f"sink_kinds must have one entry per sink, {S}, got {len(self.sink_kinds)}.")

    # --- numbers -------------------------------------------------------------------------------------------------------

    @property
    def offered(self) -> tuple[Reduction, ...]:
        """The reductions that can be asked for: "signed" always, the others where the engine kept what they need."""
        return tuple(name for name in REDUCTIONS if all(key is None or self._kept(key) for key in KEPT[name]))

    def _kept(self, key: str) -> bool:
        return key in self.reductions or (key.startswith("positional.") and not self.sinks)

    def parts(self, reduction: Reduction = "signed") -> tuple[Tensor, Tensor]:
        """Content and position of each token, two of (T,), under a named reduction; they add up to `relevance(reduction)`."""
        if reduction not in REDUCTIONS:
            raise InputError(f"reduction must be one of {', '.join(REDUCTIONS)}; got {reduction!r}. Type relevance('signed').")
        if reduction not in self.offered:
            lacking = next(key for key in KEPT[reduction] if key and not self._kept(key))
            raise InputError(
                f"relevance({reduction!r}) needs {lacking!r} in `reductions`, and this explanation was made without it. "
                f"Type one of {', '.join(self.offered)}."
            )
        content, position = KEPT[reduction]
        here = self.semantic if content is None else self.reductions[content]
        there = self.reductions.get(position, self.positional) if position else self.positional
        wide = torch.promote_types(here.dtype, torch.float32)
        return here.to(wide), there.to(wide).sum(0)

    def relevance(self, reduction: Reduction = "signed", normalise: bool = False) -> Tensor:
        """(T,) content and position of each token in one number, in units of `value`.

        signed:   plain sum, the one that is conserved
        absolute: content signed, and per sink |sum cos| + |sum sin|, the authors' released code
        positive: positive parts per dimension (equation 11 of the paper)
        l2:       norms over dimensions (the authors' image demo)

        normalise=True divides by max |R|, the authors' further step; the result then has no unit.
        """
        content, position = self.parts(reduction)
        R = content + position
        if not normalise:
            return R
        most = R.abs().max() if len(R) else R.new_tensor(0.0)
        return R / most if most > 0 else R

    @property
    def positional_share(self) -> float:
        """sum|P_t| / (sum|S_t| + sum|P_t|), P_t summed over sinks first; 0 where nothing has relevance.

        For rotary positions half of the query-key path goes to positions by construction: compare with random sinks.
        """
        content, position = float(self.semantic.abs().sum()), float(self.positional.sum(0).abs().sum())
        return position / (content + position) if content + position != 0 else 0.0

    def words(self, reduction: Reduction = "signed") -> tuple[Word, ...]:
        """Subwords merged to words, with character offsets; the sums over words are the sums over tokens."""
        R, P = self.relevance(reduction), self.positional.sum(0)
        found = []
        for group in groups(self.tokens, self.special, self.offsets, self.text, self.word_ids):
            span, at = place(group, self.offsets, self.text), list(group)
            start, end = span or (None, None)
            semantic, positional, relevance = (float(x[at].double().sum()) for x in (self.semantic, P, R))
            name = spelling(group, self.tokens, span, self.text)
            found.append(Word(name, start, end, group, semantic, positional, relevance))
        return tuple(found)

    @property
    def model(self) -> str:
        """The model's name, as the card has it."""
        return str(self.card.get("model") or "a model")

    @property
    def method(self) -> str:
        """The composite's name, as the card has it."""
        return str(self.card.get("method") or "unnamed method")

    @property
    def roles(self) -> tuple[tuple[str, str, str], ...]:
        """What was taken for what: (name, role, reason) of each argument and each constant that is a position."""
        return tuple(map(tuple, self.card.get("roles", ())))

    @property
    def notes(self) -> tuple[str, ...]:
        """What could have been read otherwise, and what could not be told, in words."""
        return tuple(self.card.get("notes", ()))

    # --- out of here ---------------------------------------------------------------------------------------------------

    def to(self, dtype: torch.dtype | str) -> Explanation:
        """The same with its numbers in "float16", "float32" or "float64"; sums are still taken in float32 at least.

        Raises InputError for another type, and for a number that is too large for it.
        """
        return converted(self, known(dtype))

    def plain(self) -> Plain:
        """The same without tensors: what every view draws."""
        from ..views.data import Plain

        parts = {name: [x.tolist() for x in (*self.parts(name), self.relevance(name))] for name in self.offered}
        return Plain(
            tokens=list(self.tokens), special=list(self.special),
            words=[{"text": w.text, "tokens": list(w.tokens), "start": w.start, "end": w.end} for w in self.words()],
            text=self.text, target=self.target, value=float(self.value), model=self.model, method=self.method,
            parts={name: {"content": c, "position": p, "both": b} for name, (c, p, b) in parts.items()},
            positional=self.positional.tolist(), sinks=list(self.sinks), sink_kinds=list(self.sink_kinds),
            positional_share=self.positional_share,
            boundaries=[
                {"name": b.name, "kind": b.kind, "layer": b.layer, "relevance": b.relevance.tolist(), "total": b.total, "gap": b.gap}
                for b in self.boundaries
            ],
            ledger=account.plain(self.ledger),
            card=dict(self.card), streams={name: stream.plain() for name, stream in self.streams.items()},
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to a .npz or .safetensors file (JSON and tensors, no pickle), whole or not at all.

        Raises FileError if the path ends otherwise or cannot be written.
        """
        write(path, self._tree())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Explanation:
        """What `save` wrote, equal to what was saved; runs no code from the file.

        Raises FileError if the file is missing, damaged, of a newer format, or not one of ours.
        """
        tree = read(path)
        if "several" in tree:
            raise FileError(f"{path} must hold one explanation, and holds several. Type Explanations.load({str(path)!r}).")
        with as_promised(path, "a whole explanation", AGAIN):
            return fitting(cls._grown(tree))

    def _tree(self) -> dict[str, Any]:
        tree = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.picture is None:
            del tree["picture"]  # so that version 0.1 reads what it knows
        tree["card"] = json.dumps(self.card)
        tree["ledger"] = {f.name: getattr(self.ledger, f.name) for f in fields(Ledger)}
        tree["boundaries"] = [{f.name: getattr(b, f.name) for f in fields(Boundary)} for b in self.boundaries]
        tree["streams"] = {name: stream._tree() for name, stream in self.streams.items()}
        return tree

    @classmethod
    def _grown(cls, tree: dict[str, Any]) -> Explanation:
        book = {**tree["ledger"], "unknown": tuple(tree["ledger"]["unknown"])}
        return cls(
            **{
                **tree,
                "card": json.loads(tree["card"]),
                "ledger": Ledger(**book),
                "boundaries": tuple(Boundary(**b) for b in tree["boundaries"]),
                "streams": {name: cls._grown(stream) for name, stream in tree["streams"].items()},
            }
        )

    # --- shown ---------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        from ..views.text import line

        return line(self.plain())

    def __str__(self) -> str:
        from ..views.text import screen

        return screen(self.plain())

    def _repr_html_(self) -> str:
        return self.sheet()._repr_html_()

    def explore(self, kind: str = "explanation", **state: Any) -> View:
        """The live view, an ipywidget: walks from the answer back to position-token pairs, layer by layer, branch by branch.

        kind: "explanation" for all of it, "stepper", "flow" or "xray" for a part; "routes" or "heads" for what heads handed on.
        state: where it stands at first: `step` (0 is the answer), `token`, `part`, `reduction` ...

        Raises ImportError where the widget library is missing, and says what to type.
        """
        return self.sheet(kind).explore(**state)

    def sheet(self, kind: str = "explanation") -> Sheet:
        """The same as a view that is not drawn yet: a cell of a notebook, a file, or a widget."""
        from ..rules.pages import pages
        from ..views import explained

        if kind not in VIEWS:
            raise InputError(f"kind must be one of {', '.join(VIEWS)}, got {kind!r}. Type explore('stepper').")
        if kind in ("routes", "heads"):
            return self.routes.sheet(kind)
        rules = pages(str(self.card.get("composite", "")), self.sink_kinds, self.card.get("rules"))
        shown = {name: found for name, found in self.detail.items() if name != "routes"}  # which have an object of their own
        return explained(self.plain(), kind, rules=rules, detail=as_arrays(shown), images=self._images())

    def _images(self) -> dict[str, dict[str, Any]]:
        """The picture of each stream that has one, and the maps of an image, as arrays; "" is this one."""
        found = {"": self, **self.streams}
        maps = {name: {"both": one.map, **one.maps} if one.map is not None else {} for name, one in found.items()}
        return {
            name: as_arrays({**maps[name], "picture": one.picture}) for name, one in found.items() if maps[name] or one.picture is not None
        }

    def __eq__(self, other: object) -> bool:
        """The same values in every field; nan equals nan."""
        return _same(self, other) if isinstance(other, Explanation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _same(a: Any, b: Any) -> bool:
    """Equal through tuples, mappings, dataclasses and tensors; nan equals nan."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype:
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if is_dataclass(a) and type(a) is type(b):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b or (a != a and b != b))
