"""The model under examination: what it reads of an example, and what it answers to many variants of it at once."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.support import device_of, dtype_of
from ..errors import InputError, ModelError
from ..inputs.encode import quiet
from ..permute import permute_positions
from ..targets.labels import token_number
from ..targets.logits import logits_of
from .settings import Configuration

Row = Mapping[str, Tensor]  # one input of the model, without the batch axis
Inquiry = Generator[list[Row], list[Tensor], dict]  # a protocol under way: rows it asks about, the answers, what it found


@dataclass(frozen=True, eq=False)
class Case:
    """An example as the model reads it, and what is explained of the answer.

    row:      the model's input; tokens, special: its tokens (T), empty for a picture
    target:   the explained class (or next token)
    answer:   (C,) logits on the whole input, float64
    truth:    places of the tokens that are known to matter; None if not known
    mask:     (H, W) of the object, at the model's own resolution
    seed:     depends on the example alone
    place:    where a language model is read (-1: the last token)
    """

    row: Row
    tokens: tuple[str, ...]
    special: tuple[bool, ...]
    target: int
    answer: Tensor
    seed: int
    digest: str
    index: int
    text: str | None = None
    truth: tuple[int, ...] | None = None
    mask: Tensor | None = None
    _memory: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def seen(self) -> bool:
        """Whether it is a picture."""
        return "pixel_values" in self.row

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, computed the first time it is asked for."""
        if name not in self._memory:
            self._memory[name] = make()
        return self._memory[name]

    def random(self, purpose: str) -> torch.Generator:
        """A generator for one purpose: the same whoever asks, and in whichever order."""
        mixed = hashlib.sha256(f"{self.seed}:{purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(mixed[:7], "little"))


class Subject:
    """A model, its processor, and how it is asked."""

    def __init__(self, model: nn.Module, processor: Any = None, configuration: Configuration | None = None) -> None:
        self.model: Any = model  # a transformers model, or one with its methods
        self.processor = processor
        self.configuration = configuration or Configuration()
        self._positioned: bool | None = None
        self.accepts = set(inspect.signature(model.forward).parameters)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, also where the processor only holds one."""
        return getattr(self.processor, "tokenizer", self.processor)

    def inputs(self, row: Row) -> dict[str, Tensor]:
        """A row as a batch of one, where the model is, under the mask of the settings."""
        return self._masked({name: value[None].to(self.device) for name, value in row.items()})

    @torch.no_grad()
    def answers(self, rows: Sequence[Row]) -> list[Tensor]:
        """The logits (C,) of each row, float64 on the CPU; equal rows are asked once, the rest in batches."""
        first: dict[bytes, int] = {}
        contents = {id(row): content(row) for row in {id(row): row for row in rows}.values()}
        copies = [first.setdefault(contents[id(row)], i) for i, row in enumerate(rows)]
        found: dict[int, Tensor] = {}
        for some in self._batches(rows, sorted(set(copies))):
            for i, logits in zip(some, self._forward([rows[i] for i in some]), strict=True):
                found[i] = logits
        return [found[i] for i in copies]

    def _batches(self, rows: Sequence[Row], places: Sequence[int]) -> Iterator[list[int]]:
        """Places of rows that go through the model together."""
        pads = self.configuration.text.padding != "never" and all("input_ids" in rows[i] for i in places)
        groups: dict[Any, list[int]] = {}
        for i in places:
            shapes = tuple((name, value.shape) for name, value in sorted(rows[i].items()))
            whose = tuple(rows[i]["order"].tolist()) if "order" in rows[i] else ()
            groups.setdefault((whose, "all" if pads else shapes), []).append(i)
        size = self.configuration.batch
        for group in groups.values():
            order = sorted(group, key=lambda i: len(rows[i]["input_ids"])) if pads else group
            yield from (order[start : start + size] for start in range(0, len(order), size))

    def _forward(self, rows: Sequence[Row]) -> Tensor:
        """(B, C) logits of rows that fit together."""
        order = rows[0].get("order")
        if order is not None:  # whose positions stand where
            with permute_positions(self.model, order):
                return self._forward([{name: value for name, value in row.items() if name != "order"} for row in rows])
        ends = None
        if len({tuple(row["input_ids"].shape) for row in rows if "input_ids" in row}) > 1:
            rows, ends = padded(rows, self.configuration.text.padding, self._pad(), "position_ids" in self.accepts)
        tensors = {name: torch.stack([row[name] for row in rows]).to(self.device) for name in rows[0]}
        logits = logits_of(self.model(**self._masked(tensors), **self.extra()))
        if logits.dim() == 3:
            at = torch.full((len(rows),), logits.shape[1] - 1) if ends is None or logits.shape[1] == 1 else ends
            logits = logits[torch.arange(len(rows)), at.to(logits.device)]
        return logits.detach().double().cpu()

    def positioned(self, row: Row) -> bool:
        """Whether the model has positions that can be permuted, tried once on a row."""
        if self._positioned is None:
            try:
                self._forward([{**row, "order": torch.arange(len(row["input_ids"]))}])
                self._positioned = True
            except (InputError, ModelError):
                self._positioned = False
        return self._positioned

    def extra(self) -> dict[str, Any]:
        """No cache; and only the last place of a language model, where the model can leave the others out."""
        last = {"logits_to_keep": 1} if "logits_to_keep" in self.accepts and self.configuration.text.padding != "right" else {}
        return {**quiet(self.model), **last}

    def _pad(self) -> int:
        return int(getattr(self.tokenizer, "pad_token_id", None) or 0)

    def _masked(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same; without a causal mask, a mask of ours that hides padding only."""
        if self.configuration.text.causal == "model" or "input_ids" not in tensors:
            return tensors
        visible = tensors["attention_mask"][:, None, None, :].bool()
        B, T = tensors["input_ids"].shape
        dtype = dtype_of(self.model)
        mask = torch.zeros(B, 1, T, T, dtype=dtype, device=self.device)
        return {**tensors, "attention_mask": mask.masked_fill(~visible, torch.finfo(dtype).min)}

    def replacement(self) -> int:
        """The id of the token that stands for a removed one."""
        wanted, tokenizer = self.configuration.text.replacement, self.tokenizer
        names = {"unknown": "unk_token_id", "mask": "mask_token_id", "pad": "pad_token_id"}
        if wanted not in names:
            return token_number(wanted, self.processor, getattr(self.model.config, "vocab_size", 10**9))
        found = getattr(tokenizer, names[wanted], None)
        if found is None:
            raise InputError(
                f"The tokenizer has no {wanted} token to put in place of a removed one. "
                'Type replacement="_" or another token of its vocabulary in the text settings.'
            )
        return int(found)


def content(row: Row) -> bytes:
    """What tells two rows apart."""
    mixed = hashlib.blake2b(digest_size=16)
    for name, value in sorted(row.items()):
        mixed.update(f"{name}{tuple(value.shape)}".encode())
        mixed.update(value.contiguous().numpy().tobytes())
    return mixed.digest()


def padded(rows: Sequence[Row], side: str, pad: int, placed: bool) -> tuple[list[Row], Tensor]:
    """Rows made as long as the longest, hidden from attention where nothing stands; and where each one ends."""
    longest = max(len(row["input_ids"]) for row in rows)
    found: list[Row] = []
    ends = []
    for row in rows:
        T = len(row["input_ids"])
        fill = (longest - T, 0) if side == "left" else (0, longest - T)
        ends.append(longest - 1 if side == "left" else T - 1)
        full = dict(row)
        if placed:
            full.setdefault("position_ids", torch.arange(T))
        pads = {"input_ids": pad}
        found.append({k: nn.functional.pad(v, fill, value=pads.get(k, 0)) if v.dim() == 1 else v for k, v in full.items()})
    return found, torch.tensor(ends)


@contextmanager
def vectors(model: Any, given: Tensor) -> Iterator[None]:
    """Inside the `with` the model looks up no token vectors but takes these, (B, T, D); positions are added as always."""
    handle = model.get_input_embeddings().register_forward_hook(lambda module, args, output: given)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def visible_attention(model: Any) -> Iterator[None]:
    """Inside the `with` attention weights can be asked for."""
    before = getattr(model.config, "_attn_implementation", None)
    if not hasattr(model, "set_attn_implementation"):
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before or "sdpa")
