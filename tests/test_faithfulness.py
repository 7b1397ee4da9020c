"""Protocols against cases worked out by hand, brute force, and other libraries."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import ceil, exp

import numpy as np
import pytest
import torch
from faithful import PLACES, WORTH, case, judged, subject
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_same

from pelrp_nb import faithfulness, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.faithfulness import AUTHORS_TEXT, PAPER_TEXT, PROTOCOLS, Configuration, Subject, load, measure
from pelrp_nb.faithfulness.images import average_precision, iou
from pelrp_nb.faithfulness.moved import partners, put
from pelrp_nb.faithfulness.read import case_of
from pelrp_nb.faithfulness.scores import area, rank_correlation, ranks, score
from pelrp_nb.faithfulness.settings import Positions, Text, Truth
from pelrp_nb.faithfulness.text import ascending, counted

HALVES = Text(fractions=(0.0, 0.5, 1.0), ties="first")


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


# --- texts -----------------------------------------------------------------------------------------------------------


def test_pruning_by_hand():
    """Tokens worth 3, -2, 1, 0.5; the two least relevant go first: 2.5, then 4 is left, then nothing."""
    asked = subject(text=HALVES)
    found = judged(PROTOCOLS["pruning"], asked, case(asked, [1, 2, 3, 4]), [3, -2, 1, 0.5])
    chances = [sigmoid(2.5), sigmoid(4.0), sigmoid(0.0)]
    squares = [0.0, 1.5**2 / 2, 2.5**2 / 2]  # the mean over two logits
    assert found["curves"]["pruning probability"] == pytest.approx(chances)
    assert found["curves"]["pruning squared change"] == pytest.approx(squares)
    assert found["values"]["pruning-au-ac"] == pytest.approx(0.25 * chances[0] + 0.5 * chances[1] + 0.25 * chances[2])
    assert found["values"]["pruning-au-mse"] == pytest.approx(0.5 * squares[1] + 0.25 * squares[2])


def test_generation_by_hand():
    """From nothing, 3 and 1 come first: 0, 4, 2.5; least relevant first: 0, -1.5, 2.5."""
    asked = subject(text=HALVES)
    found = judged(PROTOCOLS["generation"], asked, case(asked, [1, 2, 3, 4]), [3, -2, 1, 0.5])["values"]
    assert found["generation-merf"] == pytest.approx(0.5 * 4.0 + 0.25 * 2.5)
    assert found["generation-lerf"] == pytest.approx(0.25 * 0.5 + 0.5 * sigmoid(-1.5) + 0.25 * sigmoid(2.5))
    assert found["generation-au-ac"] == pytest.approx(0.25 * 0.5 + 0.5 * sigmoid(4) + 0.25 * sigmoid(2.5))
    assert found["generation-au-mse"] == pytest.approx((0.25 * 2.5**2 + 0.5 * 1.5**2) / 2)


def test_gain_by_hand():
    """Least first leaves 4 in the middle, most first leaves -1.5."""
    asked = subject(text=HALVES)
    found = judged(PROTOCOLS["gain"], asked, case(asked, [1, 2, 3, 4]), [3, -2, 1, 0.5])
    assert found["values"]["symmetric-relevance-gain"] == pytest.approx(0.5 * (4.0 - -1.5))


def test_no_order_gains_more_than_the_oracle():
    """Of all orders of five tokens, that of the tokens' own worth has the largest gain, its reverse the smallest."""
    asked = subject(text=Text(ties="first"))
    here, ids = case(asked, [1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]
    gains = {
        order: judged(PROTOCOLS["gain"], asked, here, [order.index(i) for i in ids])["values"]["symmetric-relevance-gain"]
        for order in permutations(ids)
    }
    best = tuple(sorted(ids, key=lambda i: WORTH[i]))
    assert gains[best] == pytest.approx(max(gains.values()))
    assert gains[best[::-1]] == pytest.approx(min(gains.values()))
    assert gains[best] == pytest.approx(-gains[best[::-1]])


@given(st.integers(1, 400), st.integers(0, 10))
def test_a_fraction_is_a_number_of_tokens(N, tenths):
    """n = ceil(f N), as exact fractions have it and binary ones do not."""
    assert counted(tenths / 10, N, "up") == -(-tenths * N // 10)
    assert counted(tenths / 10, N, "down") == tenths * N // 10


def test_a_loop_over_a_real_model_says_the_same():
    """Least relevant first on a packaged model, one forward pass at a time, written out without any of our functions."""
    model, tokenizer = zoo.load("reviews-rotary")
    example = next(load("reviews"))
    asked = Subject(model, tokenizer, Configuration(text=replace(PAPER_TEXT, ties="first")))
    here = case_of(asked, example, 0)
    R = torch.linspace(-1, 1, len(here.tokens)).sin().tolist()
    found = judged(PROTOCOLS["pruning"], asked, here, R)["values"]

    ids = tokenizer(example.text)["input_ids"]
    inner = sorted(range(1, len(ids) - 1), key=lambda t: R[t])  # [CLS] and [SEP] stay
    chances, changes = [], []
    with torch.no_grad():
        whole = model(torch.tensor([ids])).logits[0]
        for tenth in range(11):
            cut = list(ids)
            for t in inner[: ceil(tenth * len(inner) / 10)]:
                cut[t] = tokenizer.unk_token_id
            logits = model(torch.tensor([cut])).logits[0]
            chances.append(float(logits.softmax(-1)[whole.argmax()]))
            changes.append(float(((logits - whole) ** 2).mean()))
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    x = [i / 10 for i in range(11)]
    assert found["pruning-au-ac"] == pytest.approx(sklearn_metrics.auc(x, chances), abs=1e-6)
    assert found["pruning-au-mse"] == pytest.approx(sklearn_metrics.auc(x, changes), abs=1e-6)


def test_batches_say_what_single_rows_say():
    """Equal rows are asked once, unequal lengths apart; padded on either side the answers are the same."""
    model, tokenizer = zoo.load("reviews-rotary")
    rows = []
    for text in ("a gorgeous film", "a dull , clumsy film that never ends", "fine", "a gorgeous film"):
        encoded = tokenizer(text, return_tensors="pt")
        rows.append({name: encoded[name][0] for name in ("input_ids", "attention_mask")})
    single = [Subject(model, tokenizer, Configuration(batch=1)).answers([row])[0] for row in rows]
    for side in ("never", "right", "left"):
        together = Subject(model, tokenizer, Configuration(text=Text(padding=side))).answers(rows)
        assert_same(torch.stack(together), torch.stack(single))


def test_without_a_causal_mask_every_token_sees_every_other():
    """The authors' quirk: the first token's answer changes with the last token, which a causal model forbids."""
    model, tokenizer = zoo.load("reviews-rotary")
    text = next(load("reviews")).text
    plain, authors = (Subject(model, tokenizer, Configuration(text=t)) for t in (PAPER_TEXT, AUTHORS_TEXT))
    here = case_of(plain, faithfulness.Example(text), 0)
    states = []
    for asked in (plain, authors):
        inputs = asked.inputs(here.row)
        changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
        changed["input_ids"][0, -2] = tokenizer.unk_token_id
        with torch.no_grad():
            first = [model.model(**x).last_hidden_state[0, 0] for x in (inputs, changed)]
        states.append(float((first[0] - first[1]).abs().max()))
    assert states[0] == 0.0 and states[1] > 1e-4


def test_choices_are_followed():
    """Sign, special tokens and ties do what their names say."""
    asked = subject()
    here = replace(case(asked, [1, 2, 3, 4]), special=(True, False, False, True))
    R = torch.tensor([9.0, -5.0, 1.0, 9.0])
    assert ascending(here, R, Text()) == [1, 2]
    assert ascending(here, R, Text(sign="absolute")) == [2, 1]
    assert ascending(here, R, Text(special="replace", ties="first")) == [1, 2, 0, 3]
    even = torch.zeros(4)
    orders = {tuple(ascending(replace(here, seed=s), even, Text(special="replace"))) for s in range(20)}
    assert len(orders) > 5
    assert ascending(here, even, Text(special="replace", ties="first")) == [0, 1, 2, 3]


# --- truth, agreement, positions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 3])
def test_an_oracle_scores_best_its_negative_worst(K):
    """Mass and rank 1 for the truth itself, 0 for its negative, in between for chance."""
    asked = subject()
    truth = tuple(range(2, 2 + K))
    here = case(asked, [1, 2, 3, 4, 5, 6, 1, 2], truth)
    oracle = [float(t in truth) for t in range(8)]
    judge = lambda R: judged(PROTOCOLS["truth"], asked, here, R)["values"]
    assert judge(oracle) == {"truth-mass": 1.0, "truth-mass-by-size": 1.0, "truth-rank": 1.0}
    assert judge([-x for x in oracle]) == {"truth-mass": 0.0, "truth-mass-by-size": 1.0, "truth-rank": 0.0}
    rng = np.random.default_rng(0)
    found = [judge(rng.normal(size=8).tolist()) for _ in range(200)]
    for name in ("truth-mass", "truth-mass-by-size", "truth-rank"):
        assert np.mean([f[name] for f in found]) == pytest.approx(K / 8, abs=0.06)


def test_absolute_mass_counts_what_speaks_against():
    """By size it is counted beside the other whatever was chosen."""
    for mass, chosen in (("absolute", 0.75), ("positive", 0.0)):
        asked = subject(truth=Truth(mass=mass))
        here = case(asked, [1, 2, 3], (1,))
        found = judged(PROTOCOLS["truth"], asked, here, [1.0, -3.0, 0.0])["values"]
        assert found["truth-mass"] == pytest.approx(chosen) and found["truth-mass-by-size"] == pytest.approx(0.75)


def test_agreement_is_spearman_with_leave_one_out():
    """On a sum of tokens leave-one-out is the token's worth, and a method that says so agrees fully."""
    asked = subject()
    ids = [1, 2, 3, 4, 5]
    here, worth = case(asked, ids), [WORTH[i] for i in ids]
    assert faithfulness.METHODS["leave-one-out"](asked, here).tolist() == pytest.approx(worth)
    for R in (worth, [-w for w in worth], [1.0, 2.0, 2.0, -1.0, 0.0]):
        stats = pytest.importorskip("scipy.stats")
        value = judged(PROTOCOLS["agreement"], asked, here, R)["values"]["leave-one-out-correlation"]
        assert value == pytest.approx(float(stats.spearmanr(R, worth).statistic))


def test_position_swap_by_hand():
    """Two tokens exchange their position vectors: the answer changes by |(w_t - w_u)(p_u - p_t)|."""
    asked = subject(ordered=True, positions=Positions(ways=("swap",), partners=99))
    ids = [1, 2, 3, 4]
    here = case(asked, ids)
    w = [WORTH[i] for i in ids]
    effect = [np.mean([abs((w[t] - w[u]) * (PLACES[u] - PLACES[t])) for u in range(4) if u != t]) for t in range(4)]
    found = judged(PROTOCOLS["positions"], asked, here, [0.0] * 4, position=effect)["values"]
    assert found["position-swap-effect"] == pytest.approx(np.mean(effect))
    assert found["position-swap-correlation"] == pytest.approx(1.0)
    backwards = judged(PROTOCOLS["positions"], asked, here, [0.0] * 4, position=[1 / e for e in effect])["values"]
    assert backwards["position-swap-correlation"] == pytest.approx(-1.0)


def test_where_order_is_irrelevant_nothing_moves():
    """A bag of tokens does not notice: the effect is 0 and no correlation is claimed."""
    asked = subject()
    found = judged(PROTOCOLS["positions"], asked, case(asked, [1, 2, 3, 4]), [1.0, 2.0, 3.0, 4.0])["values"]
    assert found["position-move-effect"] == pytest.approx(0.0) and found["position-move-correlation"] is None


def test_a_token_is_moved_and_the_others_close_up():
    row = {"input_ids": torch.tensor([5, 6, 7, 8]), "attention_mask": torch.ones(4)}
    assert put(row, "move", 0, 2)["input_ids"].tolist() == [6, 7, 5, 8]
    assert put(row, "move", 3, 1)["input_ids"].tolist() == [5, 8, 6, 7]
    swapped = put(row, "swap", 0, 2)
    assert swapped["input_ids"].tolist() == [5, 6, 7, 8] and swapped["position_ids"].tolist() == [2, 1, 0, 3]


def test_swapped_positions_reach_a_real_model_and_no_mask():
    """position_ids out of order are positions, not packed sequences; in order they change nothing."""
    model, tokenizer = zoo.load("reviews-rotary")
    asked = Subject(model, tokenizer)
    row = dict(case_of(asked, next(load("reviews")), 0).row)
    T = len(row["input_ids"])
    plain, ordered, shifted, swapped = asked.answers(
        [row, {**row, "position_ids": torch.arange(T)}, {**row, "position_ids": torch.arange(T) + 5}, put(row, "swap", 2, 4)]
    )
    assert_same(ordered, plain)
    assert_same(shifted, plain)
    assert 1e-6 < float((swapped - plain).abs().max()) < 0.3


def test_positions_are_exchanged_where_a_model_takes_no_position_ids():
    """BERT's twin without the argument gives the same answers; with the positions of all shuffled the answer changes."""
    model, tokenizer = zoo.load("tasks-learnable")
    asked, blind = (Subject(model, tokenizer, Configuration(positions=Positions(("swap", "shuffle"), 3))) for _ in range(2))
    assert "position_ids" in asked.accepts
    blind.accepts = blind.accepts - {"position_ids"}
    example = next(e for e in load("order"))
    found = [judged(PROTOCOLS["positions"], one, case_of(one, example, 0), [0.0] * 14)["values"] for one in (asked, blind)]
    for name in ("position-swap-effect", "position-shuffle-effect"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4) and found[0][name] > 0.01


def test_a_model_without_positions_has_none_to_exchange():
    model, tokenizer = zoo.load("tasks-none")
    asked = Subject(model, tokenizer, Configuration(positions=Positions(("swap", "shuffle"), 3)))
    asked.accepts = asked.accepts - {"position_ids"}
    values = judged(PROTOCOLS["positions"], asked, case_of(asked, next(load("order")), 0), [0.0] * 14)["values"]
    assert set(values) == {"positional-share"}


def test_partners_are_the_same_for_every_method():
    asked = subject()
    here = case(asked, [1, 2, 3, 4, 5, 6])
    assert partners(here, range(6), 3) == partners(here, range(6), 3)
    assert all(len(others) == 3 and t not in others for t, others in partners(here, range(6), 3))


# --- scores ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=12))
def test_area_is_sklearns(y):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    x = [i / (len(y) - 1) for i in range(len(y))]
    assert area(x, y) == pytest.approx(sklearn_metrics.auc(x, y), abs=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9), st.randoms())
def test_rank_correlation_is_scipys(x, rng):
    stats = pytest.importorskip("scipy.stats")
    y = list(x)
    rng.shuffle(y)
    a, b = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    assert ranks(a).tolist() == stats.rankdata(x).tolist()
    if len(set(x)) > 1:
        assert rank_correlation(a, b) == pytest.approx(float(stats.spearmanr(x, y).statistic), abs=1e-12)
    else:
        assert rank_correlation(a, b) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=20))
