"""What each rule keeps, computed another way than the rule: the share of a bias, of eps, of f(0), of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pelrp_nb.rules.softmax import kept
from pelrp_nb.verbs import stabilise


def contributions(x: Tensor, c: dict) -> tuple[Tensor, Tensor]:
    """x_i W_ji (*batch, out, in), and the bias as one more input."""
    C = torch.einsum("...i,ji->...ji", x, c["weight"])
    return C, c["bias"] if c.get("bias") is not None else C.new_zeros(C.shape[-2])


def epsilon_keeps(rule, R, inputs, c):
    C, b = contributions(*inputs, c)
    z, eps = C.sum(-1) + b, c.get("eps", rule.option("eps", 0))
    away = eps * torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    return R / (z + away) * (b + away)


def gamma_keeps(rule, R, inputs, c):
    """By the table of the docstring, signs of x, W and b written out."""
    (x,), W = inputs, c["weight"]
    b = contributions(x, c)[1]
    eps, by = c.get("eps", rule.option("eps", 0)), rule.option("gamma", 0.25)
    up, down, xp, xm = W + by * W.clamp(min=0), W + by * W.clamp(max=0), x.clamp(min=0), x.clamp(max=0)
    fell = F.linear(x, W, b) < 0
    bias = b + by * torch.where(fell, b.clamp(max=0), b.clamp(min=0))
    z = torch.where(fell, xp @ down.T + xm @ up.T, xp @ up.T + xm @ down.T) + bias
    return R * (bias + eps * z.sign()) / stabilise(z + eps * z.sign())


def alpha_beta_keeps(rule, R, inputs, c):
    C, b = contributions(*inputs, c)
    alpha = 1 if rule.name == "zplus" else rule.option("alpha", 2)
    part = 0
    for sign, weight in ((1, alpha), (-1, alpha - 1)):
        pile, own = (sign * C).clamp(min=0).sum(-1), (sign * b).clamp(min=0).expand(C.shape[:-1])
        part = part + sign * weight * torch.where(pile + own == 0, 1, own / (pile + own))
    return R * part


def box_keeps(rule, R, inputs, c):
    x, low, high = inputs
    zero = x @ c["weight"].T - low @ c["weight"].clamp(min=0).T - high @ c["weight"].clamp(max=0).T == 0
    return R * zero


def activation_keeps(rule, R, inputs, c):
    return torch.where(R == 0, 0, c["f"](torch.zeros_like(R)) / c["f"](*inputs) * R)


def norm_keeps(rule, R, inputs, c):
    if c.get("bias") is None:
        return torch.zeros_like(R)
    return c["bias"] / rule.forward(*inputs, **c) * R


def attention_keeps(rule, R, inputs, c):
    """kept at the softmax of R(A) = A (g_o V^T), times 1/2 where the values carry as well."""
    q, k, v, *bias = inputs
    carries = c.get("carries", (True, True, True, True))
    if c.get("softmax_constant", rule.option("softmax_constant")) or not (carries[0] or carries[1]):
        return torch.zeros_like(R) if carries[2] else R
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    s = q @ k.mT * c.get("scale", q.shape[-1] ** -0.5) + (bias[0] if bias else 0)
    mask = c.get("mask")
    if mask is not None or c.get("is_causal"):
        hidden = torch.ones_like(s).triu(1).bool() if mask is None else ~mask if mask.dtype == torch.bool else mask < 0
        s = s.masked_fill(hidden, -torch.inf)
    R_A = s.softmax(-1) * (R / rule.forward(*inputs, **c) @ v.mT) * (1 / 2 if carries[2] else 1)
    return kept(R_A, s)


def entropy(x, dim):
    p = x.softmax(dim)
    return -(p * p.log()).sum(dim)


def logsumexp_keeps(rule, R, inputs, c):
    (x,) = inputs
    return R / x.exp().sum(-1).log() * entropy(x, -1)


def log_softmax_keeps(rule, R, inputs, c):
    (x,), dim = inputs, c.get("dim", -1)
    return -(R / x.softmax(dim).log()).sum(dim) * entropy(x, dim)


KEEPS = {
    "epsilon": epsilon_keeps, "gamma": gamma_keeps, "alpha_beta": alpha_beta_keeps, "zplus": alpha_beta_keeps, "zbox": box_keeps,
    "identity": activation_keeps, "rms_norm": norm_keeps, "layer_norm": norm_keeps, "attention": attention_keeps,
    "softmax": lambda rule, R, inputs, c: kept(R, *inputs, **c), "constant": lambda rule, R, inputs, c: R,
    "logsumexp": logsumexp_keeps, "log_softmax": log_softmax_keeps,
}  # fmt: skip
