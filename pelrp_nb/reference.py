"""A whole transformer walked back by hand, with the explicit rules and without autograd.

A *step* takes x to its output y and the way back, which takes the relevance of y to that of x by a page of `rules/`.  Steps are
chained and skipped over as in the model.  What goes to no input is booked where it stays: the share of a bias, what a softmax
keeps, what positions receive.  One sequence, float64.

    forward:  token vectors -> layers -> pooling -> head -> value          back:  R(value) = value, the same steps reversed

This is the definition of the method; `engine/` gets the same numbers, on any model, from one bent backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import accumulate
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
Step = Callable[[Tensor], Part]
Received = Tensor | Mapping[str, Mapping[str, Tensor]]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh}


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


def walk(model: Any, ids: Tensor, target: int, composite: Composite = PA_LRP, *, visible: Tensor | None = None, casts: bool = True) -> Walk:
    """Walk back a Llama or Qwen2, or a BERT or DistilBERT classifier: anything with their `state_dict()` and `config`.

    Args: `ids` (T,) or (1, T); `target` a class, or a token id at the last position; `visible` (T,), 0 where padded;
    `casts` rounds to float32 where the library does, in RMS norms and rotations, else float64 throughout.
    Raises ModelError for another architecture, InputError for other rules, several sequences, a target that is not there.
    """
    config, varied = model.config, ("softmax", "gate", "residual", "positions")
    act = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if config.model_type not in FAMILIES or act not in ACTIVATIONS or getattr(config, "use_sliding_window", False):
        known, came = f"{', '.join(FAMILIES)} with {', '.join(ACTIVATIONS)} and full attention", f"{config.model_type} with {act}"
        raise ModelError(f"The reference knows {known}, got {came}. Type pelrp_nb.explain(model, ...): the engine takes any model.")
    if ids.numel() != ids.shape[-1] or composite != replace(PA_LRP, **{f: getattr(composite, f) for f in varied}):
        what = f"one sequence, and PA_LRP with another {', '.join(varied)}"
        raise InputError(f"The reference takes {what}; got ids {tuple(ids.shape)} and {composite!r}. Type ids[0], or ATTN_LRP.")
    state = {name: w.detach().to("cpu", torch.float64) for name, w in model.state_dict().items() if w.is_floating_point()}
    net, ids = Network(state, config, composite, casts), ids.flatten().cpu()
    shown = torch.ones(len(ids), dtype=torch.bool) if visible is None else visible.flatten().cpu().bool()
    table, transformer = FAMILIES[config.model_type](net, ids, slice(target, target + 1), shown)
    value, back = transformer(net.weights[table][ids])
    if value.numel() != 1:
        raise InputError(f"The target must be an output of the model, counted from 0, got {target}.")
    return net.close(float(value), back(value))


# --- steps: what every transformer is made of ------------------------------------------------------------------------------


def step(part: Callable[..., Part]) -> Callable[..., Step]:
    """A method part(self, x, name ...) as a step that waits for its x: `net.linear("head")`."""
    return wraps(part)(lambda self, *how, **more: lambda x: part(self, x, *how, **more))


def chain(*steps: Step, notes: list[Tensor] | None = None) -> Step:
    """One step after the other, and back in reverse; `notes` gets what passes between them on the way back."""

    def along(x: Tensor) -> Part:
        backs = []
        for each in steps:
            x, way = each(x)
            backs.append(way)

        def back(R: Tensor) -> Tensor:
            passing = [*accumulate(reversed(backs), lambda R, way: way(R), initial=R)]
            if notes is not None:
                notes[:] = reversed(passing)
            return passing[-1]

        return x, back

    return along


def arrange(pattern: str, **sizes: int) -> Step:
    """The same numbers in another shape."""
    there, back = pattern, " -> ".join(reversed(pattern.split(" -> ")))
    return lambda x: (rearrange(x, there, **sizes), lambda R: rearrange(R, back, **sizes))


def share(g: int) -> Step:
    """Each key and value head serves g query heads: what they pay is added up."""
    return lambda x: (repeat(x, "h t d -> (h g) t d", g=g), lambda R: reduce(R, "(h g) t d -> h t d", "sum", g=g))


def pick(at: int) -> Step:
    """One token of all; the others get nothing."""
    return lambda x: (x[at, None], lambda R: F.pad(R, (0, 0, at, len(x) - at - 1)))


@dataclass
class Network:
    """The weights, the rules in force, the steps they make, and what is booked on the way back."""

    weights: dict[str, Tensor]
    config: Any
    composite: Composite
    casts: bool
    constants: dict[str, float] = field(default_factory=dict)
    softmax: dict[str, float] = field(default_factory=dict)
    positions: dict[str, Any] = field(default_factory=dict)
    boundaries: list[Tensor] = field(default_factory=list)

    @step
    def skip(self, x: Tensor, branch: Step) -> Part:
        """x + branch(x): each in proportion. A sum of exactly 0 becomes the smallest number, so that 0/0 finds its limit."""
        b, branch_back = branch(x)

        def back(R: Tensor) -> Tensor:
            R_x, R_b = self.composite.residual.relevance(R, x, b)
            return R_x + branch_back(R_b)

        return stabilise(x + b), back

    def by(self, rule: rules.Rule, y: Tensor, x: Tensor, name: str = "", **constants: Any) -> Part:
        """y = f(x), token by token, and the way back by the rule's page; the share of a bias is booked."""

        def back(R: Tensor) -> Tensor:
            if constants.get("bias") is not None:
                self.constants[f"{name}.bias"] = float((constants["bias"] / stabilise(y) * R).sum())
            return torch.cat([rule.relevance(R[t, None], x[t, None], **constants)[0] for t in range(len(x))])

        return y, back

    @step
    def linear(self, x: Tensor, name: str, rows: slice = slice(None)) -> Part:
        """W x + b: epsilon; `rows` of W where not every output is wanted."""
        weight, bias = self.weights[f"{name}.weight"][rows], self.weights.get(f"{name}.bias")
        bias = bias if bias is None else bias[rows]
        return self.by(self.composite.linear, F.linear(x, weight, bias), x, name, weight=weight, bias=bias)

    @step
    def activation(self, x: Tensor, name: str) -> Part:
        """f(x) with f(0) = 0: identity."""
        return self.by(self.composite.activation, ACTIVATIONS[name](x), x, f=ACTIVATIONS[name])

    @step
    def layer_norm(self, x: Tensor, name: str) -> Part:
        """(x - mean) / std * w + b: the standard deviation is a constant."""
        w, b, eps = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], getattr(self.config, "layer_norm_eps", 1e-12)
        return self.by(self.composite.layer_norm, F.layer_norm(x, w.shape, w, b, eps), x, name, weight=w, bias=b, eps=eps)

    @step
    def rms_norm(self, x: Tensor, name: str) -> Part:
        """x / rms * w: identity. The library divides in float32, forward and back."""
        w, eps, h = self.weights[f"{name}.weight"], self.config.rms_norm_eps, x.float() if self.casts else x
        per_rms = torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + eps)
        y = w * (h * per_rms).to(x.dtype)

        def back(R: Tensor) -> Tensor:
            (R_x,) = self.composite.rms_norm.relevance(R, x, weight=w, eps=eps)
            g = (w * R_x / stabilise(y)).to(h.dtype) * per_rms  # R_x is x * g, but for two roundings
            return x * g.to(x.dtype) if self.casts else R_x

        return y, back

    @step
    def attention(self, x: Tensor, layer: int, names: list[str], seen: Tensor, rotary: bool = False) -> Part:
        """out(softmax(q k^T / sqrt d) v): product, softmax, product; `names` of q, k, v, out; `seen` (T, T)."""
        H, constant, pay = self.config.num_attention_heads, self.composite.softmax_is_constant, self.composite.product.relevance
        all_q, all_k = (len(self.weights[f"{name}.weight"]) for name in names[:2])
        heads, copies = arrange("t (h d) -> h t d", d=all_q // H), share(all_q // all_k)
        turns = [self.turn(layer, role) for role in ("query", "key")] if rotary else [chain(), chain()]
        q, q_back = chain(self.linear(names[0]), heads, turns[0])(x)
        k, k_back = chain(self.linear(names[1]), heads, turns[1], copies)(x)
        v, v_back = chain(self.linear(names[2]), heads, copies)(x)
        s = einsum(q, k, "h t d, h s d -> h t s") / q.shape[-1] ** 0.5
        mask = seen.expand_as(s)
        A, _ = weights(s, mask=mask)
        o = einsum(A, v, "h t s, h s d -> h t d")
        out, out_back = chain(arrange("h t d -> t (h d)", h=H), self.linear(names[3]))(o)

        def back(R: Tensor) -> Tensor:
            R_A, R_v = pay(out_back(R), A, v, multiply="hts,hsd->htd", n=1 if constant else 2)
            R_A = torch.zeros_like(A) if constant else R_A  # CP-LRP: the values get all
            (R_s,) = rules.softmax.relevance(R_A, s, mask=mask)
            self.softmax[f"layer {layer}"] = float(kept(R_A, s, mask=mask).sum())
            R_q, R_k = pay(R_s, q, k, multiply="htd,hsd->hts")
            return q_back(R_q) + k_back(R_k) + v_back(R_v)

        return out, back

    @step
    def turn(self, x: Tensor, layer: int, role: str) -> Part:
        """Queries or keys (h, t, d) turned by position: half to them, half to cos and sin, of which each head has its own."""
        cos, sin = (table.expand_as(x) for table in tables(self.config, x.shape[1], x.shape[2], self.casts))

        def back(R: Tensor) -> Tensor:
            R_x, R_cos, R_sin = rules.rotary.relevance(R, x, cos, sin)
            if self.composite.positions == "constant":  # nothing to a constant: twice the half
                return 2 * R_x
            self.positions.setdefault(f"layer {layer} rotary", {})[role] = {"cos": R_cos, "sin": R_sin}
            return R_x

        return x * cos + turned(x) * sin, back

    @step
    def gate(self, x: Tensor, name: str) -> Part:
        """silu(gate) * up: half each, or all to `up` where an activation is a constant."""
        a, a_back = chain(self.linear(f"{name}.gate_proj"), self.activation(self.config.hidden_act))(x)
        u, u_back = self.linear(f"{name}.up_proj")(x)

        def back(R: Tensor) -> Tensor:
            if self.composite.gate == rules.constant:
                return u_back(R)
            R_a, R_u = self.composite.gate.relevance(R, a, u, multiply="ti,ti->ti")
            return a_back(R_a) + u_back(R_u)

        return a * u, back

    @step
    def add(self, x: Tensor, name: str, P: Tensor, sink: bool) -> Part:
        """x + P, in proportion: P is an input that receives, or a constant that is booked."""

        def back(R: Tensor) -> Tensor:
            R_x, R_P = rules.absolute.relevance(R, x, P.expand_as(x))
            if sink:
                self.positions[name] = R_P
            else:
                self.constants[name] = float(R_P.sum())
            return R_x

        return stabilise(x + P), back

    def close(self, value: float, tokens: Tensor) -> Walk:
        """The books, closed, in the order of the forward pass."""
        positions, softmax = dict(reversed(self.positions.items())), dict(reversed(self.softmax.items()))
        positional = torch.stack([*map(per_token, positions.values())]) if positions else tokens.new_zeros(0, len(tokens))
        sums, scale = (float(tokens.sum()), float(positional.sum())), float(tokens.abs().sum() + positional.abs().sum())
        ledger = Ledger(value, *sums, self.constants, softmax, scale=scale, tolerance=1e-6, audited=True)
        return Walk(value, tokens, positions, positional, tuple(self.boundaries), self.constants, softmax, ledger)


def per_token(R: Received) -> Tensor:
    """What a sink received, (T,)."""
    if isinstance(R, Tensor):
        return R.sum(-1)
    return torch.stack([P.sum((0, 2)) for both in R.values() for P in both.values()]).sum(0)


def tables(config: Any, T: int, d: int, casts: bool) -> tuple[Tensor, Tensor]:
    """cos and sin (T, d); the library computes them in float32."""
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": config.rope_theta}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(f"The reference turns by plain frequencies, got {rope['rope_type']!r}. Type pelrp_nb.explain(model, ...).")
    if not casts:
        return angles(torch.arange(T), d, base=rope["rope_theta"])
    frequency = 1.0 / rope["rope_theta"] ** (torch.arange(0, d, 2).float() / d)
    angle = repeat(torch.arange(T).float()[:, None] * frequency, "t f -> t (half f)", half=2)
    return angle.cos().double(), angle.sin().double()


# --- two transformers: positions in every layer, positions added once ------------------------------------------------------


def decoder(net: Network, ids: Tensor, row: slice, shown: Tensor) -> tuple[str, Step]:
    """Llama: RMS norms before, grouped-query rotary attention, SwiGLU; a language model, or a classifier of the last token."""
    seen = shown & torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    head = next(name for name in ("score", "lm_head", "model.embed_tokens") if f"{name}.weight" in net.weights)
    padding = getattr(net.config, "pad_token_id", None) if head == "score" else None
    last = len(ids) - 1 if padding is None else int((ids != padding).nonzero().max())

    def layer(i: int) -> Step:
        name = f"model.layers.{i}"
        attention = net.attention(i, [f"{name}.self_attn.{part}_proj" for part in "qkvo"], seen, rotary=True)
        mlp = chain(net.gate(f"{name}.mlp"), net.linear(f"{name}.mlp.down_proj"))
        norm, norm_again = (net.rms_norm(f"{name}.{which}_layernorm") for which in ("input", "post_attention"))
        return chain(net.skip(chain(norm, attention)), net.skip(chain(norm_again, mlp)))

    layers = chain(*map(layer, range(net.config.num_hidden_layers)), notes=net.boundaries)
    return "model.embed_tokens.weight", chain(layers, net.rms_norm("model.norm"), pick(last), net.linear(head, row))


BERT = ("encoder.layer", "attention.self.query attention.self.key attention.self.value attention.output.dense "
        "attention.output.LayerNorm intermediate.dense output.dense output.LayerNorm", "bert.pooler.dense", "tanh")  # fmt: skip
DISTILBERT = ("transformer.layer", "attention.q_lin attention.k_lin attention.v_lin attention.out_lin "
              "sa_layer_norm ffn.lin1 ffn.lin2 output_layer_norm", "pre_classifier", "relu")  # fmt: skip


def encoder(net: Network, ids: Tensor, row: slice, shown: Tensor) -> tuple[str, Step]:
    """BERT, DistilBERT: added positions, layer norms behind the sums, GELU; a classifier of the first token."""
    kind, E = net.config.model_type, f"{net.config.model_type}.embeddings"
    blocks, parts, pooler, f = BERT if kind == "bert" else DISTILBERT
    P, types = f"{E}.position_embeddings.weight", f"{E}.token_type_embeddings.weight"
    seen, act = shown.expand(len(ids), len(ids)), net.config.hidden_act if kind == "bert" else net.config.activation

    def layer(i: int) -> Step:
        *attention, norm, up, down, norm_again = (f"{kind}.{blocks}.{i}.{part}" for part in parts.split())
        mlp = chain(net.linear(up), net.activation(act), net.linear(down))
        return chain(net.skip(net.attention(i, attention, seen)), net.layer_norm(norm), net.skip(mlp), net.layer_norm(norm_again))

    added = [net.add(types, net.weights[types][0], sink=False)] if types in net.weights else []
    added.append(net.add(P, net.weights[P][: len(ids)], sink=net.composite.positions == "sink"))
    layers = chain(*map(layer, range(net.config.num_hidden_layers)), notes=net.boundaries)
    pooled = chain(pick(0), net.linear(pooler), net.activation(f), net.linear("classifier", row))
    return f"{E}.word_embeddings.weight", chain(*added, net.layer_norm(f"{E}.LayerNorm"), layers, pooled)


FAMILIES = {"llama": decoder, "qwen2": decoder, "bert": encoder, "distilbert": encoder}
