"""Architectures whose routes are proved: where keys and values lie in what their projections give, so that both are measured apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from models import FAMILIES, build, build_position, inputs
from torch import Tensor, nn

from pelrp_nb.composites import Composite
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.engine.trace import Trace

HEADS, WIDTH = 4, 12
Part = Callable[[Tensor], Tensor]  # what a projection gives, (T, features) -> (T, heads * WIDTH), a head after the other


def whole(x: Tensor) -> Tensor:
    """A projection of its own."""
    return x


def thirds(i: int) -> Part:
    """Queries, keys and values one behind the other (GPT-2)."""
    return lambda x: x.chunk(3, -1)[i]


def by_head(i: int) -> Part:
    """Queries, keys and values of each head beside each other (GPT-NeoX, BLOOM)."""
    return lambda x: x.unflatten(-1, (HEADS, 3, WIDTH))[..., i, :].flatten(-2)


@dataclass(frozen=True)
class Place:
    """One attention: its stream, its name in routes, its module, and the residual sum that its output goes into."""

    stream: str
    name: str
    module: str
    node: str


@dataclass(frozen=True)
class Architecture:
    """A model, the module of each attention, and inside of it the projections of keys, values, and of what comes out.

    turned: positions turn the keys, which pay half to them; beside: an MLP in the same branch (parallel blocks)
    """

    name: str
    module: str
    key: tuple[str, Part]
    value: tuple[str, Part]
    out: str
    turned: bool = False
    beside: str = ""

    def made(self, attention: str) -> tuple[nn.Module, dict[str, Any]]:
        """A random model in float64, and its input."""
        return (build(self.name, attention), inputs(self.name)) if self.name in FAMILIES else build_position(self.name, attention)

    def places(self, layers: int) -> Iterator[Place]:
        """Its attentions in call order."""
        for i in range(layers):
            if self.name != "t5":
                yield Place("", f"layer {i}", self.module.format(i), f"layer {i} attention")
        for i in range(layers if self.name == "t5" else 0):
            own, cross = f"decoder.block.{i}.layer.0.SelfAttention", f"decoder.block.{i}.layer.1.EncDecAttention"
            yield Place("encoder", f"encoder layer {i}", f"encoder.block.{i}.layer.0.SelfAttention", f"encoder layer {i} attention")
            yield Place("decoder", f"decoder layer {i}", own, f"decoder layer {i} attention")
            yield Place("decoder", f"decoder layer {i} {cross}", cross, f"decoder layer {i} cross-attention")


LLAMA = ("model.layers.{}.self_attn", ("k_proj", whole), ("v_proj", whole), "o_proj", True)
FUSED = (("query_key_value", by_head(1)), ("query_key_value", by_head(2)), "dense")
ARCHITECTURES = (
    Architecture("llama", *LLAMA),  # grouped heads
    Architecture("qwen2", *LLAMA),
    Architecture("gemma", *LLAMA),
    Architecture("mixtral", *LLAMA),
    Architecture("gpt2", "transformer.h.{}.attn", ("c_attn", thirds(1)), ("c_attn", thirds(2)), "c_proj"),
    Architecture("bert", "bert.encoder.layer.{}.attention", ("self.key", whole), ("self.value", whole), "output.dense"),
    Architecture("distilbert", "distilbert.transformer.layer.{}.attention", ("k_lin", whole), ("v_lin", whole), "out_lin"),
    Architecture("vit", "vit.layers.{}.attention", ("k_proj", whole), ("v_proj", whole), "o_proj"),
    Architecture("gptj", "transformer.h.{}.attn", ("k_proj", whole), ("v_proj", whole), "out_proj", True, "transformer.h.{}.mlp"),
    Architecture("gpt_neox", "gpt_neox.layers.{}.attention", *FUSED, True, "gpt_neox.layers.{}.mlp"),
    Architecture("bloom", "transformer.h.{}.self_attention", *FUSED),
    Architecture("mpnet", "mpnet.encoder.layer.{}.attention", ("attn.k", whole), ("attn.v", whole), "attn.o"),
    Architecture("t5", "", ("k", whole), ("v", whole), "o"),  # cross-attention
)


@dataclass(frozen=True)
class Heard:
    """A walk, and what came to the output of each module that was listened to, (T, features): value and gradient."""

    trace: Trace
    outputs: dict[str, tuple[Tensor, Tensor]]

    def relevance(self, module: str, part: Part = whole) -> Tensor:
        """(T, features) of a module's output."""
        value, g = self.outputs[module]
        return part(value) * part(g)

    def routes(self, place: Place) -> dict[str, Any]:
        """What that attention handed on."""
        return self.part(place)["attention"][place.name]

    def part(self, place: Place) -> dict[str, Any]:
        """The routes of its stream."""
        return (self.trace.streams[place.stream] if place.stream else self.trace).detail["routes"]


def hear(model: nn.Module, x: dict[str, Any], modules: list[str], composite: Composite, **options: Any) -> Heard:
    """One explanation with routes, of the highest logit, with ears at the outputs of modules."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def listen(name: str) -> Callable:
        def after(_: nn.Module, __: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) else out
            value = out.detach()
            out.register_hook(lambda g: found.__setitem__(name, (value[0], g[0])))

        return after

    with propagate(model, composite, Options(detail={"routes", "query_key"}, **options)) as flow:
        hooks = [model.get_submodule(name).register_forward_hook(listen(name)) for name in modules]
        logits = model(**x).logits
        trace = flow.trace(logits[0, -1].max() if logits.dim() == 3 else logits[0].max())
        for hook in hooks:
            hook.remove()
    return Heard(trace, found)


def heads(R: Tensor) -> Tensor:
    """(heads, T) of (T, heads * WIDTH)."""
    return R.unflatten(-1, (-1, WIDTH)).sum(-1).T


def bias(model: nn.Module, module: str, g: Tensor) -> Tensor:
    """(T,) what the bias of a linear map keeps."""
    own = model.get_submodule(module).bias
    return torch.zeros(len(g), dtype=g.dtype) if own is None else (own.detach() * g).sum(-1)
