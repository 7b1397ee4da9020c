"""A whole transformer walked back by hand, with the explicit rules and without autograd.

Every part below is written as `forward, back`: it computes its output, and returns beside it the function that takes the
relevance of that output to the relevance of the input, by the page of `rules/` named there.  What cannot go to an input is
booked where it stays: a bias's share, what a softmax keeps, what a position receives.  All in float64, one sequence at a time.

    value, walk back:   head -> pooling -> [ MLP -> attention ] per layer, last first -> embeddings -> tokens and positions

This is the definition of the method; `engine/` does the same on any model, by one bent backward pass.  (Bakish et al. 2025)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, NamedTuple

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
    positions:  by sink: "layer 0 rotary" -> {"query": {"cos": (H, T, d), "sin": ...}, "key": {...}}; an added table -> (T, D)
    boundaries: (T, D) relevance at the input of each layer, and behind the last one
    ledger:     constants by parameter, softmax by layer; everything measured where it is kept
    """

    value: float
    tokens: Tensor
    positions: Mapping[str, Received]
    boundaries: tuple[Tensor, ...]
    ledger: Ledger

    @property
    def semantic(self) -> Tensor:
        """(T,) relevance of each token."""
        return self.tokens.sum(-1)

    @property
    def positional(self) -> Tensor:
        """(sinks, T) signed, summed over heads, queries and keys, cos and sin, dimensions."""
        received = [_per_token(R) for R in self.positions.values()]
        return torch.stack(received) if received else self.tokens.new_zeros(0, len(self.tokens))

    @property
    def constants(self) -> Mapping[str, float]:
        """What the model adds that comes from no input, by parameter."""
        return self.ledger.constants

    @property
    def softmax(self) -> Mapping[str, float]:
        """What each softmax keeps, by layer."""
        return self.ledger.softmax


def _per_token(R: Received) -> Tensor:
    if isinstance(R, Tensor):
        return R.sum(-1)
    return sum(reduce(table, "h t d -> t", "sum") for tables in R.values() for table in tables.values())


def walk(
    model: Any, ids: Tensor, target: int, composite: Composite = PA_LRP, *, visible: Tensor | None = None, casts: bool = True
) -> Walk:
    """Walk back a Hugging Face Llama or Qwen2 (decoders), BERT or DistilBERT (encoders, as classifiers).

    Args: `ids` (T,) or (1, T); `target` a class, or a token id at the last position; `visible` (T,), 0 where padded;
    `casts`: round to float32 where the library does, in norms and rotations; False: float64 throughout.
    Raises ModelError for another architecture, InputError for a composite of other rules.
    """
    kind = model.config.model_type
    if kind not in ("llama", "qwen2", "bert", "distilbert"):
        raise ModelError(
            f"The reference knows llama, qwen2, bert and distilbert; this model is {kind!r}. "
            "Type pelrp_nb.explain(model, ...): the engine takes any model."
        )
    back = decoder if kind in ("llama", "qwen2") else encoder
    return back(model.state_dict(), model.config, ids, target, composite, visible=visible, casts=casts)


# --- the account, and the parts every transformer is made of ----------------------------------------------------------


