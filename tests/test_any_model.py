"""No code per architecture: whatever is written with torch's own operations is explained, or refused by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pelrp_nb import explain
from pelrp_nb.composites import ATTN_LRP, CP_LRP, PA_LRP, PA_LRP_VISION
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.faithfulness.subject import Subject
from pelrp_nb.live.memory import Meter
from pelrp_nb.live.worker import elsewhere
from pelrp_nb.errors import InputError, ModelError, RuleError


class Head(nn.Module):
    """A linear map, some function of it, another linear map without bias."""

    def __init__(self, function, width: int = 6):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Linear(4, width), nn.Linear(width, 3, bias=False)
        self.function = function
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self.before(x)))


def trace(model: nn.Module, x: Tensor, composite=PA_LRP, pick=lambda out: out[0].flatten()[0], rounding: float = 0.0):
    plain = model(x)  # with gradients: without, torch's own transformer takes a fused path
    with propagate(model, composite, Options(audit=True)) as flow:
        out = model(x)
        found = flow.trace(pick(out))
    torch.testing.assert_close(pick(out).detach(), pick(plain).detach(), rtol=rounding, atol=rounding)
    return found


X = torch.linspace(-1.5, 1.7, 8, dtype=torch.float64).reshape(2, 4)[:1].clone()


def gelu_written_out(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def many(x: Tensor) -> Tensor:
    """x behind more functions than Python calls go deep."""
    for _ in range(2000):
        x = x * 1.0
    return x


ONE_ACTIVATION = {
    "silu": (lambda x: x * torch.sigmoid(x), F.silu),
    "silu the other way": (lambda x: torch.sigmoid(x).mul(x), F.silu),
    "gelu": (gelu_written_out, lambda x: F.gelu(x, approximate="tanh")),
    "exact gelu": (lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))), F.gelu),
    "quick gelu": (lambda x: x * torch.sigmoid(1.702 * x), lambda x: F.silu(1.702 * x) / 1.702),
    "squared relu": (lambda x: F.relu(x) * F.relu(x), lambda x: F.relu(x).square()),
    "through float32": (lambda x: x * torch.sigmoid(x.float()).to(x.dtype), F.silu),
    "through two thousand functions": (lambda x: x * torch.sigmoid(many(x)), F.silu),
}


@pytest.mark.parametrize("name", ONE_ACTIVATION)
def test_an_activation_written_out_is_one_activation(name):
    written, known = ONE_ACTIVATION[name]
    ours, theirs = trace(Head(written), X), trace(Head(known), X)
    tolerance = 1e-6 if "float32" in name else 1e-10
    torch.testing.assert_close(ours.tokens, theirs.tokens, rtol=tolerance, atol=tolerance)
    assert ours.ledger.closed


def divided(x: Tensor) -> Tensor:
    x = x.clone()
    x /= x.square().sum(-1, keepdim=True).sqrt()
    return x


CLOSES = {
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "exp": torch.exp,
    "gate": lambda x: F.silu(x[..., :3]).repeat(1, 2) * x,
    "one minus": lambda x: (1 - x) * x.roll(1, -1),
    "up plus one": lambda x: (x.roll(1, -1) + 1) * F.silu(x),
    "softmax": lambda x: x.softmax(-1),
    "weights": lambda x: F.softplus(x) / F.softplus(x).sum(-1, keepdim=True),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "layer norm by hand": lambda x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True, correction=0) + 1e-5),
    "rms norm": lambda x: F.rms_norm(x, (6,), torch.arange(1.0, 7.0, dtype=x.dtype)),
    "group norm": lambda x: F.group_norm(x[:, :, None], 2, torch.ones(6).to(x), torch.full((6,), 0.3).to(x))[..., 0],
    "in place": divided,
    "masked": lambda x: x.masked_fill(x > 0.5, 0.25),
    "where": lambda x: torch.where(x > 0, x, torch.full_like(x, 0.1)),
    "clamp": lambda x: x.clamp(-0.2, 0.3),
    "maximum": lambda x: torch.maximum(x, x.roll(1, -1)),
    "joined": lambda x: torch.cat([x[:, :3], torch.full((1, 3), 0.7, dtype=x.dtype)], -1),
    "written into": lambda x: torch.zeros_like(x).index_add_(1, torch.tensor([5, 4, 3, 2, 1, 0]), x),
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x.roll(2, -1)).sum(1),
    "cumsum": lambda x: x.cumsum(-1),
}


@pytest.mark.parametrize("composite", [PA_LRP, ATTN_LRP, CP_LRP, PA_LRP_VISION], ids=["pa", "attn", "cp", "gamma"])
@pytest.mark.parametrize("name", CLOSES)
def test_the_ledger_closes_on(name, composite):
    if composite is CP_LRP and name == "softmax":  # a constant there: nothing is left to explain
        with pytest.raises(InputError, match="depends on no input"):
            trace(Head(CLOSES[name]), X, composite)
        return
    found = trace(Head(CLOSES[name]), X, composite)
    assert found.ledger.closed, str(found.ledger)


class Picture(nn.Module):
    """Convolutions, a batch norm with frozen statistics, an in-place ReLU, a skip, pooling."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.norm.running_mean.uniform_()
        self.norm.running_var.uniform_(1, 2)
        self.head = nn.Linear(8 * 16, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.norm(self.first(x)))
        return self.head(F.max_pool2d(x + self.second(x), 2).flatten(1))


@pytest.mark.parametrize("composite", [PA_LRP, PA_LRP_VISION], ids=["epsilon", "gamma"])
def test_a_convolutional_network(composite):
    found = trace(Picture(), torch.randn(1, 3, 8, 8, dtype=torch.float64), composite)
    assert found.ledger.closed and found.sinks == ()
    assert "norm.bias" in found.ledger.constants and "first.bias" in found.ledger.constants


