"""F.multi_head_attention_forward, one opaque call, taken apart into the calls that it makes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ModelError
from ..context import REFUSED, Context


def multi_head(flow: Context, func: Callable, args: tuple, kwargs: dict) -> tuple[Tensor, Tensor | None]:
    """F.multi_head_attention_forward, one opaque call, taken apart into the calls that it makes, each under its own rule."""
    import inspect

    given = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    given.apply_defaults()
    a = given.arguments
    unusual = [n for n in ("bias_k", "bias_v", "static_k", "static_v") if a[n] is not None] + ["add_zero_attn"] * a["add_zero_attn"]
    if unusual or a["query"].dim() != 3:
        return REFUSED
    if a["training"] and a["dropout_p"] > 0:
        raise ModelError(f"The attention dropout in {flow.place} is active (p = {a['dropout_p']}). Type model.eval().")
    with flow:  # every call below passes through the rules again
        return _multi_head(a)


def _multi_head(a: dict) -> tuple[Tensor, Tensor | None]:
    """(T, B, E) queries, (S, B, E) keys and values, as torch computes them."""
    q, k, v = _projected(a)
    T, B, E = q.shape
    S, H = k.shape[0], a["num_heads"]
    q, k, v = (x.reshape(-1, B * H, E // H).transpose(0, 1) for x in (q, k, v))
    mask = _merged_mask(a, B, H, S, q.dtype)
    if not a["need_weights"]:
        q, k, v = (x.reshape(B, H, -1, E // H) for x in (q, k, v))
        mask = mask if mask is None or mask.dim() != 3 else mask.reshape(B, H, -1, S) if mask.shape[0] == B * H else mask[None]
        out = F.scaled_dot_product_attention(q, k, v, mask, 0.0, a["is_causal"] and mask is None)
        out = out.permute(2, 0, 1, 3).reshape(B * T, E)
        return F.linear(out, a["out_proj_weight"], a["out_proj_bias"]).reshape(T, B, -1), None
    q = q * (E // H) ** -0.5
    s = torch.bmm(q, k.transpose(-2, -1)) if mask is None else torch.bmm(q, k.transpose(-2, -1)) + mask
    A = torch.softmax(s, dim=-1)
    out = torch.bmm(A, v).transpose(0, 1).reshape(T * B, E)
    shown = A.detach().reshape(B, H, T, S)
    out = F.linear(out, a["out_proj_weight"], a["out_proj_bias"]).reshape(T, B, -1)
    return out, shown.mean(1) if a["average_attn_weights"] else shown


def _projected(a: dict) -> tuple[Tensor, ...]:
    """Queries, keys and values: parts of the packed weight that read the same tensor are one product, as in torch, to the bit."""
    q, k, v, weight, bias = (a[name] for name in ("query", "key", "value", "in_proj_weight", "in_proj_bias"))
    separate = a["use_separate_proj_weight"]
    if separate or k is not v:
        weights = [a[f"{name}_proj_weight"] for name in "qkv"] if separate else weight.chunk(3)
        biases = [None] * 3 if bias is None else bias.chunk(3)
        return tuple(F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True))
    if q is k:
        return _packed(q, weight, bias, 3)
    E = q.shape[-1]
    first, rest = weight.split((E, 2 * E))
    b, others = (None, None) if bias is None else bias.split((E, 2 * E))
    return F.linear(q, first, b), *_packed(k, rest, others, 2)


def _packed(x: Tensor, weight: Tensor, bias: Tensor | None, parts: int) -> tuple[Tensor, ...]:
    """One product, and its parts each in memory of its own."""
    return F.linear(x, weight, bias).unflatten(-1, (parts, -1)).movedim(-2, 0).contiguous().unbind(0)


def _merged_mask(a: dict, B: int, H: int, S: int, dtype: torch.dtype) -> Tensor | None:
    """Attention and padding masks as one that is added."""

    def added(mask: Tensor) -> Tensor:
        zeros = torch.zeros_like(mask, dtype=dtype)
        return zeros.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask

    mask = None if a["attn_mask"] is None else added(a["attn_mask"])
    if a["key_padding_mask"] is not None:
        padding = added(a["key_padding_mask"]).view(B, 1, 1, S).expand(-1, H, -1, -1).reshape(B * H, 1, S)
        mask = padding if mask is None else mask + padding
    return mask
