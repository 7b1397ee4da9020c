"""What the course says of its models is true: each sentence with a number or a comparison is computed here."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from course_text import AUDIT, ENCODINGS, MOON, SUN, TIE, found, loaded, says, worked

from pelrp_nb import ATTN_LRP, CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION, Options, exchange, explain, permute_positions, rules, zoo
from pelrp_nb.labs import notebooks, worksheets
from pelrp_nb.verbs import input_times_gradient

# --- 00, 06, 11: why does it say moon? ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_model_that_is_told_of_places_answers_the_mystery(encoding):
    assert [found(f"tasks-{encoding}", line).target for line in (MOON, SUN)] == ["moon", "sun"]
    assert sorted(MOON.split()) == sorted(SUN.split())
    assert says("00", "The same words, another answer", MOON, SUN) and says("06", MOON, SUN)


def test_a_model_that_is_never_told_cannot_answer_it():
    assert says("06", "The same logit", "of 100 such questions it gets about 50 right, its sisters all")
    one, other = (found("tasks-none", line) for line in (MOON, SUN))
    assert one.target == other.target and one.value == pytest.approx(other.value, abs=1e-4)
    assert zoo.card("tasks-none")["accuracies"]["order"] == pytest.approx(0.5, abs=0.05)
    assert all(zoo.card(f"tasks-{encoding}")["accuracies"]["order"] == 1.0 for encoding in ENCODINGS)


def test_the_place_of_the_moon_is_worth_more_than_any_other():
    assert says("00", "The place of the *moon* behind the question mark is worth more than any other.")
    model, tokenizer = loaded("tasks-rotary")
    worth = exchange(model, MOON, processor=tokenizer, target="moon", contrast="sun", partners=None)
    best = int(worth.signed.nan_to_num(0).argmax())
    assert worth.tokens[best] == "moon" and best == 1 + MOON.split().index("moon", MOON.split().index("?"))
    reviews, reader = loaded("reviews-rotary")
    review = exchange(reviews, zoo.task("reviews").examples[71].text, processor=reader, partners=None)
    assert worth.share > 0.5 > 0.1 > review.share
    assert says("00", "Whether a film is liked hardly depends on the order of the words.")


def test_cp_lrp_is_blind_to_places_that_decide():
    assert says("00", "so it gives them exactly 0, although they decide")
    assert found("tasks-rotary", MOON, composite=CP_LRP).positional.abs().max() == 0


def test_the_place_of_the_mark_is_worth_more_than_that_of_the_answer():
    model, tokenizer = loaded("tasks-rotary")
    worth = exchange(model, "previous river mark sun fish tree mark bird", processor=tokenizer, partners=None)
    assert worth.target == "tree" and worth.tokens[int(worth.signed.nan_to_num(0).argmax())] == "mark"


# --- 02, 04: what the softmax keeps ------------------------------------------------------------------------------------------


def test_about_half_reaches_the_words_and_the_softmax_keeps_as_much():
    assert says("02", "about half reaches the words of this sentence, and the softmax **keeps** about as much")
    book = found("reviews-learnable", "a gorgeous , witty film", options=AUDIT).ledger
    for amount in (book.tokens, sum(book.softmax.values())):
        assert amount / book.value == pytest.approx(0.5, abs=0.05)


def test_near_a_tie_both_are_many_times_the_value():
    assert says("02", "both parts are many times as large")
    book = found("reviews-learnable", TIE, options=AUDIT).ledger
    assert min(abs(book.tokens), abs(sum(book.softmax.values()))) > 10 * abs(book.value)


def test_kept_is_the_mean_slope_less_the_covariance_of_scores_and_slopes():
    assert says("04", r"\mathrm{kept} = \bar g - \mathrm{cov}_A(s, g)")
    rng = torch.Generator().manual_seed(0)
    s, g = torch.randn(2, 200, 5, generator=rng, dtype=torch.float64)
    A = s.softmax(-1)
    (R_s,) = input_times_gradient(lambda s: s.softmax(-1), A * g, s)
    mean = (A * g).sum(-1)
    covariance = (A * (s - (A * s).sum(-1, keepdim=True)) * (g - mean[:, None])).sum(-1)
    torch.testing.assert_close(mean - R_s.sum(-1), mean - covariance)


@pytest.mark.parametrize("s", ([2.0, 2.0, 2.0], [40.0, 1.0, 0.0], [3.0]), ids=("equal scores", "saturated", "one entry"))
def test_all_is_kept_where_nothing_was_chosen_or_one_firmly(s):
    s = torch.tensor(s, dtype=torch.float64)
    A, g = s.softmax(-1), torch.tensor([1.0, 0.2, -0.5], dtype=torch.float64)[: len(s)]
    (R_s,) = input_times_gradient(lambda s: s.softmax(-1), A * g, s)
    assert abs(float(R_s.sum())) < 1e-9 < abs(float((A * g).sum()))


def test_a_constant_on_a_row_moves_amounts_and_not_their_sum():
    s, R = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.3, -0.1, 0.5])
    plain, moved = (input_times_gradient(lambda s: s.softmax(-1), R, x)[0] for x in (s, s + 5))
    assert (plain - moved).abs().max() > 0.1 and plain.sum() == pytest.approx(float(moved.sum()), abs=1e-5)


def test_attention_is_not_relevance():
    assert says("04", "in layer 1 its first token gets 0.44 of the attention, where even attention would give 0.37")
    assert says("04", "most of the attention goes to *[CLS]* and *a*", "*gorgeous* and *witty* carry the answer")
    model, tokenizer = loaded("reviews-rotary")
    text = "a gorgeous , witty film"
    worth = found("reviews-rotary", text).relevance().abs()
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    A = model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions[1][0].mean(0).detach()
    model.set_attn_implementation(before)
    seen = A.mean(0)
    assert float(seen[0]) == pytest.approx(0.44, abs=0.005)
    assert sum(1 / n for n in range(1, len(A) + 1)) / len(A) == pytest.approx(0.37, abs=0.005)
    assert set(seen.topk(2).indices.tolist()) == {0, 1} and float(seen[:2].sum()) > 0.5
    assert set(worth.topk(2).indices.tolist()) == {2, 4} and worth[:2].max() < worth[[2, 4]].min() / 4


# --- 03, 05, 06, 07, 08 ------------------------------------------------------------------------------------------------------


def test_a_norm_that_moves_loses_the_total_and_not_every_amount():
    assert says("03", "their **total** is gone: 3 came in, nothing arrives")
    x, R = torch.tensor([1.0, -2.0, 3.0]), torch.ones(3)
    (moving,) = input_times_gradient(lambda x: x / x.square().mean().sqrt(), R, x)
    assert abs(float(moving.sum())) < 1e-5 and moving.abs().min() > 0.1


def sizes(text: str, composite: Any = PA_LRP) -> list[float]:
    """Sizes at the borders of layers, the words first."""
    result = found("reviews-learnable", text, composite=composite)
    assert result.ledger.closed
    return [float(b.relevance.abs().sum()) for b in result.boundaries if b.kind in ("embeddings", "layer")]


def test_sizes_explode_where_an_answer_is_a_tie_and_reslrp_halves_them():
    assert says("05", "sizes grow from 0.03 to more than 2", "ResLRP halves that")
    plain, bounded = sizes(TIE), sizes(TIE, PA_LRP_RES)
    assert plain[-1] == pytest.approx(0.03, abs=0.005) and plain[0] > 2
    assert plain == sorted(plain, reverse=True) and bounded[0] / plain[0] == pytest.approx(0.5, abs=0.05)


def test_sizes_grow_by_the_median_that_is_said():
    assert says("05", "of the first sixty the median grows about one and a half times", "even shrinks")
    grown = [amounts[0] / amounts[-1] for amounts in (sizes(example.text) for example in zoo.task("reviews").examples[:60])]
    assert median(grown) == pytest.approx(1.5, abs=0.1)
    shrunk = sizes("a gorgeous , witty film")
    assert shrunk[0] < shrunk[-1]


def test_words_without_their_places_do_not_add_up():
    assert says("06", "here it would be too *large*, for this part is negative")
    sinks, constants = (found("reviews-learnable", "not a good film", composite=c, options=AUDIT).ledger for c in (PA_LRP, ATTN_LRP))
    assert sinks.positions < -0.01 and sinks.tokens == pytest.approx(constants.tokens, abs=1e-5)
    booked = sum(amount for name, amount in constants.constants.items() if "position" in name)
    assert booked == pytest.approx(sinks.positions, abs=1e-5)


def test_only_the_place_of_the_mark_before_the_words_gets_much():
    assert says("06", "The only place with an amount worth naming is that of `[CLS]`", "its content takes nearly as much away")
    one = found("reviews-absolute", "not a good film", options=AUDIT)
    place = one.positional.sum(0)
    assert one.tokens[0] == "[CLS]" and place[1:].abs().max() < place[0] / 5
    assert float(place[0] + one.semantic[0]) == pytest.approx(0, abs=0.1 * float(place[0]))


def test_a_mask_alone_tells_a_causal_model_of_order():
    """A model without any position: exchanging two words moves its answer if it is causal, and does not if it is not."""
    from torch.nn.functional import scaled_dot_product_attention

    assert says("06", "knows a little of order by that alone") and says("07", "A mask that hides what comes later tells a little of it")
    x = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = x[:, [1, 0, 2, 3]]
    for causal in (True, False):
        one, other = (scaled_dot_product_attention(y, y, y, is_causal=causal).mean(1) for y in (x, turned))
        assert torch.allclose(one, other) != causal


def test_the_mystery_is_decided_in_the_lowest_layer_by_the_places_of_moon_and_sun():
    assert says("07", "The place of *moon* behind the question mark is dark orange, that of *sun* there purple.")
    P = found("tasks-rotary", MOON).positional
    at = 1 + MOON.split().index("?")
    moon, sun = at + 2, at + 5
    assert int(P.flatten().argmax()) == moon and int(P.flatten().argmin()) == sun and P[0].abs().sum() > 5 * P[1:].abs().sum()


def test_the_darkest_pair_is_the_true_one():
    assert says("08", "the darkest cell is orange, and it is the true pair")
    text = "previous sun mark bird stone fish sun mark star mark"
    result = found("tasks-alibi", text, options=Options(audit=True, detail={"pairs"}))
    pairs = next(iter(result.detail["pairs"].values()))["relevance"]
    query, key = divmod(int(pairs.abs().argmax()), pairs.shape[1])
    assert pairs[query, key] > 0 and (query, key) == (10, 9) and result.tokens[9] == result.target == "star"


# --- 11, 12, the course's page -----------------------------------------------------------------------------------------------


def better(encoding: str, kind: str) -> tuple[float, float]:
    """By how much more of PA-LRP's positive relevance lies inside the truth than of AttnLRP's; the standard error."""
    model, tokenizer = loaded(f"tasks-{encoding}")
    questions, inside = zoo.task(kind).examples[:24], []
    for composite in (PA_LRP, ATTN_LRP):
        for question, one in zip(questions, explain(model, [q.text for q in questions], processor=tokenizer, composite=composite)):
            R = one.relevance().clamp(min=0) * ~torch.tensor(one.special)
            inside.append(R[[place + 1 for place in question.truth.tokens]].sum() / R.sum())
    d = torch.stack(inside).unflatten(0, (2, 24))
    d = d[0] - d[1]
    return float(d.mean()), float(d.std() / 24**0.5)


def test_positions_as_inputs_find_words_better_in_some_models_and_worse_in_others():
    assert says(
        "11", "With ALiBi yes, with the other kinds sometimes yes, sometimes no, sometimes the reverse; never by more than two hundredths"
    )
    assert says("11", "learnable alone, *positions hurt*", "Nor more where order decides")
    found = {(encoding, kind): better(encoding, kind) for encoding in ENCODINGS for kind in ("previous", "majority")}
    shown = {key: (mean > 0) - (mean < 0) if abs(mean) > 2 * error else 0 for key, (mean, error) in found.items()}
    assert shown["alibi", "previous"] == shown["alibi", "majority"] == 1
    assert {-1, 0, 1} == {sign for (encoding, _), sign in shown.items() if encoding != "alibi"}
    assert shown["learnable", "previous"] == -1 and 1 not in (shown["learnable", kind] for kind in ("previous", "majority"))
    assert all(abs(mean) < 0.02 for mean, _ in found.values())
    more = sum(found[encoding, "previous"][0] - found[encoding, "majority"][0] for encoding in ENCODINGS) / 5
    assert abs(more) < 0.01


def test_a_model_of_two_bytes_a_parameter_takes_what_is_said():
    assert says("12", "They take 13 GiB") and abs(7e9 * 2 / 2**30 - 13) < 0.1
    assert says("12", "Most models that `transformers` loads will do") and not says("12", "Any model that")


def test_the_words_of_the_field_are_in_the_glossary():
    page = (notebooks.master("00").parent / "README.md").read_text(encoding="utf-8")
    assert {"LRP", "PA-LRP", "CP-LRP", "AttnLRP", "causal", "reduction", "leave-one-out", "exchange"} <= set(worksheets.TERMS)
    assert "Nothing is" not in page


PAPERS = {
    "01": ("pone.0130140",), "13": ("1512.02479",), "14": ("2209.11895", "2508.21258", "2403.00745"), "09": ("2502.15886",),
    "00": ("2506.02138", "2202.07304", "pone.0130140"), "02": ("978-3-030-28954-6_10",), "03": ("2402.05602", "2202.07304", "2502.15886"),
    "04": ("2402.05602", "2202.07304", "2309.17453"), "06": ("2506.02138", "1706.03762"), "07": ("2104.09864", "2506.02138"),
    "05": ("2609.17152",), "08": ("1910.10683", "2108.12409"), "11": ("2202.07304", "1705.07874", "1703.01365", "2005.00928"),
    "12": ("2202.10419", "2002.10957", "sciadv.abe4166"),
    "10": ("2010.11929", "2309.16588", "1512.02479", "978-3-030-28954-6_10"),
}  # fmt: skip


@pytest.mark.parametrize("lab", PAPERS)
def test_a_paper_is_cited_where_its_idea_is_taught(lab):
    text = notebooks.master(lab).read_text(encoding="utf-8")
    links = re.findall(r"\]\((https://(?:arxiv|doi)\.org/[^)]+)\)", text)
    assert all(any(link.endswith(paper) for link in links) for paper in PAPERS[lab])


# --- 09, 13: what students build ---------------------------------------------------------------------------------------------


def test_a_students_block_is_the_engine():
    lab = worked("09")
    assert says("09", "the value is Llama's, and the plain gradient is the walk back")
    assert (lab["mine"] - lab["whole"]).abs().max() < 1e-6 * lab["whole"].abs().max()


@pytest.mark.parametrize("product", ["half(q, k.mT)", "half(A, v)"])
def test_without_a_half_the_value_is_the_same_and_the_relevance_is_not(product):
    lab = worked("09")
    source = next(cell for cell in notebooks.master("09").read_text(encoding="utf-8").split("# %%") if "def block(" in cell)
    space = dict(lab)
    exec(source.replace(product, product.replace("half(", "torch.matmul(")), space)
    off = space["by_blocks"].__globals__["near"]
    inputs = torch.randn(4, 64, dtype=torch.float64), *lab["angles"](torch.arange(4), 16)
    layer = lab["model"].model.layers[0]
    a, m = layer.self_attn, layer.mlp
    parts = (
        layer.input_layernorm,
        a.q_proj,
        a.k_proj,
        a.v_proj,
        a.o_proj,
        layer.post_attention_layernorm,
        m.gate_proj,
        m.up_proj,
        m.down_proj,
    )
    weights = [part.weight.detach() for part in parts]
    torch.testing.assert_close(space["block"](*inputs, weights), lab["block"](*inputs, weights))
    assert not off(lab["by_blocks"](space["block"]), lab["mine"])


def test_a_rule_of_ones_own_is_closed_and_less_faithful_than_epsilon():
    lab = worked("13")
    assert says(
        "13",
        "The square rule everywhere has a gain of about 0.8, where epsilon has 1.2 and chance none; in layer 3 alone it costs nothing.",
    )
    assert lab["written"] and lab["mine"].name == "square"
    assert all(result.ledger.closed and result.ledger.audited for result in lab["found"].values())
    judged = lab["faithfulness"].measure(
        lab["model"], lab["tokenizer"], lab["faithfulness"].load("reviews", limit=20), lab["choices"], methods=lab["ours"]
    )
    gain = {name: judged.estimate(name, judged.measures[0]) for name in ("epsilon", "yours", "yours in layer 3", "random")}
    means = {name: estimate.mean for name, estimate in gain.items()}
    assert means["yours"] == pytest.approx(0.8, abs=0.05) and means["epsilon"] == pytest.approx(1.2, abs=0.05)
    assert means["yours in layer 3"] == pytest.approx(means["epsilon"], abs=0.02) and abs(means["random"]) < 0.2


def test_what_the_word_is_still_shows_under_a_rule_that_does_not_ask():
    assert says("13", "*dull* and *clumsy* still stand out")
    result = worked("13")["found"]["yours"]
    worth = result.relevance().abs()
    assert {result.tokens[i] for i in worth.topk(2).indices.tolist()} == {"dull", "clumsy"}


def test_the_table_of_the_first_lab_is_the_rule():
    assert says("01", "| output 1 | 3, 1, 1 | 3, 2, 1 | 6 | 3/6, 2/6, 1/6 | 6 | 3, 2, 1 |", "the inputs get 5, -2 and 5")
    assert says("01", "| output 2 | 1, -1, 2 | 1, -2, 2 | 1 | 1, -2, 2 | 2 | 2, -4, 4 |")
    x, weight, R = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([[3.0, 1.0, 1.0], [1.0, -1.0, 2.0]]), torch.tensor([6.0, 2.0])
    assert rules.epsilon.relevance(R, x, weight=weight)[0].tolist() == [5.0, -2.0, 5.0]


def test_rivals_say_of_one_sentence_what_the_lab_says():
    assert says(
        "11",
        "Its total is not even of the right sign",
        "most to `[CLS]`, then *not*, and nothing against",
        "Three agree on what matters most",
    )
    lab = worked("11")
    tokens, value = list(lab["case"].tokens), float(lab["case"].answer[lab["case"].target])
    assert lab["model"].config.id2label[lab["case"].target] == "positive"
    rivals = {name: R.double() for name, R in lab["rivals"].items()}
    assert rivals["gradient"].sum() < 0 < value and rivals["gradient"].abs().max() < value / 3
    for name in ("integrated", "Shapley", "PA-LRP"):
        assert tokens[int(rivals[name].argmax())] == "witty" and tokens[int(rivals[name].argmin())] == "not"
    assert [tokens[i] for i in rivals["rollout"].topk(2).indices.tolist()] == ["[CLS]", "not"] and rivals["rollout"].min() >= 0
    hidden = lab["case"].row["input_ids"].clone()
    hidden[1:-1] = lab["tokenizer"].unk_token_id
    change = value - float(lab["model"](hidden[None]).logits[0, lab["case"].target].detach())
    assert float(rivals["Shapley"].sum()) == pytest.approx(change, abs=1e-4)
    assert float(rivals["integrated"].sum()) == pytest.approx(change, abs=0.05)


def test_chance_is_within_two_of_its_errors():
    assert says("11", "Chance should gain nothing, and its number is within two of its errors of 0")
    chance = worked("11")["gains"]["random"]
    assert abs(float(chance.mean())) < 2 * float(chance.std()) / len(chance) ** 0.5


def test_answers_to_what_if_are_right():
    """Those with numbers."""
    assert says("03", "The tangent falls there (-0.09), the line rises (+0.12)", "Take x = -2:")
    x = torch.tensor(-2.0, requires_grad=True)
    (tangent,) = torch.autograd.grad(torch.nn.functional.silu(x), x)
    assert float(tangent) == pytest.approx(-0.09, abs=0.005) and float(x.detach().sigmoid()) == pytest.approx(0.12, abs=0.005)
    assert says("06", "so the word would get 12 and the place -4, instead of 2 and 6")
    E, P, R = torch.tensor([2.0, 1.0]), torch.tensor([1.0, -2.0]), torch.tensor([6.0, 2.0])
    late = [float(v.sum() / (E + P).sum() * R.sum()) for v in (E, P)]
    assert late == [12, -4] and [float((v / (E + P) * R).sum()) for v in (E, P)] == [2, 6]
    assert says("08", "256 tokens back cost 1") and 256 * 2**-8 == 1
    z, flat = torch.randn(2, 3), torch.randn(2, 3, requires_grad=True)
    wrong = (flat * z).mean(-1, keepdim=True).expand_as(z)
    for g, equal in ((torch.ones(2, 3), True), (torch.randn(2, 3), False)):
        ours, right = (torch.autograd.grad(y, flat, g, retain_graph=True)[0] for y in (wrong, flat * z))
        assert torch.allclose(ours, right) == equal


def test_the_first_picture_shows_the_answer_come_down():
    assert says("00", "stays there until the lowest layer hands it to *enjoyable* and *unabashedly*")
    result = found("reviews-rotary", zoo.task("reviews").examples[71].text)
    rows = {b.name: b.relevance.abs() for b in result.boundaries if b.kind in ("embeddings", "layer")}
    assert all(result.tokens[int(R.argmax())] == "[SEP]" for name, R in rows.items() if name != "embeddings")
    best = result.semantic.abs().topk(2).indices.tolist()
    assert {result.tokens[i] for i in best} == {"enjoyable", "unabashedly"}


def test_reslrp_stays_below_its_bound():
    assert says("05", "ResLRP stays below 3")
    b = torch.linspace(-1.99, 1, 3000, dtype=torch.float64)
    R, a = torch.ones_like(b), torch.ones_like(b)
    sizes_of = [sum(x.abs() for x in rule.relevance(R, a, b)) for rule in (rules.residual, rules.reslrp(1.0))]
    assert sizes_of[0].max() > 100 and sizes_of[1].max() < 3 + 1e-9


# --- 07, 08, 11: what places are worth -------------------------------------------------------------------------------------


def worth(name: str, text: Any, **how: Any) -> Any:
    model, tokenizer = loaded(name)
    return exchange(model, text, processor=tokenizer, **how)


def test_the_place_of_the_moon_is_worth_most():
    assert says(
        "07", "the darkest row is that of *moon* behind the question mark. Exchanged with almost any other word, the answer would lose."
    )
    one = worth("tasks-rotary", MOON, partners=None)
    place = int(one.absolute.nan_to_num(0.0).argmax())
    assert one.tokens[place] == "moon" and place > one.tokens.index("?")
    assert sum(float(one.matrix[place, i]) > 0 for i in one.places if int(i) != place) >= len(one.places) - 2


def test_the_true_pair_is_worth_most_with_alibi():
    assert says("08", "the place of *star* is worth most, and that of the last *mark* next")
    one = worth("tasks-alibi", "previous sun mark bird stone fish sun mark star mark", partners=None)
    first, second = one.signed.nan_to_num(0.0).topk(2).indices.tolist()
    assert one.tokens[first] == "star" and one.tokens[second] == "mark" and second == first + 1


def moved(encoding: str) -> tuple[Any, float, str]:
    """What exchange says of the mystery, what the model then says itself: its moon less its sun, and its answer."""
    model, tokenizer = loaded(f"tasks-{encoding}")
    one = worth(f"tasks-{encoding}", MOON, target="moon", contrast="sun", partners=None)
    order = [*range(12)]
    order[6], order[9] = 9, 6
    with permute_positions(model, order):
        logits = model(**tokenizer(MOON, return_tensors="pt")).logits[0].detach()
    label = model.config.label2id
    return one, float(logits[label["moon"]] - logits[label["sun"]]), model.config.id2label[int(logits.argmax())]


def test_the_estimate_of_the_mystery_is_right_for_rotary_alone_and_the_place_decides_in_four_of_five():
    assert says(
        "11", "For one: rotary", "With a *relative* bias a quarter is seen", "In four of five models because of where *moon* stands"
    )
    found = {encoding: moved(encoding) for encoding in ENCODINGS}
    assert [encoding for encoding, (_, _, answer) in found.items() if answer == "sun"] == ["absolute", "learnable", "rotary", "relative"]
    part = {encoding: float(one.matrix[6, 9]) / (one.value - then) for encoding, (one, then, _) in found.items()}
    assert part["rotary"] == pytest.approx(1, abs=0.03) and part["relative"] == pytest.approx(0.25, abs=0.03)
    assert max(part["absolute"], part["learnable"]) < 0.1 and part["alibi"] < 0


def test_biases_tell_order_where_no_mask_does():
    assert says(
        "08", "The first says *sun*", "The second still says *moon*, and is hardly less sure", "*moon* looks at itself", "at *order*"
    )
    for encoding, answer, other in (("relative", "sun", 1), ("alibi", "moon", 6)):
        one, then, said = moved(encoding)
        assert said == answer and (encoding == "relative" or 0 < one.value - then < 0.15 * one.value)
        how = {"target": "moon", "contrast": "sun", "options": Options(detail={"pairs"})}
        pairs = [table["relevance"] for table in found(f"tasks-{encoding}", MOON, **how).detail["pairs"].values()]
        darkest = max(pairs, key=lambda table: float(table.abs().max()))
        assert divmod(int(darkest.abs().argmax()), 12) == (6, other)
    assert loaded("tasks-alibi")[0].config.model_type == "mpt"  # which reads from left to right


def test_the_moon_exchanged_with_the_other_sun_loses_eleven():
    assert says("07", "With the other *sun* it would lose nearly 11")
    assert float(worth("tasks-rotary", MOON, partners=None).matrix[6, 9]) == pytest.approx(10.9, abs=0.1)


def test_exchange_tells_questions_that_need_order_and_the_account_does_not():
    assert says(
        "11", "In the account the three differ by less than a tenth; by exchange places are worth seven times as much where order decides."
    )
    model, tokenizer = loaded("tasks-rotary")
    by_exchange, account = {}, {}
    for kind in ("order", "previous", "majority"):
        texts = [question.text for question in zoo.task(kind).examples[:12]]
        by_exchange[kind] = sum(one.share for one in worth("tasks-rotary", texts)) / 12
        account[kind] = sum(one.positional_share for one in explain(model, texts, processor=tokenizer)) / 12
    assert min(by_exchange["order"], by_exchange["previous"]) > 7 * by_exchange["majority"]
    assert max(account.values()) - min(account.values()) < 0.1


# --- 03, 07 to 13: other numbers ----------------------------------------------------------------------------------------------


def test_numbers_that_stand_beside_a_picture():
    assert says("03", "turns 2.0 into 1.76") and float(torch.nn.functional.silu(torch.tensor(2.0))) == pytest.approx(1.76, abs=0.005)
    assert says("08", "a word 19 back has lost nearly 5, which a softmax makes to less than a hundredth")
    lost = torch.tensor(2.0 ** (-8 / 4) * 19)
    assert 4.7 < lost < 5 and (-lost).exp() < 0.01
    assert says("12", "it has read 7,770 sentences") and zoo.card("reviews-lm-rotary")["trained_on"] == 7770
    assert says("13", "`pelrp_nb/rules/epsilon.py` has fewer than 50 lines")
    assert len(Path(inspect.getfile(rules)).with_name("epsilon.py").read_text(encoding="utf-8").splitlines()) < 50


def test_but_is_said_for_not_and_the_comma():
    assert says("12", "Most comes from *not* and from the comma", "*Good*, of which a reader may think first, has next to nothing.")
    amounts = {word.text: word.relevance for word in found("reviews-lm-rotary", "not a good movie ,", target="but", contrast="and").words()}
    assert sorted(amounts, key=amounts.__getitem__)[-2:] == [",", "not"] and amounts["not"] + amounts[","] > 0.5 * 2.59
    assert abs(amounts["good"]) < 0.1 * amounts[","]


def test_a_rule_broken_on_purpose_closes_and_pays_otherwise():
    assert says("09", "A closed account says that nothing was lost. It does not say that it was shared out well.")
    lab = worked("09")
    assert lab["wrong"]["gap"].abs() < 1e-6 and not lab["near"](lab["wrong"]["tokens"], lab["page"])
    assert lab["near"](lab["page"], lab["hand"]) and lab["near"](lab["engine"], lab["hand"])


def test_both_methods_beat_chance_and_twelve_sentences_show_no_difference_between_them():
    assert says("11", "Both methods beat chance by far. Between them, twelve sentences about films show nothing")
    gains = worked("11")["gains"]

    def errors(one: str, other: str) -> float:
        d = gains[one] - gains[other]
        return float(d.mean() / (d.std() / len(d) ** 0.5))

    assert min(errors(method, "random") for method in ("PA-LRP", "AttnLRP")) > 4 and abs(errors("PA-LRP", "AttnLRP")) < 2


# --- 10: pictures --------------------------------------------------------------------------------------------------------------


def seen(name: str, scene: Any, label: int, composite: Any = PA_LRP_VISION) -> tuple[Any, dict[str, float]]:
    """An explained scene, and how much of the positive relevance of each of its maps lies inside the digit."""
    model, processor = loaded(name)
    result = explain(model, scene.image, processor=processor, target=label, composite=composite)
    truth = torch.from_numpy(scene.truth(scene.label))
    maps = {kind: result.maps[kind].clamp(min=0) for kind in ("content", "position")}
    return result, {kind: float(R[truth].sum() / R.sum()) for kind, R in maps.items()}


def test_the_position_map_of_the_rotary_model_does_not_cancel():
    assert says("10", "Position is the faint map", "does not cancel: 1.5 of 8.7 in all")
    scene = zoo.task("digit-scenes").examples[8]
    for name, position, both in (("scenes-rotary", 1.5, 8.7), ("scenes-learnable", 0.0, 2.5)):
        result, _ = seen(name, scene, scene.label)
        content, place = (float(result.maps[kind].sum()) for kind in ("content", "position"))
        assert [place, content + place] == pytest.approx([position, both], abs=0.05)


def test_epsilon_is_the_weakest_of_three_rules_for_pixels_and_all_beat_an_even_map():
    assert says("10", "All three are far above chance. Epsilon is the weakest")
    scenes = zoo.task("digit-scenes").examples[:12]
    mass = {}
    for rule in (rules.epsilon, rules.gamma(100), rules.zbox):
        composite = replace(PA_LRP_VISION, patch=rule)
        mass[repr(rule)] = sum(seen("scenes-learnable", scene, scene.label, composite)[1]["content"] for scene in scenes) / 12
    even = sum(float(scene.truth(scene.label).mean()) for scene in scenes) / 12
    assert min(mass, key=mass.__getitem__) == repr(rules.epsilon) and min(mass.values()) > 2 * even


def test_a_position_map_knows_the_question_where_positions_are_turned_and_not_where_they_are_added():
    """On sixty pictures: the text says what stays of what twelve show."""
    assert says("10", "while the rotary one stays (0.00 and 0.18, give or take 0.01)", "moves up in one model and down in the other")
    scenes = zoo.task("digit-scenes").examples[:60]
    for name, more, share_moves in (("scenes-learnable", 0.00, 1), ("scenes-rotary", 0.18, -1)):
        where, there = ([seen(name, scene, scene.label - less) for scene in scenes] for less in (0, 10))
        d = torch.tensor([one["position"] - other["position"] for (_, one), (_, other) in zip(where, there, strict=True)])
        assert float(d.mean()) == pytest.approx(more, abs=0.01) and float(d.std()) / 60**0.5 == pytest.approx(0.01, abs=0.005)
        shares = [sum(result.positional_share for result, _ in both[:12]) for both in (where, there)]
        assert (shares[0] - shares[1]) * share_moves > 0


# --- 14: from word to word -----------------------------------------------------------------------------------------------


def test_the_mystery_goes_by_two_steps():
    assert says("14", "handed to *order* and to the *?*; above, these hand it to `[CLS]`")
    edges = worked("14")["found"].routes.edges(2, layer="layer 0")
    assert {(e.token, e.other) for e in edges} == {("?", "moon"), ("order", "moon")}
    above = worked("14")["found"].routes.edges(2, layer="layer 1")
    assert all(e.token == "[CLS]" and e.other in ("order", "?") for e in above)
    swapped = worked("14")["swapped"]
    assert says("14", "Ten edges of more than a thousand keep nearly all of it")
    assert swapped.circuit(10).faithfulness > 0.95 and sum(int((~x.isnan()).sum()) for x in swapped.edges.values()) > 1000


def test_both_heads_are_found_patched_and_confirmed():
    assert says("14", "Look at the plain gradient of head 2: about -5, where the truth is nearly -25")
    first, second = worked("14")["lost"].true(2).to_frame().to_dict("records")
    assert (first["site"], second["site"]) == ("layer 0 head 2", "layer 1 head 3")
    assert first["gradient"] == pytest.approx(-5, abs=0.2) and first["measured"] == pytest.approx(-25, abs=0.6)
    assert worked("14")["other"].table()["name"][0] == "layer 1"
    assert says("14", "One edge alone keeps nothing")
    assert abs(worked("14")["lost"].circuit(1).faithfulness) < 0.02 and worked("14")["circuit"].faithfulness > 0.85
