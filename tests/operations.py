"""The operations that transformer code is written with, each in a micro model: `python -m tests.operations` writes the page.

A family is one function in several spellings, which have one explanation; what is refused says its name.  In every spelling x and y
carry (1 text, 5 places, 6 features); W, V, K, B, b, u are weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PAGE = Path(__file__).resolve().parent.parent / "tutorials" / "operations.md"
T, D = 5, 6
IDS = torch.tensor([[1, 5, 3, 9, 2]])


@dataclass(frozen=True)
class Family:
    """One function: its spellings, or why they have no rule; what is worth knowing."""

    spellings: tuple[str, ...]
    refused: str = ""
    note: str = ""


def one(*spellings: str, note: str = "") -> Family:
    """Spellings of one function."""
    return Family(spellings, note=note)


def no(spelling: str, named: str) -> Family:
    """A function that is refused by this name."""
    return Family((spelling,), refused=named)


S = "x @ x.mT"  # scores of attention
HIDE = "~torch.ones(5, 5).tril().bool()"
EMPTY = "(torch.arange(5) % 2 == 0)[:, None]"
OPERATIONS: dict[str, tuple[Family, ...]] = {
    "Linear maps": (
        one(
            "F.linear(x, W, b)",
            "x @ W.T + b",
            "b + torch.matmul(x, W.T)",
            "torch.einsum('btd,ed->bte', x, W) + b",
            "torch.einsum('...d,ed->...e', x, W) + b",
            "torch.tensordot(x, W.T, dims=1) + b",
            "torch.mm(x[0], W.T) + b",
            "torch.addmm(b, x[0], W.T)",
            "torch.bmm(x, W.T[None]) + b",
            "torch.baddbmm(b, x, W.T[None])",
            "torch.inner(x, W) + b",
            "(W @ x.mT + b[:, None]).mT",
            "F.conv1d(x.mT, W[..., None], b).mT",
            note="one map with its bias, under every linear rule",
        ),
        one("F.linear(x.mean(1), W, b)", "torch.mv(W, x.mean(1)[0]) + b", "torch.addmv(b, W, x.mean(1)[0])"),
        one(
            "0.5 * b + 2 * (x[0] @ W)",
            "torch.addmm(b, x[0], W, beta=0.5, alpha=2)",
            "torch.addbmm(b.expand(5, 6), x, W[None], beta=0.5, alpha=2)",
        ),
        one("F.conv1d(x.mT, K, b, padding=1).mT"),
        one("F.conv_transpose1d(x.mT, K, b, padding=1).mT"),
        one("torch.linalg.multi_dot([x[0], W, V])", "x @ W @ V"),
    ),
    "Products": (
        one("x * y", "torch.mul(x, y)", "torch.einsum('btd,btd->btd', x, y)"),
        one(
            "(x * y).sum(-1)",
            "torch.linalg.vecdot(x, y)",
            "torch.einsum('btd,btd->bt', x, y)",
            "(x[..., None, :] @ y[..., None])[..., 0, 0]",
        ),
        one("torch.einsum('bti,kij,btj->btk', x, B, y) + b", "F.bilinear(x, y, B, b)"),
        one("x.prod(1)", note="1/n to each of n factors"),
        one("x.cumprod(1)", note="1/k to each of the first k"),
        one("torch.linalg.cross(x[..., :3], y[..., :3])"),
        one("torch.kron(x[0, :2], y[0, :2])"),
        one("torch.outer(x[0, 0], y[0, 1])", "x[0, 0, :, None] * y[0, 1]"),
        one("x + 0.3 * x * y", "torch.addcmul(x, x, y, value=0.3)", "x.addcmul(x, y, value=0.3)"),
        one("x + x / (y.square() + 1)", "torch.addcdiv(x, x, y.square() + 1)"),
        one("0.7 * x + 0.3 * y", "torch.lerp(x, y, 0.3)", "x.lerp(y, 0.3)"),
        one(
            "(lambda a, c: a * c.sigmoid())(*torch.cat([x, y], -1).chunk(2, -1))",
            "F.glu(torch.cat([x, y], -1))",
            "nn.GLU()(torch.cat([x, y], -1))",
        ),
        one("x * F.silu(y)", "F.silu(y) * x"),
        no("torch.linalg.matrix_power(x[..., :5], 2)", "linalg_matrix_power"),
        no("torch.linalg.inv(x[..., :5])", "linalg_inv"),
        no("torch.cov(x[0])", "cov"),
    ),
    "Quotients, lengths, distances": (
        one(
            "x / x.norm(dim=-1, keepdim=True)",
            "F.normalize(x, dim=-1)",
            "x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)",
            "x * x.square().sum(-1, keepdim=True).rsqrt()",
        ),
        one(
            "(x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))",
            "F.cosine_similarity(x, y, dim=-1)",
            "(F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).sum(-1)",
        ),
        one(
            "F.cosine_similarity(x, u, dim=-1)",
            "(F.normalize(x, dim=-1) * F.normalize(u, dim=-1)).sum(-1)",
            note="beside a constant vector",
        ),
        one("(x - y).norm(dim=-1)", "(x - y).square().sum(-1).sqrt()"),
        one("F.pairwise_distance(x, y)", "(x - y + 1e-6).norm(dim=-1)"),
        one("torch.cdist(x, y)", "(x[:, :, None] - y[:, None]).norm(dim=-1)"),
        one("torch.dist(x, y)", "(x - y).norm()"),
        one("torch.hypot(x, y)"),
        no("torch.atan2(x, y)", "atan2"),
    ),
    "Norms": (
        one(
            "F.layer_norm(x, (6,), u, b)",
            "(x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt() * u + b",
            "(lambda v, m: (x - m) * (v + 1e-5).rsqrt() * u + b)(*torch.var_mean(x, -1, keepdim=True, correction=0))",
        ),
        one(
            "(x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5) * u + b",
            "(lambda s, m: (x - m) / (s + 1e-5) * u + b)(*torch.std_mean(x, -1, keepdim=True))",
        ),
        one("F.rms_norm(x, (6,), u, 1e-6)", "x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * u"),
        one("F.group_norm(x.mT, 2, u, b)"),
        one("F.group_norm(x.mT, 6, u, b)", "F.instance_norm(x.mT, weight=u, bias=b)"),
        one("F.batch_norm(x.mT, b.detach(), u.detach().square(), u, b)"),
        one("x.std(-1)", "x.var(-1).sqrt()", "torch.std_mean(x, -1)[0]"),
        no("F.local_response_norm(x.mT, 3)", "local_response_norm"),
    ),
    "Softmax": (
        one(
            f"({S}).softmax(-1) @ x",
            f"F.softmax({S}, dim=-1) @ x",
            f"F.softmin(-({S}), dim=-1) @ x",
            f"((e := ({S}).exp()) / e.sum(-1, keepdim=True)) @ x",
            f"((e := ({S}).exp()) / e.sum(-1)[..., None]) @ x",
            f"((e := ((s := {S}) - s.max(-1, keepdim=True).values).exp()) / e.sum(-1, keepdim=True)) @ x",
            f"((e := ((s := {S}) - s.amax(-1, keepdim=True).detach()).exp()) / (e.sum(-1, keepdim=True) + 1e-9)) @ x",
            f"((e := ({S}).exp()) * e.sum(-1, keepdim=True).reciprocal()) @ x",
            f"((e := ({S}).exp()) * (1 / e.sum(-1, keepdim=True))) @ x",
            f"F.normalize(({S}).exp(), p=1, dim=-1) @ x",
            f"((e := ({S}).exp()) @ x) / e.sum(-1, keepdim=True)",
            f"((s := {S}) - s.logsumexp(-1, keepdim=True)).exp() @ x",
            f"({S}).log_softmax(-1).exp() @ x",
            f"((e := ((s := {S}) - s.amax(-1, keepdim=True)).exp()) / e.sum(-1, keepdim=True).clamp(min=1e-9)) @ x",
            f"((e := ((s := {S}) - s.amax(-1, keepdim=True)).exp()) / torch.maximum(e.sum(-1, keepdim=True), b.new_tensor(1e-9))) @ x",
            note="written out by hand it is one softmax",
        ),
        one(
            f"({S}).masked_fill({HIDE}, -math.inf).softmax(-1) @ x",
            f"((e := ({S}).exp() * torch.ones(5, 5).tril().double()) / e.sum(-1, keepdim=True)) @ x",
            f"((e := ({S}).exp().masked_fill({HIDE}, 0)) / e.sum(-1, keepdim=True)) @ x",
            f"((e := ({S}).exp().tril()) / e.sum(-1, keepdim=True)) @ x",
            f"((s := {S}).exp().masked_fill({HIDE}, 0) / s.exp().masked_fill({HIDE}, 0).sum(-1, keepdim=True)) @ x",
        ),
        one(
            f"({S}).masked_fill({EMPTY}, -math.inf).softmax(-1).nan_to_num() @ x",
            f"(p := ({S}).masked_fill({EMPTY}, -math.inf).softmax(-1)).masked_fill(p.isnan(), 0) @ x",
            f"({S}).masked_fill({EMPTY}, 0).softmax(-1).masked_fill({EMPTY}, 0) @ x",
            note="rows without a visible score",
        ),
        one("F.scaled_dot_product_attention(x, x, x)", "(x @ x.mT / 6**0.5).softmax(-1) @ x"),
        one("x.logsumexp(-1)", "x.exp().sum(-1).log()", "(m := x.amax(-1)) + (x - m[..., None]).exp().sum(-1).log()"),
        one(
            "x.log_softmax(-1)",
            "x.softmax(-1).log()",
            "x - x.logsumexp(-1, keepdim=True)",
            "x.softmax(-1).clamp(min=1e-9).log()",
            "torch.maximum(x.softmax(-1), b.new_tensor(1e-9)).log()",
        ),
        one(
            "x.log_softmax(-1)[..., 2]",
            "x.softmax(-1)[..., 2].log()",
            "x.softmax(-1)[..., 2].clamp(1e-9, 1).log()",
            "x.softmax(-1).clamp_min(1e-9)[..., 2].log()",
            note="the log of one probability",
        ),
        one("x.softmax(-1).clamp(min=0.2).log()", "x.log_softmax(-1).clamp(min=math.log(0.2))"),
        one("x.log_softmax(-1).clamp(max=-2).exp()", "(x.log_softmax(-1) * 1).clamp(max=-2).exp()"),
        one("x.exp().sum(1, keepdim=True).flip(2).log()", "x.logsumexp(1, keepdim=True).flip(2)"),
        one("-(x.softmax(-1) * x.log_softmax(-1)).sum(-1)", "-((p := x.softmax(-1)) * p.log()).sum(-1)", note="entropy"),
        one("torch.logaddexp(x, y)", "torch.logsumexp(torch.stack([x, y]), 0)"),
        no("x.logcumsumexp(1)", "logcumsumexp"),
        no("F.gumbel_softmax(x)", "gumbel_softmax"),
    ),
    "Losses": (
        one(
            "F.cross_entropy(x[0], IDS[0] % 6)",
            "F.nll_loss(x[0].log_softmax(-1), IDS[0] % 6)",
            "-x[0].log_softmax(-1).gather(1, IDS.T % 6).mean()",
            "F.cross_entropy(x[0], F.one_hot(IDS[0] % 6, 6).double())",
        ),
        one("F.cross_entropy(x[0], IDS[0] % 6, label_smoothing=0.1)"),
        one(
            "F.cross_entropy(x[0, ::2], torch.tensor([1, 2, 0]), label_smoothing=0.1)",
            "F.cross_entropy(x[0], torch.tensor([1, 255, 2, 255, 0]), ignore_index=255, label_smoothing=0.1)",
            note="labels that are ignored",
        ),
        one("F.mse_loss(x, y)", "(x - y).square().mean()"),
        one("F.l1_loss(x, y)", "(x - y).abs().mean()"),
        one("F.binary_cross_entropy_with_logits(x, (u > 0).double().expand_as(x))", "(F.softplus(x) - x * (u > 0).double()).mean()"),
        no("F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction='sum')", "kl_div"),
        no("F.smooth_l1_loss(x, y)", "smooth_l1_loss"),
    ),
    "Activations": (
        one("F.silu(x)", "x * x.sigmoid()", "x / (1 + (-x).exp())", "x * (1 / (1 + torch.exp(-x)))"),
        one("x.sigmoid() * y", "1 / (1 + (-x).exp()) * y", "(1 + torch.exp(-x)).reciprocal() * y", "x.exp() / (1 + x.exp()) * y"),
        one("F.gelu(x)", "x * 0.5 * (1 + torch.erf(x / 2**0.5))"),
        one("F.gelu(x, approximate='tanh')", "0.5 * x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))"),
        one("F.softplus(x)", "(1 + x.exp()).log()", "torch.log1p(x.exp())"),
        one("F.relu(x)", "x.clamp(min=0)", "torch.maximum(x, torch.tensor(0.0).double())", "x * (x > 0)", "torch.where(x > 0, x, 0.0)"),
        one("x.clamp(min=0.1)", "torch.maximum(x, torch.tensor(0.1).double())", "torch.max(x, torch.full((1,), 0.1).double())"),
        one("F.leaky_relu(x, 0.1)", "torch.where(x > 0, x, 0.1 * x)", "F.prelu(x, torch.full((1,), 0.1).double())"),
        one("x**3", "x.pow(3)", "x * x * x"),
        one("2**x", "torch.exp2(x)", "torch.pow(2.0, x)"),
        one("torch.tanh(x)"),
        one("F.mish(x)", "x * torch.tanh(F.softplus(x))"),
        one("F.elu(x)"),
        one("F.hardswish(x)"),
        one("torch.erfc(x)"),
        one("torch.asinh(x)"),
        one("torch.sinc(x)"),
        one("torch.log2(1 + x.exp())"),
        no("x.round()", "round"),
        no("x.sign() * y", "sign"),
        no("x % 1.0", "remainder"),
        no("torch.logit(x.sigmoid())", "logit"),
    ),
    "Choosing, writing, moving": (
        one("torch.maximum(x, y)", "torch.where(x > y, x, y)", "torch.fmax(x, y)", "torch.stack([x, y]).amax(0)"),
        one("torch.maximum(x, u)", "torch.where(x > u, x, u)", note="what is chosen of a constant is one, by name"),
        one("x.amax(1)", "x.max(1).values", "x.cummax(1).values[:, -1]", "x.aminmax(dim=1).max", "x.topk(1, dim=1).values[:, 0]"),
        one(
            "x.index_fill(1, torch.tensor([1]), 0.7)",
            "x.masked_fill((torch.arange(5) == 1)[:, None], 0.7)",
            note="the filler is a constant",
        ),
        one(
            "x.clone().index_put((torch.tensor([0]), torch.tensor([1])), u)",
            "torch.where((torch.arange(5) == 1)[:, None], u, x)",
            "x.scatter(1, torch.ones(1, 1, 6).long(), u.expand(1, 1, 6))",
            "x.index_copy(1, torch.tensor([1]), u.expand(1, 1, 6))",
        ),
        one("x.masked_scatter(x > 0, u.expand_as(x).contiguous())"),
        one("F.pad(x, (0, 0, 1, 0), value=0.7)", "torch.cat([torch.full((1, 1, 6), 0.7).double(), x], 1)"),
        one(
            "torch.zeros_like(x).index_add(1, torch.tensor([0, 0, 1, 2, 3]), x)",
            "torch.zeros_like(x).scatter_add(1, torch.tensor([0, 0, 1, 2, 3])[None, :, None].expand(1, 5, 6), x)",
        ),
        one("x.cumsum(1)", "torch.ones(5, 5).tril().double() @ x"),
        one("x.diff(dim=1)", "x[:, 1:] - x[:, :-1]"),
        one("x.sort(dim=1).values"),
        one("x.median(1).values"),
        one("x.nansum(1)", "x.sum(1)"),
        one("torch.block_diag(x[0], y[0])"),
        one("x.unfold(1, 3, 1).mean(-1)", "F.avg_pool1d(x.mT, 3, 1).mT"),
        one("F.max_pool1d(x.mT, 2)"),
        one("F.interpolate(x.mT, scale_factor=2, mode='linear')"),
        one("torch.fft.fft(x, dim=1).real"),
        one("x + (x.round() - x).detach()", note="straight through"),
    ),
}


def entries() -> Iterator[tuple[str, Family]]:
    """Every family with its heading."""
    yield from ((heading, family) for heading, families in OPERATIONS.items() for family in families)


def drawn(seed: int, *shape: int, size: float = 1.0) -> Tensor:
    """Numbers of a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * size


