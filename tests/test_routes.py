"""Routes add up: edges under a node to the node, edges into a value or a key to its relevance, measured at the projections apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from routed import ARCHITECTURES, bias, heads, hear
from tolerance import assert_same

from pelrp_nb import CP_LRP, DELTA_LRP, PA_LRP

CASES = [(one, PA_LRP) for one in ARCHITECTURES]
CASES += [(one, other) for one in ARCHITECTURES if one.name in ("llama", "gpt2", "bloom", "t5") for other in (CP_LRP, DELTA_LRP)]
NAMES = {id(PA_LRP): "pa", id(CP_LRP): "cp", id(DELTA_LRP): "delta"}


@contextmanager
def in_float64() -> Iterator[None]:
    """In float64 also where models ask for float32: in a softmax (Llama), before it (T5, GPT-J)."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.nn.functional, "softmax", lambda x, dim=None, _stacklevel=3, dtype=None: x.softmax(dim))
        patched.setattr(torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else x.to(torch.float32))
        yield


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def attention(request):
    """Both ways to compute attention."""
    with in_float64():
        yield request.param


@contextmanager
def unnarrowed() -> Iterator[None]:
    """No tensor in float64 goes to float32, as GPT-J asks of queries and keys."""
    to = torch.Tensor.to

    def kept(x: torch.Tensor, *given, **more):
        return x if x.dtype == torch.float64 and torch.float32 in given else to(x, *given, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.Tensor, "to", kept)
        yield


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].name} {NAMES[id(case[1])]}")
def walked(request, attention):
    """One architecture, its model, its attentions, and what was heard of them."""
    one, composite = request.param
    model, x = one.made(attention)
    places = list(one.places(3 if one.module and hasattr(model.config, "num_hidden_layers") and model.config.num_hidden_layers == 3 else 2))
    modules = [f"{p.module}.{name}" for p in places for name in dict.fromkeys((one.key[0], one.value[0], one.out))]
    modules += [one.beside.format(i) for i in range(len(places))] if one.beside else []
    with unnarrowed() if one.name == "gptj" else nullcontext():
        return one, model, places, hear(model, x, modules, composite)


def test_more_than_twelve_architectures_are_walked():
    assert len({one.name for one in ARCHITECTURES}) >= 12
    composites = {composite for one, composite in CASES if one.name in ("llama", "t5")}
    assert composites == {PA_LRP, CP_LRP, DELTA_LRP}


def test_every_attention_and_every_residual_sum_is_there(walked):
    _one, _, places, heard = walked
    for place in places:
        assert place.name in heard.part(place)["attention"]
        assert heard.part(place)["nodes"][place.node]["attentions"] == [place.name]


def test_a_node_is_its_skip_and_its_branch(walked):
    _, _, places, heard = walked
    for node in (node for stream in {p.stream: p for p in places}.values() for node in heard.part(stream)["nodes"].values()):
        assert_same(node["skip"] + node["branch"], node["relevance"], dtype=torch.float64)


def test_what_comes_to_a_head_is_its_edges_and_what_is_kept(walked):
    """At each place: values + scores + positions + kept; and all heads are what the output projection was paid, less its bias."""
    one, model, places, heard = walked
    for place in places:
        found, size = heard.routes(place), heard.trace.ledger.scale
        edges = found["values"].sum(-1) + (found["scores"].sum(-1) if "scores" in found else 0)
        assert_same(edges + found["positions"] + found["kept"], found["heads"], size, torch.float64)
        out = f"{place.module}.{one.out}"
        _, g = heard.outputs[out]
        assert_same(found["heads"].sum(0) + bias(model, out, g), heard.relevance(out).sum(-1), size, torch.float64)


def test_a_branch_is_what_its_attention_gave(walked):
    one, _, places, heard = walked
    for i, place in enumerate(places):
        R = heard.relevance(f"{place.module}.{one.out}").sum(-1)
        R = R + heard.relevance(one.beside.format(i)).sum(-1) if one.beside else R
        assert_same(heard.part(place)["nodes"][place.node]["branch"], R, heard.trace.ledger.scale, torch.float64)


def test_edges_into_a_value_add_up_to_its_relevance(walked):
    one, _, places, heard = walked
    for place in places:
        R = heads(heard.relevance(f"{place.module}.{one.value[0]}", one.value[1]))
        into = heard.routes(place)["values"].sum(-2)
        assert_same(into.unflatten(0, (len(R), -1)).sum(1), R, heard.trace.ledger.scale, torch.float64)  # heads that share a value


def test_edges_into_a_key_add_up_to_its_relevance(walked):
    """The key's half of what comes through scores; where positions turn the key, with what they take of it."""
    one, _, places, heard = walked
    for place in places:
        found = heard.routes(place)
        if "scores" not in found:  # weights are constants
            assert found["key"] == 0
            continue
        R = heads(heard.relevance(f"{place.module}.{one.key[0]}", one.key[1]))
        into = found["key"] * found["scores"].sum(-2)
        if one.turned:
            theirs = heard.trace.detail["query_key"][f"{place.name} rotary"]["key"]
            assert_same(into.sum(0), R.sum(0) + theirs, heard.trace.ledger.scale, torch.float64)
        else:
            assert_same(into.unflatten(0, (len(R), -1)).sum(1), R, heard.trace.ledger.scale, torch.float64)
