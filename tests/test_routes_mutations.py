"""What is wrong in routes turns a claim about their sums red: edges halved, turned round, given to the wrong side, nodes counted twice."""

from __future__ import annotations

import pytest
import test_routes as claims
from routed import ARCHITECTURES, hear

from pelrp_nb import DELTA_LRP, PA_LRP
from pelrp_nb.engine import edges, residual_sums, routes

LLAMA = next(one for one in ARCHITECTURES if one.name == "llama")
CLAIMS = (
    claims.test_a_node_is_its_skip_and_its_branch,
    claims.test_what_comes_to_a_head_is_its_edges_and_what_is_kept,
    claims.test_a_branch_is_what_its_attention_gave,
    claims.test_edges_into_a_value_add_up_to_its_relevance,
    claims.test_edges_into_a_key_add_up_to_its_relevance,
)


def broken(composite=PA_LRP, attention: str = "sdpa") -> set[str]:
    """The claims that do not hold."""
    model, x = LLAMA.made(attention)
    places = list(LLAMA.places(3))
    modules = [f"{p.module}.{name}" for p in places for name in ("k_proj", "v_proj", "o_proj")]
    found = set()
    with claims.in_float64():
        walked = (LLAMA, model, places, hear(model, x, modules, composite))
        for claim in CLAIMS:
            try:
                claim(walked)
            except AssertionError:
                found.add(claim.__name__)
    return found


def halved(name: str):
    """Edges of that part halved as they arrive."""
    plain = edges.Edges.take

    def take(self, parts):
        plain(self, {part: R / 2 if part == name else R for part, R in parts.items()})

    return take


def twice(flow, node, part, x, at, known, plain=residual_sums.listen):
    """What was skipped counted twice."""
    return plain(flow, node, part, x * 2 if part == "skip" else x, at, known)


MUTATIONS = {
    "values halved": (edges.Edges, "take", halved("values")),
    "scores halved": (edges.Edges, "take", halved("scores")),
    "edges turned round": (routes, "by_pairs", lambda *given, plain=routes.by_pairs: plain(*given).transpose(-1, -2)),
    "heads mixed up": (routes, "by_pairs", lambda *given, plain=routes.by_pairs: plain(*given).flip(1)),
    "all of scores to the keys": (routes, "of_kernel", lambda *given, plain=routes.of_kernel: keyed(plain(*given))),
    "a skip counted twice": (residual_sums, "listen", twice),
}


def keyed(found: edges.Edges | None) -> edges.Edges | None:
    """All of scores is the key's."""
    if found is not None:
        found.key = 1.0
    return found


@pytest.mark.parametrize("composite", [PA_LRP, DELTA_LRP], ids=["pa", "delta"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_all_claims_hold(composite, attention):
    assert not broken(composite, attention)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_turns_a_claim_red(name, monkeypatch):
    monkeypatch.setattr(*MUTATIONS[name])
    assert broken()


def test_delta_attention_halved_turns_a_claim_red(monkeypatch):
    monkeypatch.setattr(edges.Edges, "take", halved("values"))
    assert broken(DELTA_LRP) and broken(DELTA_LRP, "eager")
