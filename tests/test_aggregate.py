"""Many explanations together: the groups are what they say, and the sums are the explanations' own."""

from __future__ import annotations

import pandas as pd
import pytest
from made import made
from models import build, randomise
from shapes import drawn, together

from pelrp_nb import Options, aggregate, explain, target
from pelrp_nb.errors import InputError


@pytest.fixture(scope="module")
def answers():
    return explain(build("llama"), together(drawn((4, 6, 5))), options=Options(detail={"heads"}))


@pytest.mark.parametrize("by", ["token", "position"])
def test_means_times_counts_are_the_sums_of_all_explanations(answers, by):
    frame = aggregate(answers, by=by)
    assert frame["count"].sum() == 15 and frame.columns[0] == by
    for name, sums in (("semantic", [e.semantic for e in answers]), ("relevance", [e.relevance() for e in answers])):
        assert (frame[name] * frame["count"]).sum() == pytest.approx(sum(float(x.sum()) for x in sums))
    assert frame["relevance"].tolist() == pytest.approx((frame["semantic"] + frame["positional"]).tolist())


def test_a_token_that_occurs_twice_is_one_row_and_the_largest_come_first():
    a, b = made(("x", "y", "x")), made(("y", "z", "z"), seed=1)
    frame = aggregate([a, [b]], by="token")
    assert sorted(zip(frame["token"], frame["count"], strict=True)) == [("x", 2), ("y", 2), ("z", 2)]
    row = frame.set_index("token").loc["x"]
    assert row["semantic"] == pytest.approx(float(a.semantic[0] + a.semantic[2]) / 2)
    assert frame["size"].is_monotonic_decreasing


def test_places_count_only_the_explanations_that_reach_them(answers):
    assert aggregate(answers, by="position")["count"].tolist() == [3, 3, 3, 3, 2, 1]


def test_layers_hold_their_sinks_branches_and_softmax(answers):
    frame = aggregate(answers, by="layer")
    assert frame["layer"].tolist() == ["layer 0", "layer 1", "layer 2"] and frame["count"].tolist() == [3, 3, 3]
    assert frame["positional"].sum() * 3 == pytest.approx(sum(e.ledger.positions for e in answers))
    assert frame["softmax"].sum() * 3 == pytest.approx(sum(sum(e.ledger.softmax.values()) for e in answers))
    branch = [b.total for e in answers for b in e.boundaries if b.name == "layer 1 mlp"]
    assert frame["mlp"][1] == pytest.approx(sum(branch) / 3)


def test_layer_10_is_not_layer_1():
    frame = aggregate(made(layers=12), by="layer")
    assert frame["layer"].tolist() == [f"layer {i}" for i in range(12)]
    assert frame["positional"][1] == pytest.approx(float(made(layers=12).positional[1].sum()))


def test_heads_sum_to_their_sinks(answers):
    frame = aggregate(answers, by="head")
    rotary = frame[frame["role"].isin(["query", "key"])]
    for i, sink in enumerate(answers[0].sinks):
        total = rotary[rotary["sink"] == sink]["relevance"].sum() * 3
        assert total == pytest.approx(sum(float(e.positional[i].sum()) for e in answers))
    assert set(rotary[rotary["role"] == "key"]["head"]) == {0, 1}  # key heads are shared by two query heads each
    assert len(frame[frame["role"] == "attention"]) == 3 * 4


def test_distances_sum_to_the_pairs():
    import transformers as t

    model = randomise(t.BloomForCausalLM(t.BloomConfig(vocab_size=96, hidden_size=48, n_layer=2, n_head=4)).double())
    found = explain(model, together(drawn((4, 6))), options=Options(detail={"pairs"}))
    frame = aggregate(found, by="distance")
    for sink in found[0].detail["pairs"]:
        ours = frame[frame["sink"] == sink]
        whole = sum(float(e.detail["pairs"][sink]["relevance"].sum()) for e in found)
        assert (ours["relevance"] * ours["count"]).sum() == pytest.approx(whole)
        assert ours[ours["distance"] < 0]["relevance"].abs().sum() == 0  # causal: no key lies ahead


def test_where_there_are_no_pairs_distances_are_those_of_exchange():
    found = explain(build("llama"), together(drawn((4,))), target=3, options=Options(detail={"pairs"}))
    with pytest.raises(InputError, match=r"the models explained here have none\. Type exchange\(model, inputs\)\.by_distance\(\)"):
        aggregate(found, by="distance")


def test_lists_of_lists_are_taken_as_they_come():
    found = explain(build("bert"), together(drawn()), target=target.every([0, 1]))
    assert aggregate(found, by="position")["count"].max() == 6


def test_shares_let_each_explanation_count_alike():
    small, large = made(("x",)), made(("y",), seed=1)
    frame = aggregate([small, large], by="token", share=True)
    assert frame["size"].tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("given", "by", "words"),
    [
        ([], "token", "at least one explanation"), ([made()], "colour", "by must be one of token, position"),
        (["text"], "token", "takes explanations, got str"), (7, "token", "takes explanations, got int"),
        ([made()], "head", r'detail=\{"heads"\}'), ([made()], "distance", r'detail=\{"pairs"\}'),
    ],
)  # fmt: skip
def test_what_cannot_be_aggregated_is_refused(given, by, words):
    with pytest.raises(InputError, match=words):
        aggregate(given, by=by)


def test_the_result_is_a_data_frame(answers):
    assert isinstance(aggregate(answers), pd.DataFrame)
