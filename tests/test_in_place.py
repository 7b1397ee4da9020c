"""Models that write into their own tensors: explained as their twins that do not, or refused with the operation and the line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from models import build, inputs
from torch import Tensor, nn

from pelrp_nb import Explanation, Options, explain
from pelrp_nb.errors import ModelError

IDS = torch.tensor([[1, 2, 3, 4, 5, 6]])
PLACE, FEATURE = torch.arange(6)[:, None], torch.arange(8)


class Reads(nn.Module):
    """Six tokens to three numbers; `body` computes with the vectors x and a linear map y of them."""

    def __init__(self, body: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.map, self.head, self.body = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3), body
        self.double().eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.table(input_ids)
        return self.head(self.body(x, self.map(x))).sum(1)


def read(body: Callable[[Tensor, Tensor], Tensor]) -> Explanation:
    model = Reads(body)
    found = explain(model, IDS, target=1, options=Options(audit=True))
    assert found.value == float(model(IDS)[0, 1].detach()), "the explained number is the model's own"
    return found


def same(ours: Explanation, theirs: Explanation) -> None:
    """Tokens, boundaries and ledger to rounding."""
    assert ours.ledger.closed and theirs.ledger.closed
    torch.testing.assert_close(ours.semantic, theirs.semantic, rtol=1e-9, atol=1e-12)
    assert [b.name for b in ours.boundaries] == [b.name for b in theirs.boundaries]
    for one, other in zip(ours.boundaries, theirs.boundaries, strict=True):
        torch.testing.assert_close(one.relevance, other.relevance, rtol=1e-9, atol=1e-12)
    assert ours.ledger.layers == pytest.approx(theirs.ledger.layers, abs=1e-9)
    assert dict(ours.ledger.rows()) == pytest.approx(dict(theirs.ledger.rows()), abs=1e-9)


def after(f: Callable[[Tensor], object], then: Callable[[Tensor], Tensor] = lambda y: y) -> Callable[[Tensor, Tensor], Tensor]:
    """f writes into y, which is read afterwards."""

    def body(x: Tensor, y: Tensor) -> Tensor:
        f(y)
        return then(y)

    return body


def gate(write: Callable[[Tensor], object]) -> Callable[[Tensor, Tensor], Tensor]:
    """x times a function of x that was changed in place before."""

    def body(x: Tensor, y: Tensor) -> Tensor:
        p = torch.sigmoid(x) * 1
        write(p)
        return p * x

    return body


def put(index: object, value: float) -> Callable[[Tensor], object]:
    return lambda p: p.__setitem__(index, value)


TWINS = {
    "relu": (after(lambda y: F.relu(y, inplace=True)), lambda x, y: F.relu(y)),
    "a module": (after(nn.ReLU(inplace=True)), lambda x, y: F.relu(y)),
    "silu, read twice": (lambda x, y: F.silu(y, inplace=True) + y, lambda x, y: F.silu(y) * 2),
    "elu": (after(lambda y: F.elu(y, inplace=True)), lambda x, y: F.elu(y)),
    "hardtanh by place": (after(lambda y: F.hardtanh(y, -0.1, 0.1, True)), lambda x, y: F.hardtanh(y, -0.1, 0.1)),
    "threshold": (after(lambda y: F.threshold(y, 0.0, 0.3, True)), lambda x, y: F.threshold(y, 0.0, 0.3)),
    "a gate with one place written": (gate(put((slice(None), 0), 0.5)), lambda x, y: torch.where(PLACE == 0, 0.5, torch.sigmoid(x)) * x),
    "a gate written through a view": (
        gate(lambda p: p.view(-1).__setitem__(slice(0, 8), 0.5)), lambda x, y: torch.where(PLACE == 0, 0.5, torch.sigmoid(x)) * x,
    ),
    "a gate with one feature scaled": (
        gate(lambda p: p[..., 0].mul_(3)), lambda x, y: torch.sigmoid(x) * torch.where(FEATURE == 0, 3.0, 1.0) * x,
    ),
    "a gate and one more": (gate(lambda p: p.add_(1)), lambda x, y: (torch.sigmoid(x) + 1) * x),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_what_is_written_in_place_is_explained_like_its_twin(name):
    ours, theirs = TWINS[name]
    same(read(ours), read(theirs))


class Block(nn.Module):
    """Attention and an MLP, added to the stream in place or not."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
        self.maps = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.wide, self.narrow, self.writes = nn.Linear(8, 16), nn.Linear(16, 8), writes

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(self.norms[0](x)) for f in self.maps)
        attended = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        x = x.add_(attended) if self.writes else x + attended
        widened = self.narrow(torch.relu(self.wide(self.norms[1](x))))
        if self.writes:
            x += widened
            return x
        return x + widened