@dataclass
class Names:
    """What a spelling may use beside x and y."""

    W: Tensor = field(default_factory=lambda: drawn(1, D, D, size=D**-0.5))
    V: Tensor = field(default_factory=lambda: drawn(2, D, D, size=D**-0.5))
    K: Tensor = field(default_factory=lambda: drawn(3, D, D, 3, size=0.25))
    B: Tensor = field(default_factory=lambda: drawn(4, D, D, D, size=1 / D))
    b: Tensor = field(default_factory=lambda: drawn(5, D, size=0.3))
    u: Tensor = field(default_factory=lambda: drawn(6, D))


class Micro(nn.Module):
    """Token vectors, a linear map, one operation, weights for all that comes out."""

    def __init__(self, spelling: str):
        super().__init__()
        self.spelling = spelling
        self.embed, self.before = nn.Embedding(12, D), nn.Linear(D, D)
        self.double()
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(drawn(10 + i, *p.shape, size=1.0 if p.dim() == 1 else p.shape[-1] ** -0.5))
        for name, tensor in vars(Names()).items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.before(self.embed(input_ids))
        known: dict[str, Any] = {"x": x, "y": x.roll(1, 1), "F": F, "nn": nn, "torch": torch, "math": math, "IDS": IDS}
        out = eval(self.spelling, known | {n: getattr(self, n) for n in vars(Names())})
        return out.reshape(1, -1) @ drawn(20, out.numel(), 3)


def page() -> str:
    """The page of the docs: every family with its spellings."""
    closed = [f for _, f in entries() if not f.refused]
    spelt, refused = sum(len(f.spellings) for f in closed), [f for _, f in entries() if f.refused]
    lines = [
        "# Operations", "",
        "<!-- written by `python -m tests.operations`; `tests/test_operations.py` keeps it true -->", "",
        f"{len(closed)} operations and small idioms that transformer code uses, in {spelt} spellings, each run in a micro model: the",
        "ledger is closed, and the spellings of one line have one explanation (x and y carry relevance; W, V, K, B, b, u are weights).",
        f"{len(refused)} are refused by name; `pelrp_nb.register` gives them a rule (see tutorial 13).",
    ]  # fmt: skip
    for heading, families in OPERATIONS.items():
        lines += ["", f"## {heading}", "", "| the same operation | |", "|---|---|"]
        for f in families:
            code = "<br>".join(f"`{s.replace('|', '&#124;')}`" for s in f.spellings)
            lines.append(f"| {code} | {f'refused: no rule for `{f.refused}`' if f.refused else f.note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