def test_average_precision_is_sklearns(pairs):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    R, truth = (list(column) for column in zip(*pairs, strict=True))
    ours = average_precision(torch.tensor(R, dtype=torch.float64), torch.tensor(truth))
    assert ours == (pytest.approx(sklearn_metrics.average_precision_score(truth, R)) if any(truth) else None)


def test_intersection_over_union_by_hand():
    a, b = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert iou(a, b) == pytest.approx(1 / 3) and iou(a & ~a, a & ~a) == 1.0


def test_scores_by_hand():
    answer = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    assert score(answer, 1, "logit") == 3.0 and score(answer, 1, "margin") == 1.0 and score(answer, 0, "margin") == -2.0
    assert score(answer, 1, "probability") == pytest.approx(1 / (1 + exp(-1) + exp(-2)))
    assert score(answer, 1, "accuracy") == 1.0 and score(answer, 0, "accuracy") == 0.0
    with pytest.raises(InputError):
        score(answer, 0, "odds")


# --- what it must show -----------------------------------------------------------------------------------------------


def test_relevance_beats_gradients_beats_chance_on_reviews():
    """The gain on held-out reviews; the whole table is in tutorials/faithfulness.md."""
    model, tokenizer = zoo.load("reviews-rotary")
    settings = Configuration(methods=("random", "input-x-gradient", "attn-lrp", "pa-lrp-signed"), protocols=("gain",))
    result = measure(model, tokenizer, load("reviews", 25), settings)
    gain = lambda a, b: result.difference(a, b, "symmetric-relevance-gain").better
    assert gain("attn-lrp", "input-x-gradient") == "attn-lrp"
    assert gain("pa-lrp-signed", "input-x-gradient") == "pa-lrp-signed"
    assert gain("input-x-gradient", "random") == "input-x-gradient"
    low, high = (getattr(result.estimate("random", "symmetric-relevance-gain"), end) for end in ("low", "high"))
    assert low < 0.1 and high > -0.1