class Stack(nn.Module):
    """Three blocks."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layers, self.head = nn.Embedding(20, 8), nn.ModuleList([Block(writes) for _ in range(3)]), nn.Linear(8, 3)
        for p in self.parameters():
            nn.init.normal_(p, std=0.5)
        self.double().eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.table(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, -1])


@pytest.mark.parametrize("checkpoint", [False, True])
def test_boundaries_of_a_stream_that_is_added_to_in_place_are_those_of_sums(checkpoint):
    same(*[explain(Stack(writes), IDS, target=1, options=Options(audit=True, checkpoint=checkpoint)) for writes in (True, False)])


def gated(writes: bool):
    """A Llama whose second MLP clears one of its factors after the product."""
    model = build("llama")
    mlp = model.model.layers[1].mlp

    def forward(x: Tensor) -> Tensor:
        up = mlp.up_proj(x)
        product = mlp.act_fn(mlp.gate_proj(x)) * up
        if writes:
            up.zero_()
        return mlp.down_proj(product)

    mlp.forward = forward
    return model, {"input_ids": inputs("llama")["input_ids"]}


def test_what_was_saved_is_copied_before_it_is_changed_where_layers_are_checkpointed():
    same(*[explain(*gated(writes), target=3, options=Options(checkpoint=True)) for writes in (True, False)])


def test_a_saved_tensor_that_was_changed_names_its_operation_and_its_layer():
    with pytest.raises(ModelError, match=r"^A product before `layer 1 mlp` needs .* changed in place .*Or type Options\(checkpoint=True\)"):
        explain(*gated(True), target=3)
    for body, what in (
        (lambda x, y: after(put((slice(None), 0), 0.5))(x, y.softmax(-1)), "`softmax` in Reads"),
        (lambda x, y: (x @ y.transpose(-1, -2) @ y, y.mul_(3))[0], "`bmm` in Reads"),
        (lambda x, y: (F.gelu(y) + x, y.add_(1))[0], "An elementwise function in Reads"),
    ):
        with pytest.raises(ModelError, match=rf"^{what} needs a tensor .* Write that change out of place, .*p\.clone\(\) before "):
            read(body)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (lambda x, y: (torch.mul(y, 2, out=torch.empty_like(y)), y)[1], "torch.mul(y, 2, out="),
        (lambda x, y: torch.tensor(y.numpy()) * y, "torch.tensor(y.numpy())"),
        (lambda x, y: (y.unbind(1)[0].add_(1), y)[1], "y.unbind(1)[0].add_(1)"),
    ],
)
def test_what_torch_refuses_only_where_gradients_are_followed_is_told_with_its_line(body, line):
    with torch.no_grad():
        Reads(body)(IDS)
    with pytest.raises(ModelError, match=r"Reads works by itself, and not where gradients are followed.*The line is `") as caught:
        read(body)
    assert line in str(caught.value) and "test_in_place.py:" in str(caught.value)


def under_no_grad(write: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
    def body(y: Tensor) -> None:
        with torch.no_grad():
            write(y)

    return body


def halved(y: Tensor) -> None:
    z = y.detach()
    z *= 0.5


HIDDEN = (
    ("mul_", lambda y: y.data.mul_(0.5)), ("mul_", halved), ("x[...] = y", lambda y: put((..., 0), 0.1)(y.data)),
    ("x.data = y", lambda y: setattr(y, "data", y * 2)), ("zero_", lambda y: y.detach()[:, 1:].zero_()),
    ("add_", under_no_grad(lambda y: y.add_(1))), ("fill_", under_no_grad(lambda y: y[0].fill_(1))),
    ("mul", under_no_grad(lambda y: torch.mul(y, 2, out=y))), ("relu_", under_no_grad(lambda y: torch.relu_(y))),
)  # fmt: skip


@pytest.mark.parametrize(("name", "write"), HIDDEN)
@pytest.mark.parametrize("made", [lambda y: y, lambda y: y.softmax(-1)], ids=["a linear map", "a softmax"])
def test_a_write_that_autograd_does_not_see_is_refused_with_its_operation_and_its_line(name, write, made):
    def body(x, y):
        y = made(y)
        write(y)
        return y * x

    said = (
        rf"^`{re.escape(name)}` in Reads changes a tensor that carries relevance .* The line is `.+`, test_in_place\.py:\d+\. Write it out"
    )
    with pytest.raises(ModelError, match=said):
        read(body)


def copied(x, y):
    y.detach().clone().mul_(2)
    kept = x.new_zeros(6, 8)
    kept.data.copy_(x.detach()[0])
    w = y.data.clone()
    w[0] = 1
    seen = y.detach().requires_grad_(False)
    with torch.no_grad():
        kept.add_(1)
    return y * (seen.amax() > -1e9)


def test_what_is_written_into_a_copy_is_no_write_into_what_carries():
    same(read(copied), read(lambda x, y: y * 1))