def test_batch_norm_in_training_mode_is_refused():
    with pytest.raises(ModelError, match="frozen statistics"):
        trace(Picture().train(), torch.randn(2, 3, 8, 8, dtype=torch.float64))


@pytest.mark.parametrize("norm_first", [True, False])
def test_torch_s_own_transformer(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    found = trace(model, torch.randn(1, 5, 16, dtype=torch.float64))
    assert found.ledger.closed and len(found.boundaries) == 7
    assert set(found.ledger.softmax) == {"layer 0", "layer 1"}


class Products(TorchDispatchMode):
    """The shapes of what matrix products with a bias give, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.addmm.default:
            self.shapes.append(tuple(out.shape))
        return out


class Attending(nn.Module):
    """Attention of the first text to the second, and to the third for its values; the last one given stands for those left out."""

    def __init__(self, kdim: int | None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True, kdim=kdim, vdim=kdim)

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Tensor:
        second = first if second is None else second
        return self.attention(first, second, second if third is None else third)[0]


@pytest.mark.parametrize(("texts", "kdim"), [(1, None), (2, None), (3, None), (3, 8)], ids=["one text", "two", "three", "of other sizes"])
def test_multi_head_attention_makes_the_products_that_torch_makes(texts, kdim):
    """Which of them are one product decides the last bit, on some processors."""
    torch.manual_seed(0)
    model = Attending(kdim).eval()
    given = [torch.randn(1, 5, 16), *(torch.randn(1, 5, kdim or 16) for _ in range(texts - 1))]
    with Products() as plain:
        model(*given)
    with propagate(model, PA_LRP), Products() as bent:
        model(*given)
    assert plain.shapes == bent.shapes and len(plain.shapes) == texts + 1


@pytest.mark.parametrize("weights", [True, False])
def test_multi_head_attention_is_taken_apart(weights):
    torch.manual_seed(0)

    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True).double()

        def forward(self, x):
            hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
            return self.attention(x, x, x, attn_mask=hidden, need_weights=weights)[0]

    found = trace(Attend(), torch.randn(1, 5, 16, dtype=torch.float64), rounding=1e-12)  # one kernel becomes several
    assert found.ledger.closed and float(found.tokens.abs().sum()) > 0.01


def test_a_recurrent_network_is_refused_by_name():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(4, 4, batch_first=True).double()

        def forward(self, x):
            return self.cell(x)[0][:, -1]

    with pytest.raises(RuleError, match="No rule for `lstm` in cell"):
        trace(Recurrent(), torch.randn(1, 5, 4, dtype=torch.float64))


def test_gamma_and_epsilon_conserve_what_they_say():
    model = Head(F.relu)
    for composite in (PA_LRP, PA_LRP_VISION):
        found = trace(model, X, composite)
        assert found.ledger.value == pytest.approx(found.ledger.tokens + sum(found.ledger.constants.values()), abs=1e-12)


SOLVED = {
    "log of a sum": (lambda x: torch.log(1.0 + torch.exp(x)), F.softplus),
    "log of a sigmoid": (lambda x: torch.log(torch.sigmoid(x)), F.logsigmoid),
}


@pytest.mark.parametrize("name", SOLVED)
def test_a_logarithm_that_ends_a_chain_is_one_activation(name):
    written, known = SOLVED[name]
    ours, theirs = trace(Head(written), X), trace(Head(known), X)
    torch.testing.assert_close(ours.tokens, theirs.tokens)
    assert ours.ledger.closed


def test_a_bare_logarithm_is_refused():
    with pytest.raises(RuleError, match="No rule for `log`"):
        trace(Head(lambda x: torch.log(x.square().sum(-1, keepdim=True) + 1 - x)), X)


def test_a_masked_exponential_has_no_constant_where_it_is_masked():
    found = trace(Head(lambda x: x.masked_fill(x > 0.2, -torch.inf).exp()), X)
    assert found.ledger.closed


def test_logsumexp_keeps_its_entropy_and_nothing_else():
    found = trace(Head(lambda x: x.logsumexp(-1, keepdim=True) * x), X)
    assert found.ledger.closed and any("logsumexp" in name for name in found.ledger.softmax)


def test_a_triangular_system_is_a_division():
    def solved(x: Tensor) -> Tensor:
        A = torch.eye(6, dtype=x.dtype) + torch.tril(x.unsqueeze(-1) @ x.unsqueeze(-2), -1)
        return torch.linalg.solve_triangular(A, x.unsqueeze(-1), upper=False)[..., 0]

    assert trace(Head(solved), X).ledger.closed


def test_a_fourier_transform_is_linear():
    found = trace(Head(lambda x: torch.fft.fft(x).real), X)
    assert found.ledger.closed
    assert trace(Head(lambda x: torch.fft.fftn(x, dim=-1).real + x), X).ledger.closed


class Squares(nn.Module):
    """A model without parameters."""

    def forward(self, x):
        return x * x


def test_a_model_without_parameters_is_explained():
    found = explain(Squares(), torch.tensor([[1.0, 3.0]]), target=1)
    assert found.value == 9 and found.semantic.tolist() == [0, 9] and found.card["dtype"] == "float32"


def test_a_model_without_parameters_is_watched_and_judged():
    """Wherever the library asks a model for its device or its kind of numbers."""
    with Meter(Squares()) as memory, elsewhere(Squares(), "cpu"):
        pass
    assert memory.most >= 0 and Subject(Squares()).device == torch.device("cpu")
