"""What is kept of routes: sums stay true where only the largest edges are; rows of a batch are as if alone; what has none is refused."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from models import build, inputs, score
from tolerance import assert_same
from torch import Tensor, nn

from pelrp_nb import CP_LRP, PA_LRP, PA_LRP_RES, Options, bench, explain, explain_to, zoo
from pelrp_nb.engine.memory import LIMIT
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import InputError, ModelError

PARTS = ("values", "scores")


def routes(model: nn.Module, x: dict, composite=PA_LRP, **options) -> dict:
    """The routes of the highest logit."""
    with propagate(model, composite, Options(detail={"routes"}, **options)) as flow:
        return flow.trace(score(model(**x))).detail["routes"]


def spread(found: dict, name: str, keys: int) -> Tensor:
    """(H, Tq, Tk) of the edges that were kept, 0 elsewhere."""
    H, q = found["heads"].shape
    flat = torch.zeros(q, H * keys, dtype=found[name].dtype)
    return flat.scatter_add(1, found["at"].long(), found[name]).unflatten(1, (H, keys)).transpose(0, 1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_largest_edges_of_each_node_are_kept_and_all_are_in_the_sums(attention):
    model, x = build("llama", attention), inputs("llama")
    every, largest = (routes(model, x, routes_top=top)["attention"] for top in (None, 5))
    for name, found in largest.items():
        whole = every[name]
        sizes = (whole["values"].abs() + whole["scores"].abs()).transpose(0, 1).flatten(1)
        assert found["at"].shape == (9, 5)
        kept = sizes.gather(1, found["at"].long())
        torch.testing.assert_close(kept.sum(1), sizes.topk(5, 1).values.sum(1))
        for part in PARTS:
            edges = spread(found, part, 9)
            torch.testing.assert_close(edges[edges != 0], whole[part][edges != 0])
            torch.testing.assert_close(found[f"given {part}"], whole[part].sum(-1))
            torch.testing.assert_close(found[f"received {part}"], whole[part].sum(-2))


def test_long_texts_are_heard_in_chunks_and_keep_their_largest_edges(monkeypatch):
    """Chunks of 4 queries instead of 256, and 3 keys as what is long."""
    from pelrp_nb.engine import edges
    from pelrp_nb.engine.handlers import attention, weighing

    model, x = build("gpt2"), inputs("gpt2")
    every = {composite.start: routes(model, x, composite)["attention"] for composite in (PA_LRP,)}["value"]
    constant = routes(model, x, CP_LRP)["attention"]
    for module in (attention, weighing):
        monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(edges, "WHOLE", 3)
    monkeypatch.setattr(edges, "LARGEST", 7)
    for whole, found in ((every, routes(model, x)["attention"]), (constant, routes(model, x, CP_LRP)["attention"])):
        for name, one in found.items():
            assert one["at"].shape == (9, 7)
            for part in (p for p in PARTS if p in whole[name]):
                torch.testing.assert_close(one[f"received {part}"], whole[name][part].sum(-2))
                edges_kept = spread(one, part, 9)
                torch.testing.assert_close(edges_kept[edges_kept != 0], whole[name][part][edges_kept != 0])
            for row in ("heads", "kept", "positions"):
                torch.testing.assert_close(one[row], whole[name][row])


@pytest.mark.parametrize("top", [None, 6])
def test_a_row_of_a_batch_has_the_routes_that_it_has_alone(top):
    model = build("llama")
    rows = [torch.randint(5, 96, (n,), generator=torch.Generator().manual_seed(n)).tolist() for n in (9, 6, 4)]
    options = Options(detail={"routes"}, routes_top=top)
    together = explain(model, [{"input_ids": [row]} for row in rows], options=options)
    for row, found in zip(rows, together, strict=True):
        alone = explain(model, {"input_ids": [row]}, options=options)
        for name, theirs in alone.detail["routes"]["attention"].items():
            ours = found.detail["routes"]["attention"][name]
            for key in ("heads", "kept", "positions"):
                assert_same(ours[key], theirs[key], alone.ledger.scale)
            for part in PARTS:
                if "at" in theirs:
                    ours_spread, theirs_spread = (spread(x, part, len(row)) for x in (ours, theirs))
                    assert_same(ours_spread.sum((0, 2)), theirs_spread.sum((0, 2)), alone.ledger.scale)
                    assert_same(ours[f"received {part}"], theirs[f"received {part}"], alone.ledger.scale)
                else:
                    assert_same(ours[part], theirs[part], alone.ledger.scale)
        for name, theirs in alone.detail["routes"]["nodes"].items():
            assert_same(found.detail["routes"]["nodes"][name]["skip"], theirs["skip"], alone.ledger.scale)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_layers_that_run_again_have_the_same_routes(attention):
    model, x = build("llama", attention), inputs("llama")
    plain, again = (routes(model, x, checkpoint=c) for c in (False, True))
    for name, found in plain["attention"].items():
        for part in (*PARTS, "heads", "kept"):
            assert torch.equal(again["attention"][name][part], found[part])
    assert again["nodes"].keys() == plain["nodes"].keys()


def test_the_routes_of_a_second_target_are_its_own():
    model, x = build("bert"), inputs("bert")
    with propagate(model, PA_LRP, Options(detail={"routes"})) as flow:
        logits = model(**x).logits[0]
        both = [flow.trace(logits[i], keep=not i).detail["routes"]["attention"] for i in (0, 1)]
    for i, found in enumerate(both):
        with propagate(model, PA_LRP, Options(detail={"routes"})) as flow:
            alone = flow.trace(model(**x).logits[0, i]).detail["routes"]["attention"]
        for name, one in alone.items():
            torch.testing.assert_close(found[name]["values"], one["values"])


class Plain(nn.Module):
    """One head, its weights used as `how` says; no attention at all without."""

    def __init__(self, how: str):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.table = how, nn.Embedding(20, 8).double()
        self.q, self.k, self.v = (nn.Linear(8, 8).double() for _ in range(3))

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.table(input_ids)
        if not self.how:
            return self.v(x).sum((1, 2))
        A = (self.q(x) @ self.k(x).transpose(-1, -2)).softmax(-1)
        if self.how == "elementwise":
            return (A[..., None] * self.v(x)[:, None]).sum((1, 2, 3))
        return (A @ self.v(x)).sum((1, 2))


def test_a_model_without_attention_and_attention_that_hides_its_products_are_refused():
    ids = torch.tensor([[3, 4, 5, 6]])
    for how, error, said in (
        ("", InputError, "Routes lead through attention, and Plain has none"),
        ("elementwise", ModelError, "does not multiply its weights with values in one product"),
    ):
        with propagate(Plain(how), PA_LRP, Options(detail={"routes"})) as flow, pytest.raises(error, match=said):
            flow.trace(flow.model(ids)[0])
    with propagate(Plain("product"), PA_LRP, Options(detail={"routes"})) as flow:
        found = flow.trace(flow.model(ids)[0]).detail["routes"]
    assert len(found["attention"]) == 1
    assert not found["nodes"]


def test_what_routes_need_of_options_is_said():
    with pytest.raises(InputError, match="routes_top must be a number of edges from 1, or None, got 0"):
        Options(routes_top=0)
    with pytest.raises(InputError, match="Routes need the ledger"):
        Options(detail={"routes"}, ledger=False)


def test_stream_and_branch_that_are_paid_apart_add_up_to_the_sum():
    """Under ResLRP each has a gradient of its own, and the boundary of the branch is what the branch was paid."""
    model, x = build("llama"), inputs("llama")
    heard: list[Tensor] = []
    with propagate(model, PA_LRP_RES, Options(detail={"routes"})) as flow:
        out = model.get_submodule("model.layers.1.self_attn.o_proj")
        hook = out.register_forward_hook(lambda _, __, y: y.register_hook(lambda g: heard.append((y.detach() * g).sum(-1)[0])) and None)
        trace = flow.trace(score(model(**x)))
        hook.remove()
    nodes, boundaries = trace.detail["routes"]["nodes"], {b.name: b.relevance for b in trace.boundaries}
    for name, node in nodes.items():
        assert_same(node["skip"] + node["branch"], node["relevance"], dtype=torch.float64)
        assert torch.equal(boundaries[name], node["branch"])
    assert_same(boundaries["layer 1 attention"], heard[0], dtype=torch.float64)


def test_routes_that_do_not_fit_are_refused_with_what_would(monkeypatch):
    monkeypatch.setenv(LIMIT, "60000")
    model, x = build("gpt2"), inputs("gpt2", T=60)
    with pytest.raises(InputError, match=r"The detail asked for \(routes\) needs .* Fewer edges of routes: .*routes_top=16"):
        routes(model, x)
    monkeypatch.setenv(LIMIT, "10000000")
    assert routes(model, x)["attention"]


def test_routes_go_through_a_pickle_and_into_narrower_numbers():
    found = explain(build("bert"), inputs("bert"), options=Options(detail={"routes"}, routes_top=5))
    assert pickle.loads(pickle.dumps(found)) == found
    narrow = found.to("float16")
    assert narrow.routes.matrix(0).dtype == torch.float32
    assert [(e.head, e.at, e.to) for e in narrow.routes.edges(3)] == [(e.head, e.at, e.to) for e in found.routes.edges(3)]


def test_the_cost_of_routes_is_measured_over_an_audited_explanation(capsys):
    bench.ALL["routes"](["--layers=1", "--width=48", "--tokens=24", "--rounds=1", "--no-memory", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["time"] > 0 and told["tokens"] == 24


@pytest.mark.parametrize("composite", [PA_LRP, CP_LRP], ids=["pa-lrp", "cp-lrp"])
@pytest.mark.parametrize(("family", "attention"), [("llama", "sdpa"), ("gpt2", "eager")])
def test_routes_under_a_condition_are_those_of_what_passes_through_it(family, attention, composite):
    """Above the condition nothing has changed, in its layer only that head has edges, and below single heads add up to all of them."""
    model, x = build(family, attention), {"input_ids": inputs(family)["input_ids"]}

    def under(only=None):
        return explain(model, x, composite=composite, options=Options(detail={"routes"}, only=only)).routes

    free, whole = under(), under({"layer 1": {"heads": range(4)}})
    single = [under({"layer 1": {"heads": [h]}}) for h in range(4)]
    parts = {p for p in (*PARTS, "heads", "positions", "kept") if p in free.found["layer 0"]}
    for part in parts:
        for h, one in enumerate(single):
            assert torch.equal(one.found["layer 2"][part], free.found["layer 2"][part])
            assert torch.equal(one.found["layer 1"][part][h], free.found["layer 1"][part][h])
            assert not one.found["layer 1"][part][[k for k in range(4) if k != h]].any()
        assert_same(sum(one.found["layer 0"][part] for one in single), whole.found["layer 0"][part], 10.0)
        assert part not in ("values", "heads") or not torch.equal(whole.found["layer 0"][part], free.found["layer 0"][part])
    for one in single:
        for node in one.nodes.values():
            assert_same(node["skip"] + node["branch"], node["relevance"], 10.0)


def test_a_streamed_folder_keeps_routes(tmp_path):
    pytest.importorskip("pyarrow")
    model, tokenizer = zoo.load("reviews-rotary")
    texts, options = ["a fine film", "bad , dull film"], Options(detail={"routes"})
    kept = explain_to(tmp_path / "out", model, texts, processor=tokenizer, options=options, progress=False)
    for found, given in zip(kept, explain(model, texts, processor=tokenizer, options=options), strict=True):
        assert found.routes.edges(5) == given.routes.edges(5) and found.routes.names == given.routes.names
        for name, one in given.routes.found.items():
            assert all(torch.equal(found.routes.found[name][part], one[part]) for part in PARTS)