@dataclass
class Network:
    """The weights, the rules in force, and the books kept while walking back."""

    weights: dict[str, Tensor]
    composite: Composite
    casts: bool
    value: float = 0.0
    constants: dict[str, float] = field(default_factory=dict)
    softmax: dict[str, float] = field(default_factory=dict)
    positions: dict[str, Received] = field(default_factory=dict)
    boundaries: list[Tensor] = field(default_factory=list)
    gaps: dict[str, float] = field(default_factory=dict)

    def linear(self, x: Tensor, name: str, rows: slice = slice(None)) -> Part:
        """z = W x + b, by epsilon; `rows` of W where only some outputs are wanted."""
        weight, bias = self.weights[f"{name}.weight"][rows], self.weights.get(f"{name}.bias")
        bias = None if bias is None else bias[rows]
        z = F.linear(x, weight, bias)                                            # (T, out)

        def back(R: Tensor) -> Tensor:
            self.book(f"{name}.bias", R, bias, z)
            pay = self.composite.linear.relevance                                # token by token: (out, in) shares each
            return torch.stack([pay(R_t, x_t, weight=weight, bias=bias)[0] for R_t, x_t in zip(R, x, strict=True)])

        return z, back

    def book(self, name: str, R: Tensor, b: Tensor | None, z: Tensor) -> None:
        """The share of a constant b in z = ... + b."""
        if b is not None:
            self.constants[name] = self.constants.get(name, 0.0) + float((b / stabilise(z) * R).sum())

    def activation(self, x: Tensor, name: str) -> Part:
        """y = f(x) with f(0) = 0, by identity."""
        f = ACTIVATIONS[name]
        return f(x), lambda R: self.composite.activation.relevance(R, x, f=f)[0]

    def residual(self, stream: Tensor, branch: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        """stream + branch, in proportion."""
        return stream + branch, lambda R: self.composite.residual.relevance(R, stream, branch)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Part:
        """(x - mean) / std * w + b, the standard deviation a constant."""
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        y = F.layer_norm(x, x.shape[-1:], w, b, eps)

        def back(R: Tensor) -> Tensor:
            self.book(f"{name}.bias", R, b, y)
            return self.composite.layer_norm.relevance(R, x, weight=w, bias=b, eps=eps)[0]

        return y, back

    def rms_norm(self, x: Tensor, name: str, eps: float) -> Part:
        """x / rms * w, by identity; the library computes x / rms in float32, and so its way back."""
        w = self.weights[f"{name}.weight"]
        h = x.float() if self.casts else x
        per_rms = torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + eps)
        y = w * (h * per_rms).to(x.dtype)

        def back(R: Tensor) -> Tensor:
            (R_x,) = self.composite.rms_norm.relevance(R, x, weight=w, eps=eps)      # all of R
            if not self.casts:
                return R_x
            g = (w * (R_x / stabilise(y))).float() * per_rms                         # R_x = x g, but for two roundings
            return x * g.to(x.dtype)

        return y, back

    def attention(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor, layer: int):
        """softmax(q k^T / sqrt d) v for (h, t, d) each: product, softmax, product."""
        constant = self.composite.softmax_is_constant
        s = einsum(q, k, "h t d, h s d -> h t s") / sqrt(q.shape[-1])
        mask = visible.expand_as(s)
        A, _ = weights(s, mask=mask)
        o = einsum(A, v, "h t s, h s d -> h t d")

        def back(R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            pay = self.composite.product.relevance
            R_A, R_v = pay(R, A, v, multiply="hts,hsd->htd", n=1 if constant else 2)
            if constant:                                                 # CP-LRP: the values get all, the weights nothing
                return torch.zeros_like(q), torch.zeros_like(k), R_v
            (R_s,) = self.composite.softmax.relevance(R_A, s, mask=mask)
            self.softmax[f"layer {layer}"] = float(kept(R_A, s, mask=mask).sum())
            return (*pay(R_s, q, k, multiply="htd,hsd->hts"), R_v)

        return o, back

    def boundary(self, name: str, R: Tensor) -> None:
        """Relevance between two layers, and what the books cannot explain so far."""
        self.boundaries.insert(0, R)
        keepers = (*self.constants.values(), *self.softmax.values(), *(float(_per_token(P).sum()) for P in self.positions.values()))
        self.gaps[name] = self.value - float(R.sum()) - sum(keepers)

    def close(self, tokens: Tensor) -> Walk:
        """The books, closed."""
        found = Walk(self.value, tokens, dict(reversed(self.positions.items())), tuple(self.boundaries), Ledger(self.value, 0, 0))
        ledger = Ledger(
            value=self.value, tokens=float(tokens.sum()), positions=float(found.positional.sum()), constants=self.constants,
            softmax=dict(reversed(self.softmax.items())), scale=float(tokens.abs().sum() + found.positional.abs().sum()),
            tolerance=1e-6, audited=True, layers=self.gaps,
        )  # fmt: skip
        return replace(found, ledger=ledger)


def _network(state: Mapping[str, Tensor], composite: Composite, casts: bool) -> Network:
    free = {f: getattr(composite, f) for f in ("softmax", "gate", "residual", "positions")}
    if composite != replace(PA_LRP, **free):
        raise InputError(f"The reference varies softmax, gate, residual and positions of PA_LRP; got {composite!r}.")
    return Network({k: v.detach().to("cpu", torch.float64) for k, v in state.items() if v.is_floating_point()}, composite, casts)


# --- a decoder: rotary positions in every layer ------------------------------------------------------------------------


def decoder(
    state: Mapping[str, Tensor], config: Any, ids: Tensor, target: int, composite: Composite = PA_LRP, *,
    visible: Tensor | None = None, casts: bool = True,
) -> Walk:  # fmt: skip
    """Llama: RMS norms, grouped-query rotary attention, SwiGLU; a language model or a classifier of its last token."""
    net, ids = _network(state, composite, casts), ids.flatten()
    T = len(ids)
    seen = torch.ones(T, T, dtype=torch.bool).tril() & (torch.ones(T) if visible is None else visible.flatten()).bool()
    tables = _tables(config, T, casts)
    x = tokens = net.weights["model.embed_tokens.weight"][ids]                           # (T, D)
    backs = []
    for layer in range(config.num_hidden_layers):
        x, back = _decoder_layer(net, config, layer, x, seen, tables)
        backs.append(back)
    y, norm_back = net.rms_norm(x, "model.norm", config.rms_norm_eps)
    head = "score" if "score.weight" in state else "lm_head" if "lm_head.weight" in state else "model.embed_tokens"
    padding = getattr(config, "pad_token_id", None) if head == "score" else None
    at = T - 1 if padding is None else int((ids != padding).nonzero().max())             # the last token, or the last real one
    value, head_back = net.linear(y[at : at + 1], head, slice(target, target + 1))
    net.value = float(value)

    R = torch.zeros_like(tokens)
    R[at] = head_back(value)[0]
    R = norm_back(R)
    for layer, back in reversed(list(enumerate(backs))):
        net.boundary(f"layer {layer}", R)
        R = back(R)
    net.boundary("embeddings", R)
    return net.close(R)


def _decoder_layer(net: Network, config: Any, layer: int, x: Tensor, seen: Tensor, tables: tuple[Tensor, Tensor]) -> Part:
    """x + attention(norm(x)), then the same with the MLP."""
    name, H = f"model.layers.{layer}", config.num_attention_heads
    groups = H // config.num_key_value_heads
    n, norm_back = net.rms_norm(x, f"{name}.input_layernorm", config.rms_norm_eps)
    (q, k, v), (q_back, k_back, v_back) = zip(*(net.linear(n, f"{name}.self_attn.{which}_proj") for which in "qkv"), strict=True)
    q, k, v = (rearrange(z, "t (h d) -> h t d", d=tables[0].shape[-1]) for z in (q, k, v))
    turned_q, turned_k = _turn(q, *tables), _turn(k, *tables)
    keys, values = (repeat(z, "h t d -> (h g) t d", g=groups) for z in (turned_k, v))
    o, attention_back = net.attention(turned_q, keys, values, seen, layer)
    out, out_back = net.linear(rearrange(o, "h t d -> t (h d)"), f"{name}.self_attn.o_proj")
    middle, first_sum_back = net.residual(x, out)

    m, second_norm_back = net.rms_norm(middle, f"{name}.post_attention_layernorm", config.rms_norm_eps)
    gate, gate_back = net.linear(m, f"{name}.mlp.gate_proj")
    up, up_back = net.linear(m, f"{name}.mlp.up_proj")
    act, act_back = net.activation(gate, config.hidden_act)
    down, down_back = net.linear(act * up, f"{name}.mlp.down_proj")
    y, second_sum_back = net.residual(middle, down)

    def back(R: Tensor) -> Tensor:
        R_middle, R_down = second_sum_back(R)
        R_gate, R_up = _gate(net.composite, down_back(R_down), act, up)
        R_middle = R_middle + second_norm_back(gate_back(act_back(R_gate)) + up_back(R_up))

        R_x, R_out = first_sum_back(R_middle)
        R_q, R_k, R_v = attention_back(rearrange(out_back(R_out), "t (h d) -> h t d", h=H))
        R_k, R_v = (reduce(r, "(h g) t d -> h t d", "sum", g=groups) for r in (R_k, R_v))
        R_q, R_k = _turn_back(net, layer, {"query": (R_q, q), "key": (R_k, k)}, *tables)
        R_q, R_k, R_v = (rearrange(r, "h t d -> t (h d)") for r in (R_q, R_k, R_v))
        return R_x + norm_back(q_back(R_q) + k_back(R_k) + v_back(R_v))

    return y, back


def _gate(composite: Composite, R: Tensor, act: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) * up: half each; a constant gate leaves all to the other."""
    if composite.gate == rules.constant:
        return torch.zeros_like(R), R
    return composite.gate.relevance(R, act, up, multiply="ti,ti->ti")


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * cos + turned(x) * sin


def _turn_back(
    net: Network, layer: int, both: Mapping[str, tuple[Tensor, Tensor]], cos: Tensor, sin: Tensor
) -> tuple[Tensor, ...]:
    """Half to the vector, half to its head's own copy of the tables; a constant rotation leaves all to the vector."""
    paid = {name: rules.rotary.relevance(R, x, cos.expand_as(x), sin.expand_as(x)) for name, (R, x) in both.items()}
    if net.composite.positions == "constant":
        return tuple(2 * R_x for R_x, _, _ in paid.values())
    net.positions[f"layer {layer} rotary"] = {name: {"cos": c, "sin": s} for name, (_, c, s) in paid.items()}
    return tuple(R_x for R_x, _, _ in paid.values())


def _tables(config: Any, T: int, casts: bool) -> tuple[Tensor, Tensor]:
    """cos and sin (T, d); the library computes them in float32."""
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": config.rope_theta}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(f"The reference turns by plain frequencies, not {rope['rope_type']!r}. Type pelrp_nb.explain(model, ...).")
    d = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if not casts:
        return angles(torch.arange(T), d, base=rope["rope_theta"])
    frequency = 1.0 / rope["rope_theta"] ** (torch.arange(0, d, 2, dtype=torch.float32) / d)
    angle = repeat(torch.arange(T).float()[:, None] * frequency, "t f -> t (two f)", two=2)
    return angle.cos().double(), angle.sin().double()


# --- an encoder: positions added once ----------------------------------------------------------------------------------


class Names(NamedTuple):
    """How a library spells the parts of an encoder; `{}` is the layer."""

    embeddings: str
    query: str
    key: str
    value: str
    out: str
    first_norm: str
    up: str
    down: str
    second_norm: str
    pooler: str
    pooled_by: str


def _names(root: str, block: str, parts: str, pooler: str, pooled_by: str) -> Names:
    return Names(f"{root}.embeddings", *(f"{root}.{block}.{{}}.{p}" for p in parts.split()), pooler, pooled_by)


BERT = _names(
    "bert", "encoder.layer", "attention.self.query attention.self.key attention.self.value attention.output.dense "
    "attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm", "bert.pooler.dense", "tanh",
)  # fmt: skip
DISTILBERT = _names(
    "distilbert", "transformer.layer", "attention.q_lin attention.k_lin attention.v_lin attention.out_lin "
    "sa_layer_norm ffn.lin1 ffn.lin2 output_layer_norm", "pre_classifier", "relu",
)  # fmt: skip


def encoder(
    state: Mapping[str, Tensor], config: Any, ids: Tensor, target: int, composite: Composite = PA_LRP, *,
    visible: Tensor | None = None, casts: bool = True,
) -> Walk:  # fmt: skip
    """BERT and DistilBERT classifiers: added positions, layer norms behind the sums, GELU; the first token is pooled."""
    net, ids = _network(state, composite, casts), ids.flatten()
    T, names = len(ids), BERT if config.model_type == "bert" else DISTILBERT
    seen = (torch.ones(T) if visible is None else visible.flatten()).bool().expand(T, T)
    eps = getattr(config, "layer_norm_eps", 1e-12)
    x, embeddings_back = _embeddings(net, names.embeddings, ids, eps)
    backs = []
    for layer in range(config.num_hidden_layers):
        x, back = _encoder_layer(net, config, Names(*(n.format(layer) for n in names)), layer, x, seen)
        backs.append(back)
    pooled, pooler_back = net.linear(x[:1], names.pooler)
    act, act_back = net.activation(pooled, names.pooled_by)
    value, head_back = net.linear(act, "classifier", slice(target, target + 1))
    net.value = float(value)

    R = torch.zeros_like(x)
    R[0] = pooler_back(act_back(head_back(value)))[0]
    for layer, back in reversed(list(enumerate(backs))):
        net.boundary(f"layer {layer}", R)
        R = back(R)
    net.boundary("embeddings", R)
    return net.close(embeddings_back(R))


def _embeddings(net: Network, name: str, ids: Tensor, eps: float) -> Part:
    """norm(word + type + position): two plain sums; the type is a constant, the position a sink or one as well."""
    table, types = f"{name}.position_embeddings.weight", f"{name}.token_type_embeddings.weight"
    word, P = net.weights[f"{name}.word_embeddings.weight"][ids], net.weights[table][: len(ids)]
    kind = net.weights[types][0] if types in net.weights else torch.zeros_like(word[0])
    y, norm_back = net.layer_norm(word + kind + P, f"{name}.LayerNorm", eps)

    def back(R: Tensor) -> Tensor:
        R_sum, R_P = rules.absolute.relevance(norm_back(R), word + kind, P)
        if net.composite.positions == "sink":
            net.positions[table] = R_P
        else:
            net.constants[table] = float(R_P.sum())
        R_word, R_kind = rules.residual.relevance(R_sum, word, kind.expand_as(word))
        if types in net.weights:
            net.constants[types] = float(R_kind.sum())
        return R_word

    return y, back


def _encoder_layer(net: Network, config: Any, names: Names, layer: int, x: Tensor, seen: Tensor) -> Part:
    """norm(x + attention(x)), then the same with the MLP."""
    H, eps = config.num_attention_heads, getattr(config, "layer_norm_eps", 1e-12)
    (q, k, v), qkv_backs = zip(*(net.linear(x, name) for name in (names.query, names.key, names.value)), strict=True)
    q, k, v = (rearrange(z, "t (h d) -> h t d", h=H) for z in (q, k, v))
    o, attention_back = net.attention(q, k, v, seen, layer)
    out, out_back = net.linear(rearrange(o, "h t d -> t (h d)"), names.out)
    added, first_sum_back = net.residual(x, out)
    middle, first_norm_back = net.layer_norm(added, names.first_norm, eps)

    up, up_back = net.linear(middle, names.up)
    act, act_back = net.activation(up, getattr(config, "hidden_act", None) or config.activation)
    down, down_back = net.linear(act, names.down)
    added_again, second_sum_back = net.residual(middle, down)
    y, second_norm_back = net.layer_norm(added_again, names.second_norm, eps)

    def back(R: Tensor) -> Tensor:
        R_middle, R_down = second_sum_back(second_norm_back(R))
        R_middle = R_middle + up_back(act_back(down_back(R_down)))
        R_x, R_out = first_sum_back(first_norm_back(R_middle))
        R_qkv = attention_back(rearrange(out_back(R_out), "t (h d) -> h t d", h=H))
        return R_x + sum(pay(rearrange(r, "h t d -> t (h d)")) for pay, r in zip(qkv_backs, R_qkv, strict=True))

    return y, back
