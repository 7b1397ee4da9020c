"""What was done to a model before, and how its parts are called, changes nothing, to the bit."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pelrp_nb import PA_LRP, propagate

from .added import Table, WavesInAnAttribute, WavesKeptAfterTheFirstCall
from .base import IDS, VOCABULARY, WIDTH, Group, Net, drawn, eager, embedding, linear, norm
from .relative import Gathered, Skewed
from .rotary import ComplexAttribute, ComplexBuffer, KeptAfterTheFirstCall
from .scores import KeptAfterTheFirstCall as AlibiKept
from .scores import Tabled, offsets


class Offsets(Tabled):
    """A table by offset, its index computed each time."""

    def bias(self, rows: int) -> Tensor:
        return self.table[offsets(rows)].permute(2, 0, 1)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "a table": (lambda: Net(enter=Table()), ("learnable",)),
    "waves in an attribute": (lambda: Net(enter=WavesInAnAttribute()), ("absolute",)),
    "waves kept": (lambda: Net(enter=WavesKeptAfterTheFirstCall()), ("absolute",)),
    "rotary kept": (lambda: Net(turn=KeptAfterTheFirstCall), ("rotary",) * 2),
    "rotary, a complex buffer": (lambda: Net(turn=ComplexBuffer), ("rotary",) * 2),
    "rotary, a complex attribute": (lambda: Net(turn=ComplexAttribute), ("rotary",) * 2),
    "alibi kept": (lambda: Net(attend=AlibiKept), ("alibi",) * 2),
    "a table by offset": (lambda: Net(attend=Offsets), ("relative bias",) * 2),
    "relative keys, gathered": (lambda: Net(attend=Gathered), ("relative embedding",) * 2),
    "relative keys, skewed": (lambda: Net(attend=Skewed), ("relative embedding",) * 2),
}


def ran(model: nn.Module) -> nn.Module:
    model(IDS)
    return model


def ran_without_gradients(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model(IDS)
    return model


def explained(model: nn.Module) -> nn.Module:
    with propagate(model, PA_LRP) as flow:
        out = model(IDS)
    flow.trace(out[0, 2])
    return model


def trained(model: nn.Module) -> nn.Module:
    model.train()(IDS).sum().backward()
    return model.eval()


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def reclassed(model: nn.Module) -> nn.Module:
    """Every class called something else."""
    for i, module in enumerate(model.modules()):
        module.__class__ = type(f"Norm{i}", (type(module),), {})
    return model


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save({"dtype": torch.float64, "weights": model.state_dict()}, file)
    file.seek(0)
    model.load_state_dict(torch.load(file)["weights"])
    return model


def assigned(model: nn.Module) -> nn.Module:
    weights = {name: x.clone() for name, x in model.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    return model


def hooked(model: nn.Module) -> nn.Module:
    for module in model.modules():
        module.register_forward_hook(lambda module, given, out: None)
    return model


BEFORE: dict[str, Callable[[nn.Module], nn.Module]] = {
    "ran before": ran, "ran before without gradients": ran_without_gradients, "explained before": explained, "trained before": trained,
    "frozen": frozen, "classes renamed": reclassed, "saved and loaded": saved, "weights assigned": assigned, "hooks on it": hooked,
    "a deep copy": copy.deepcopy, "a deep copy after a run": lambda m: copy.deepcopy(ran(m)),
    "run and copied, then run": lambda m: ran(copy.deepcopy(ran(m))),
}  # fmt: skip


def functional(model: nn.Module, *inputs: Tensor) -> Tensor:
    return functional_call(model, {name: p.detach().clone() for name, p in model.named_parameters()}, inputs)


def wrapped(model: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Sequential(model))


def group_of(name: str, build: Callable[[], nn.Module], kinds: tuple[str, ...]) -> Group:
    group = Group("history", name, kinds, exact=True)
    group.whole("as made", build)
    for what, done in BEFORE.items():
        group.whole(what, lambda done=done: done(build()))
    group.whole("functional call", build, call=functional)
    group.whole("wrapped twice", lambda: wrapped(build()))
    return group


HISTORY = {name: group_of(name, build, kinds) for name, (build, kinds) in MODELS.items()}


# --- every class and attribute by another name, some of them misleading ----------------------------------------------


class LayerNorm(nn.Module):
    """Attention, in truth."""

    def __init__(self, key: str, rotary: Callable | None, mask: Callable | None) -> None:
        super().__init__()
        self.relative_attention_bias, self.rotary_emb, self.weight_g, self.router = (linear(f"{key}.{n}", WIDTH, WIDTH) for n in "qkvo")
        self.dropout, self.cos = rotary, mask

    def forward(self, ids: Tensor) -> Tensor:
        made = (f(ids).unflatten(-1, (2, 8)).transpose(1, 2) for f in (self.relative_attention_bias, self.rotary_emb, self.weight_g))
        sin, cos, pe = made
        if self.dropout is not None:
            sin, cos = self.dropout(sin, cos)
        return self.router(self.cos(sin, cos, pe).transpose(1, 2).flatten(2))


class Rotary(nn.Module):
    """A block, in truth."""

    def __init__(self, key: str, rotary: Callable | None, mask: Callable | None) -> None:
        super().__init__()
        self.position_embeddings, self.attention = norm(f"{key}.before"), norm(f"{key}.between")
        self.norm = LayerNorm(key, rotary, mask)
        self.pos = nn.Sequential(linear(f"{key}.up", WIDTH, 2 * WIDTH), nn.GELU(), linear(f"{key}.down", 2 * WIDTH, WIDTH))

    def forward(self, mask: Tensor) -> Tensor:
        mask = mask + self.norm(self.position_embeddings(mask))
        return mask + self.pos(self.attention(mask))


class AlibiEmbedding(nn.Module):
    """The whole reader, in truth."""

    def __init__(self, places: Callable | None = None, rotary: Callable | None = None, mask: Callable | None = None) -> None:
        super().__init__()
        self.position_table = embedding("tokens", VOCABULARY)
        self.cls_token = places
        self.experts = nn.ModuleList(Rotary(str(i), rotary() if rotary else None, mask() if mask else eager) for i in range(2))
        self.wpe, self.lm_bias = norm("last"), linear("head", WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        cos = self.position_table(ids)
        if self.cls_token is not None:
            cos = self.cls_token(cos, ids)
        for expert in self.experts:
            cos = expert(cos)
        return self.lm_bias(self.wpe(cos)[:, -1])


class TokenTable(nn.Module):
    """A learned table of positions under the name of the tokens'."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = embedding("positions", 32)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.word_embeddings(torch.arange(ids.shape[1]))


class Mask(nn.Module):
    """Relative keys under the name of a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Parameter(drawn("relative keys", 11, 8, scale=0.7))

    def forward(self, norm: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
        T = norm.shape[-2]
        dropout = (norm @ self.mask.T).gather(-1, offsets(T).expand(len(norm), 2, T, T))
        return ((norm @ bias.mT + dropout) / 8**0.5).softmax(-1) @ weight


HISTORY["a table"].whole("every name another", lambda: AlibiEmbedding(places=TokenTable()))
HISTORY["rotary kept"].whole("every name another", lambda: AlibiEmbedding(rotary=KeptAfterTheFirstCall))
HISTORY["rotary, a complex buffer"].whole("every name another", lambda: AlibiEmbedding(rotary=ComplexBuffer))
HISTORY["alibi kept"].whole("every name another", lambda: AlibiEmbedding(mask=AlibiKept))
HISTORY["relative keys, gathered"].whole("every name another", lambda: AlibiEmbedding(mask=Mask))
