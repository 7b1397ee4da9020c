"""A whole transformer walked back by hand, with the explicit rules and without autograd.

Every part is written as `forward, back`: it computes its output, and beside it the function that takes the relevance of that
output to its input, by a page of `rules/`.  What goes to no input is booked where it stays: the share of a bias, what a
softmax keeps, what positions receive.  One sequence, float64.

    E -> [ attention, MLP ] per layer -> pooling -> head = value          R(value) = value, then the same parts backwards

This is the definition of the method; `engine/` gets the same numbers, on any model, from one bent backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from einops import einsum, rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional as F

from . import rules
from .composites import PA_LRP, Composite
from .errors import InputError, ModelError
from .ledger import Ledger
from .rules.rotary import angles, turned
from .rules.softmax import kept, weights
from .verbs import stabilise

Back = Callable[[Tensor], Tensor]
Part = tuple[Tensor, Back]
Received = Tensor | Mapping[str, Mapping[str, Tensor]]
ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh}


@dataclass(frozen=True)
class Walk:
    """One number of one model, walked back to its tokens and positions.

    value:      the explained number
    tokens:     (T, D) relevance of the token vectors
    positions:  "layer 0 rotary" -> {"query": {"cos": (H, T, d), "sin": ...}, "key": {...}}; an added table's name -> (T, D)
    positional: (sinks, T) the same, summed over all but the tokens
    boundaries: (T, D) relevance at the input of each layer, and behind the last one
    constants, softmax: what stayed there, by parameter and by layer
    ledger:     all of it; nothing in it is a difference
    """

    value: float
    tokens: Tensor
    positions: Mapping[str, Received]
    positional: Tensor
    boundaries: tuple[Tensor, ...]
    constants: Mapping[str, float]
    softmax: Mapping[str, float]
    ledger: Ledger


def walk(
    model: Any, ids: Tensor, target: int, composite: Composite = PA_LRP, *, visible: Tensor | None = None,
    casts: bool = True,
) -> Walk:  # fmt: skip
    """Walk back a Llama or Qwen2, or a BERT or DistilBERT classifier: anything with their `state_dict()` and `config`.

    Args: `ids` (T,) or (1, T); `target` a class, or a token id at the last position; `visible` (T,), 0 where padded;
    `casts` rounds to float32 where the library does, in RMS norms and rotations, else float64 throughout.
    Raises ModelError for another architecture, InputError for other rules or a target that is not there.
    """
    config, state = model.config, {k: v.detach() for k, v in model.state_dict().items() if v.is_floating_point()}
    parts = {"llama": decoder, "qwen2": decoder, "bert": encoder, "distilbert": encoder}.get(config.model_type)
    act = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if parts is None or act not in ACTIVATIONS or getattr(config, "use_sliding_window", False) or (
        parts is encoder and "classifier.weight" not in state
    ):
        raise ModelError(
            "The reference knows Llama and Qwen2 with full attention, BERT and DistilBERT as classifiers, each with an "
            f"activation of {', '.join(ACTIVATIONS)}; got {config.model_type!r} with {act!r}. "
            "Type pelrp_nb.explain(model, ...): the engine takes any model."
        )
    free = {f: getattr(composite, f) for f in ("softmax", "gate", "residual", "positions")}
    if composite != replace(PA_LRP, **free) or ids.dim() > 2 or ids.dim() == 2 and len(ids) != 1:
        raise InputError(
            f"The reference takes one sequence, (T,) or (1, T), and varies softmax, gate, residual and positions of PA_LRP; "
            f"got ids {tuple(ids.shape)} and {composite!r}."
        )
    net = Network({k: v.to("cpu", torch.float64) for k, v in state.items()}, config, act, composite, casts)
    shown = torch.ones(ids.numel()) if visible is None else visible.flatten()
    value, back = parts(net, ids.flatten(), target, shown.bool())
    if value.numel() != 1:
        raise InputError(f"The target must be a row of the model's head, counted from 0; got {target}.")
    net.value = float(value)
    return net.close(back(value))


# --- the parts every transformer is made of, and the books --------------------------------------------------------------


@dataclass
class Network:
    """The weights, the rules in force, and what was booked while walking back."""

    weights: dict[str, Tensor]
    config: Any
    act: str
    composite: Composite
    casts: bool
    value: float = 0.0
    constants: dict[str, float] = field(default_factory=dict)
    softmax: dict[str, float] = field(default_factory=dict)
    positions: dict[str, Received] = field(default_factory=dict)
    boundaries: list[Tensor] = field(default_factory=list)
    gaps: dict[str, float] = field(default_factory=dict)

    def linear(self, x: Tensor, name: str, rows: slice = slice(None)) -> Part:
        """z = W x + b, by epsilon; `rows` of W where not every output is wanted."""
        weight, bias = (w if w is None else w[rows] for w in map(self.weights.get, (f"{name}.weight", f"{name}.bias")))
        z = F.linear(x, weight, bias)                                                     # (T, out)

        def back(R: Tensor) -> Tensor:
            self.book(f"{name}.bias", R, bias, z)
            pay = self.composite.linear.relevance                                         # (out, in) shares, per token
            return torch.cat([pay(R[t], x[t], weight=weight, bias=bias)[0][None] for t in range(len(x))])

        return z, back

    def book(self, name: str, R: Tensor, b: Tensor | None, z: Tensor) -> None:
        """The share of a constant b in z = ... + b."""
        if b is not None:
            self.constants[name] = float((b / stabilise(z) * R).sum())

    def activation(self, x: Tensor, name: str) -> Part:
        """y = f(x) with f(0) = 0, by identity."""
        return ACTIVATIONS[name](x), lambda R: self.composite.activation.relevance(R, x, f=ACTIVATIONS[name])[0]

    def residual(self, stream: Tensor, branch: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        """stream + branch, in proportion."""
        return stream + branch, lambda R: self.composite.residual.relevance(R, stream, branch)

    def layer_norm(self, x: Tensor, name: str) -> Part:
        """(x - mean) / std * w + b, the standard deviation a constant."""
        w, b, eps = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], getattr(self.config, "layer_norm_eps", 1e-12)
        y = F.layer_norm(x, x.shape[-1:], w, b, eps)

        def back(R: Tensor) -> Tensor:
            self.book(f"{name}.bias", R, b, y)
            return self.composite.layer_norm.relevance(R, x, weight=w, bias=b, eps=eps)[0]

        return y, back

    def rms_norm(self, x: Tensor, name: str) -> Part:
        """x / rms * w, by identity; the library computes x / rms in float32, and so its way back."""
        w, eps, h = self.weights[f"{name}.weight"], self.config.rms_norm_eps, x.float() if self.casts else x
        per_rms = torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + eps)
        y = w * (h * per_rms).to(x.dtype)

        def back(R: Tensor) -> Tensor:
            (R_x,) = self.composite.rms_norm.relevance(R, x, weight=w, eps=eps)           # R itself
            g = (w * (R_x / stabilise(y))).float() * per_rms                              # x g, but for two roundings
            return x * g.to(x.dtype) if self.casts else R_x

        return y, back

    def attention(self, x: Tensor, names: tuple[str, ...], seen: Tensor, layer: int, turn=None) -> Part:
        """Projections, heads, positions if they turn (`turn`), softmax(q k^T / sqrt d) v, projection."""
        H, constant, pay = self.config.num_attention_heads, self.composite.softmax_is_constant, self.composite.product.relevance
        flat, backs = zip(*(self.linear(x, name) for name in names[:3]), strict=True)
        d, groups = flat[0].shape[-1] // H, flat[0].shape[-1] // flat[1].shape[-1]
        q, k, v = (rearrange(z, "t (h d) -> h t d", d=d) for z in flat)
        q, k, turn_back = turn(self, q, k, layer) if turn else (q, k, lambda *R: R)
        keys, values = (repeat(z, "h t d -> (h g) t d", g=groups) for z in (k, v))
        s = einsum(q, keys, "h t d, h s d -> h t s") / d**0.5
        mask = seen.expand_as(s)
        A, _ = weights(s, mask=mask)
        o = einsum(A, values, "h t s, h s d -> h t d")
        out, out_back = self.linear(rearrange(o, "h t d -> t (h d)"), names[3])

        def back(R: Tensor) -> Tensor:
            R_o = rearrange(out_back(R), "t (h d) -> h t d", h=H)
            R_A, R_v = pay(R_o, A, values, multiply="hts,hsd->htd", n=1 if constant else 2)
            R_A = torch.zeros_like(A) if constant else R_A                                # CP-LRP: the values get all
            (R_s,) = rules.softmax.relevance(R_A, s, mask=mask)
            self.softmax[f"layer {layer}"] = float(kept(R_A, s, mask=mask).sum())
            R_q, R_k = pay(R_s, q, keys, multiply="htd,hsd->hts")
            R_k, R_v = (reduce(r, "(h g) t d -> h t d", "sum", g=groups) for r in (R_k, R_v))
            R_qkv = (*turn_back(R_q, R_k), R_v)
            return sum(b(rearrange(r, "h t d -> t (h d)")) for b, r in zip(backs, R_qkv, strict=True))

        return out, back

    def stack(self, layer_part: Callable[..., Part], x: Tensor, seen: Tensor) -> Part:
        """All layers; on the way back, relevance is noted between them, and what the books do not explain so far."""
        backs = []
        for layer in range(self.config.num_hidden_layers):
            x, layer_back = layer_part(self, layer, x, seen)
            backs.append(layer_back)

        def back(R: Tensor) -> Tensor:
            for name, step in [*((f"layer {i}", backs[i]) for i in reversed(range(len(backs)))), ("embeddings", None)]:
                self.boundaries.insert(0, R)
                booked = sum(self.constants.values()) + sum(self.softmax.values())
                self.gaps[name] = self.value - float(R.sum() + sum(map(torch.sum, map(per_token, self.positions.values())))) - booked
                R = step(R) if step else R
            return R

        return x, back

    def pick(self, x: Tensor, at: int) -> Part:
        """One token of all; the others get nothing."""
        return x[at : at + 1], lambda R: F.pad(R, (0, 0, at, len(x) - at - 1))

    def close(self, tokens: Tensor) -> Walk:
        """The books, closed."""
        positions = dict(reversed(self.positions.items()))                                # in the order of the forward pass
        softmax = dict(reversed(self.softmax.items()))
        positional = torch.stack([*map(per_token, positions.values())]) if positions else tokens.new_zeros(0, len(tokens))
        scale = float(tokens.abs().sum() + positional.abs().sum())
        ledger = Ledger(
            self.value, float(tokens.sum()), float(positional.sum()), self.constants, softmax, scale=scale,
            tolerance=1e-6, audited=True, layers=self.gaps,
        )  # fmt: skip
        return Walk(self.value, tokens, positions, positional, tuple(self.boundaries), self.constants, softmax, ledger)


def per_token(R: Received) -> Tensor:
    """What a sink received, (T,)."""
    if isinstance(R, Tensor):
        return R.sum(-1)
    return sum(reduce(table, "h t d -> t", "sum") for tables in R.values() for table in tables.values())


# --- a decoder: positions turn queries and keys in every layer ----------------------------------------------------------


def decoder(net: Network, ids: Tensor, target: int, shown: Tensor) -> Part:
    """Llama: RMS norms, grouped-query rotary attention, SwiGLU; a language model, or a classifier of the last token."""
    head = next(name for name in ("score", "lm_head", "model.embed_tokens") if f"{name}.weight" in net.weights)
    padding = getattr(net.config, "pad_token_id", None) if head == "score" else None
    last = len(ids) - 1 if padding is None else int((ids != padding).nonzero().max())
    y, stack_back = net.stack(decoder_layer, net.weights["model.embed_tokens.weight"][ids], shown & torch.ones(len(ids), len(ids)).tril().bool())
    n, norm_back = net.rms_norm(y, "model.norm")
    pooled, pick_back = net.pick(n, last)
    value, head_back = net.linear(pooled, head, slice(target, target + 1))
    return value, lambda R: stack_back(norm_back(pick_back(head_back(R))))


def decoder_layer(net: Network, layer: int, x: Tensor, seen: Tensor) -> Part:
    """x + attention(norm(x)), then x + down(silu(gate) * up) of its norm."""
    name = f"model.layers.{layer}"
    n, norm_back = net.rms_norm(x, f"{name}.input_layernorm")
    out, attention_back = net.attention(n, tuple(f"{name}.self_attn.{p}_proj" for p in "qkvo"), seen, layer, rotate)
    middle, first_back = net.residual(x, out)
    m, second_norm_back = net.rms_norm(middle, f"{name}.post_attention_layernorm")
    gate, gate_back = net.linear(m, f"{name}.mlp.gate_proj")
    up, up_back = net.linear(m, f"{name}.mlp.up_proj")
    act, act_back = net.activation(gate, net.act)
    down, down_back = net.linear(act * up, f"{name}.mlp.down_proj")
    y, second_back = net.residual(middle, down)

    def back(R: Tensor) -> Tensor:
        R_middle, R_down = second_back(R)
        R_product = down_back(R_down)
        if net.composite.gate == rules.constant:                                          # CP-LRP: up gets all
            R_act, R_up = torch.zeros_like(act), R_product
        else:
            R_act, R_up = net.composite.gate.relevance(R_product, act, up, multiply="ti,ti->ti")
        R_x, R_out = first_back(R_middle + second_norm_back(gate_back(act_back(R_act)) + up_back(R_up)))
        return R_x + norm_back(attention_back(R_out))

    return y, back


def rotate(net: Network, q: Tensor, k: Tensor, layer: int):
    """Queries and keys (h, t, d) turned by position; half goes to the tables, of which every head has its own copy."""
    cos, sin = tables(net.config, *q.shape[1:], net.casts)

    def back(R_q: Tensor, R_k: Tensor) -> tuple[Tensor, Tensor]:
        (R_q, *to_query), (R_k, *to_key) = (
            rules.rotary.relevance(R, x, cos.expand_as(x), sin.expand_as(x)) for R, x in ((R_q, q), (R_k, k))
        )
        if net.composite.positions == "constant":                                         # a constant table: q and k get all
            return 2 * R_q, 2 * R_k
        cos_sin = [dict(zip(("cos", "sin"), R, strict=True)) for R in (to_query, to_key)]
        net.positions[f"layer {layer} rotary"] = dict(zip(("query", "key"), cos_sin, strict=True))
        return R_q, R_k

    return q * cos + turned(q) * sin, k * cos + turned(k) * sin, back


def tables(config: Any, T: int, d: int, casts: bool) -> tuple[Tensor, Tensor]:
    """cos and sin (T, d); the library computes them in float32."""
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": config.rope_theta}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(f"The reference knows plain frequencies, not {rope['rope_type']!r}. Type pelrp_nb.explain(model, ...).")
    if not casts:
        return angles(torch.arange(T), d, base=rope["rope_theta"])
    frequency = 1.0 / rope["rope_theta"] ** (torch.arange(0, d, 2).float() / d)
    angle = repeat(torch.arange(T).float()[:, None] * frequency, "t f -> t (half f)", half=2)
    return angle.cos().double(), angle.sin().double()


# --- an encoder: positions are added once --------------------------------------------------------------------------------

ATTENTION = {                                                                             # query, key, value, output
    "bert": [f"attention.{p}" for p in ("self.query", "self.key", "self.value", "output.dense")],
    "distilbert": [f"attention.{p}_lin" for p in ("q", "k", "v", "out")],
}  # fmt: skip
REST = {                                                                                  # norm, up, down, norm
    "bert": ["attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"],
    "distilbert": ["sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"],
}  # fmt: skip


def encoder(net: Network, ids: Tensor, target: int, shown: Tensor) -> Part:
    """BERT and DistilBERT: added positions, layer norms behind the sums; the first token is pooled and classified."""
    pooler, f = ("bert.pooler.dense", "tanh") if net.config.model_type == "bert" else ("pre_classifier", "relu")
    x, embeddings_back = embeddings(net, f"{net.config.model_type}.embeddings", ids)
    y, stack_back = net.stack(encoder_layer, x, shown.expand(len(ids), len(ids)))
    first, pick_back = net.pick(y, 0)
    pooled, pooler_back = net.linear(first, pooler)
    act, act_back = net.activation(pooled, f)
    value, head_back = net.linear(act, "classifier", slice(target, target + 1))
    return value, lambda R: embeddings_back(stack_back(pick_back(pooler_back(act_back(head_back(R))))))


def embeddings(net: Network, name: str, ids: Tensor) -> Part:
    """norm(word + type + position), two plain sums: the type is a constant, the position a sink or one as well."""
    table, types = f"{name}.position_embeddings.weight", f"{name}.token_type_embeddings.weight"
    word, P = net.weights[f"{name}.word_embeddings.weight"][ids], net.weights[table][: len(ids)]
    kind = net.weights[types][:1].expand_as(word) if types in net.weights else torch.zeros_like(word)
    y, norm_back = net.layer_norm(word + kind + P, f"{name}.LayerNorm")

    def back(R: Tensor) -> Tensor:
        R_sum, R_P = rules.absolute.relevance(norm_back(R), word + kind, P)
        R_word, R_kind = rules.residual.relevance(R_sum, word, kind)
        if types in net.weights:
            net.constants[types] = float(R_kind.sum())
        if net.composite.positions == "sink":
            net.positions[table] = R_P
        else:
            net.constants[table] = float(R_P.sum())
        return R_word

    return y, back


def encoder_layer(net: Network, layer: int, x: Tensor, seen: Tensor) -> Part:
    """norm(x + attention(x)), then the norm of x + down(gelu(up))."""
    kind, block = net.config.model_type, "encoder" if net.config.model_type == "bert" else "transformer"
    names, rest = ([f"{kind}.{block}.layer.{layer}.{p}" for p in parts[kind]] for parts in (ATTENTION, REST))
    out, attention_back = net.attention(x, names, seen, layer)
    first, first_back = net.residual(x, out)
    middle, first_norm_back = net.layer_norm(first, rest[0])
    up, up_back = net.linear(middle, rest[1])
    act, act_back = net.activation(up, net.act)
    down, down_back = net.linear(act, rest[2])
    second, second_back = net.residual(middle, down)
    y, second_norm_back = net.layer_norm(second, rest[3])

    def back(R: Tensor) -> Tensor:
        R_middle, R_down = second_back(second_norm_back(R))
        R_x, R_out = first_back(first_norm_back(R_middle + up_back(act_back(down_back(R_down)))))
        return R_x + attention_back(R_out)

    return y, back
