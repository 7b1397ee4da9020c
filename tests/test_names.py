"""No behaviour hangs on the name of a class: layers are repeated blocks, projections of attention are where softmax products are."""

from __future__ import annotations

from dataclasses import replace
from inspect import unwrap
from types import FunctionType

import pytest
import torch
from models import FAMILIES, POSITIONS, build, build_position, inputs, score
from torch import nn

import pelrp_nb
from pelrp_nb import AUTHORS_VISION, PA_LRP, PA_LRP_VISION, Options, propagate, rules, zoo
from pelrp_nb.engine.layers import layers

COMPOSITES = {"pa": PA_LRP, "vision": PA_LRP_VISION, "authors": AUTHORS_VISION}


def again(kind: type, name: str) -> type:
    """A class of the same code under another name; a subclass where the code asks for its own class, as `super` does."""
    asks = any("__class__" in unwrap(f).__code__.co_freevars for n, f in vars(kind).items()
               if n != "__init__" and isinstance(f, FunctionType))  # fmt: skip
    if asks or kind.__module__.startswith("torch"):
        return type(name, (kind,), {})
    return type(name, kind.__bases__, {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")})


def renamed(model: nn.Module) -> nn.Module:
    """The model with every class renamed."""
    made: dict[type, type] = {}
    for module in model.modules():
        kind = type(module)
        module.__class__ = made.setdefault(kind, again(kind, f"Z{len(made)}"))
    return model


def same(a, b) -> bool:
    """Two traces or explanations, to the bit."""
    tensors = torch.equal(a.semantic, b.semantic) and torch.equal(a.positional, b.positional)
    boundaries = [[(x.name, x.kind, x.layer, x.relevance.tolist(), x.gap) for x in one.boundaries] for one in (a, b)]
    # where nothing else has a name, the ledger's lines say the model's class
    kept = [(list(e.ledger.constants.values()), e.ledger.softmax, e.ledger.stabilisers, e.ledger.gap) for e in (a, b)]
    return tensors and boundaries[0] == boundaries[1] and kept[0] == kept[1]


def of_the_zoo(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A model of the zoo in float64, and an input."""
    model = zoo.load(name)[0].double()
    rng = torch.Generator().manual_seed(1)
    if not name.startswith("scenes"):
        return model, {"input_ids": torch.randint(5, 60, (1, 9), generator=rng)}
    size = model.config.image_size
    return model, {"pixel_values": torch.randn(1, 3, size, size, generator=rng, dtype=torch.float64)}


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", zoo.names())
def test_a_model_of_the_zoo_with_its_classes_renamed_is_explained_alike(name, composite):
    model, x = of_the_zoo(name)
    options = {"composite": COMPOSITES[composite], "options": Options(audit=True)}
    found = pelrp_nb.explain(model, x, **options)
    assert same(pelrp_nb.explain(renamed(model), x, **options), found)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", [*FAMILIES, *POSITIONS])
def test_a_family_with_its_classes_renamed_is_explained_alike(family, attention):
    if family in FAMILIES:
        model, x = build(family, attention), inputs(family)
    else:
        model, x = build_position(family)

    def traces():
        for composite in (PA_LRP, PA_LRP_VISION):
            with propagate(model, composite) as flow:
                yield flow.trace(score(model(**x)))

    found = list(traces())
    renamed(model)
    assert all(same(a, b) for a, b in zip(traces(), found, strict=True))


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "vit"])
@pytest.mark.parametrize("only", [{"layer 1": {"heads": [1]}}, {"layer 1": {"neurons": [3, 5]}}], ids=["heads", "neurons"])
def test_conditions_name_parts_of_the_model_not_classes(family, only):
    model, x = build(family), {k: v for k, v in inputs(family).items() if k != "use_cache"}
    found = pelrp_nb.explain(model, x, options=Options(only=only))
    assert same(pelrp_nb.explain(renamed(model), x, options=Options(only=only)), found) and found.ledger.closed


# --- layers ----------------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A norm of one's own: a vector, and division by the root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.by * x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()


class Mixing(nn.Module):
    """Softmax attention of one head; with `factors` the queries' map is a product of two."""

    def __init__(self, width: int, factors: bool = False) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(width, 2, bias=False), nn.Linear(2, width, bias=False)) if factors else nn.Linear(width, width)
        self.b, self.c, self.d = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        weights = (self.a(x) @ self.b(x).transpose(-1, -2)).softmax(-1)
        return self.d(weights @ self.c(x))


class AttentionLike(nn.Module):
    """An MLP whose class says that it is something else."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Part(nn.Module):
    """One layer: x + mixing(norm x), then x + mlp(norm x)."""

    def __init__(self, width: int, normed: bool = True, factors: bool = False) -> None:
        super().__init__()
        self.p, self.q = Mixing(width, factors), AttentionLike(width)
        self.r, self.s = (Scaled(width) if normed else nn.Identity() for _ in range(2))

    def forward(self, x):
        x = x + self.p(self.r(x))
        return x + self.q(self.s(x))


class Whole(nn.Module):
    """Vectors in, vectors out; in a list of layers, or each an attribute of its own."""

    def __init__(self, listed: bool = True, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.listed = nn.Linear(4, 8), nn.Linear(8, 3), listed
        parts = [Part(8, **options) for _ in range(2)]
        if listed:
            self.parts = nn.ModuleList(parts)
        else:
            self.one, self.two = parts
        self.double()

    def forward(self, x):
        x = self.first(x)
        for part in self.parts if self.listed else (self.one, self.two):
            x = part(x)
        return self.last(x)


X = torch.randn(1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("normed", [True, False])
def test_repeated_blocks_are_layers_with_a_norm_or_without_any(normed):
    model = Whole(normed=normed)
    assert layers(model) == {id(part) for part in model.parts}


def test_experts_in_a_layer_are_no_layers():
    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

    model = Whole()
    for part in model.parts:
        part.q = nn.ModuleList(Expert() for _ in range(3))
    assert layers(model) == {id(part) for part in model.parts}


def test_lists_side_by_side_are_parts_of_the_same_layers():
    """As XLM writes it: all attentions in one list, all MLPs in another."""
    model = nn.Module()
    model.mixings = nn.ModuleList(Mixing(8) for _ in range(3))
    model.others = nn.ModuleList(AttentionLike(8) for _ in range(3))
    assert layers(model) == set()


# --- projections of attention ----------------------------------------------------------------------------------------


def rule_of(model: nn.Module, composite=PA_LRP_VISION) -> dict[str, str]:
    """The rule of each linear map, by its module."""
    with propagate(model, composite) as flow:
        flow.planning = True
        model(X)
    return {step.place: step.rule for step in flow.steps.values() if step.reason == "linear"}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("composite", [PA_LRP_VISION, AUTHORS_VISION], ids=["softmax", "constant softmax"])
def test_what_feeds_or_follows_a_softmax_product_is_a_projection(listed, composite):
    found = rule_of(Whole(listed), composite)
    projections = {place for place in found if ".p." in place}
    assert len(projections) == 8 and {found[place] for place in projections} == {"epsilon"}
    assert {rule for place, rule in found.items() if place not in (*projections, "first")} == {"gamma(0.05)"}


def test_a_projection_in_two_factors_is_a_projection():
    found = rule_of(Whole(factors=True))
    assert {found[f"parts.{i}.p.a.{j}"] for i in (0, 1) for j in (0, 1)} == {"epsilon"}
    two, one = Whole(factors=True), Whole()
    one.load_state_dict({k: v for k, v in two.state_dict().items() if ".a." not in k}, strict=False)
    for a, b in zip(one.parts, two.parts, strict=True):
        a.p.a = nn.Linear(8, 8, bias=False).double()
        a.p.a.weight.data = b.p.a[1].weight.data @ b.p.a[0].weight.data
        a.q.load_state_dict(b.q.state_dict())
    traces = []
    for model in (one, two):
        with propagate(model, PA_LRP_VISION) as flow:
            traces.append(flow.trace(model(X)[0, 0, 0]))
    torch.testing.assert_close(traces[0].tokens, traces[1].tokens)


def test_a_router_is_no_attention():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.router = nn.Linear(4, 8), nn.Linear(8, 3)
            self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.double()

        def forward(self, x):
            x = self.first(x)
            weights = self.router(x).softmax(-1)[..., None, :]
            return (weights @ torch.stack([e(x) for e in self.experts], -2))[..., 0, :]

    assert {rule for place, rule in rule_of(Routed()).items() if place != "first"} == {"gamma(0.05)"}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "vit", "mixtral"])
def test_a_rule_chosen_on_the_way_back_is_the_rule(family, attention):
    """gamma(0.05) and gamma(0.05, eps=0) are the same numbers and not the same rule, so it is chosen on the way back."""
    model, x = build(family, attention), inputs(family)
    same_rule = replace(PA_LRP_VISION, projection=rules.gamma(0.05))
    traces = []
    for composite in (same_rule, replace(same_rule, projection=rules.gamma(0.05, eps=0.0))):
        with propagate(model, composite) as flow:
            traces.append(flow.trace(score(model(**x))))
    assert same(*traces)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_forward_pass_is_the_models_where_rules_are_chosen_later(dtype):
    model, x = build("vit", dtype=dtype), inputs("vit", dtype=dtype)
    with torch.no_grad():
        plain = model(**x).logits
    with propagate(model, PA_LRP_VISION) as flow:
        logits = model(**x).logits
    assert torch.equal(plain, logits.detach()) and torch.isfinite(flow.trace(logits[0, 0]).tokens).all()


def test_autocast_holds_where_rules_are_chosen_later():
    model, x = build("vit", dtype=torch.float32), inputs("vit", dtype=torch.float32)
    traces = []
    for composite in (replace(PA_LRP_VISION, projection=p) for p in (rules.gamma(0.05), rules.gamma(0.05, eps=0.0))):
        with propagate(model, composite) as flow:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = score(model(**x))
            traces.append(flow.trace(value))
    assert same(*traces)
