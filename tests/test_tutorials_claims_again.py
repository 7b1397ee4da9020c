"""What the course says of its models is true: sentences that a second reader asked for, and numbers that had no test."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from course_text import AUDIT, MOON, found, loaded, says, worked

from pelrp_nb import PA_LRP, PA_LRP_VISION, exchange, explain, rules, zoo
from pelrp_nb.engine import in_a_page
from pelrp_nb.rules.absolute import sinusoids

FILM = "a gorgeous , witty film"


def test_nearly_half_of_the_first_answer_is_kept_by_the_softmax():
    assert says("00", "here nearly half of the answer, which no word gets")
    book = found("reviews-rotary", zoo.task("reviews").examples[71].text, options=AUDIT).ledger
    assert 0.45 < sum(book.softmax.values()) / book.value < 0.5 and book.stabilisers == 0


def test_the_largest_constant_is_the_vector_that_every_word_gets():
    assert says("02", "here above all one vector that is added to every word alike (`token_type_embeddings`)")
    constants = {name: abs(amount) for name, amount in found("reviews-learnable", FILM, options=AUDIT).ledger.constants.items()}
    assert "token_type_embeddings" in max(constants, key=constants.__getitem__) and any("bias" in name for name in constants)


def test_a_border_is_named_after_the_layer_that_gave_out_what_crosses_it():
    """Between the answer and the border of the uppermost layer lies the classifier alone."""
    assert says("02", "`layer 3` is the border where we have walked back through the classifier and arrive at what layer 3 gave out")
    result = found("reviews-learnable", FILM, options=AUDIT)
    assert list(result.ledger.layers) == ["layer 3", "layer 2", "layer 1", "layer 0", "embeddings"]
    border = next(b for b in result.boundaries if b.name == "layer 3")
    behind = sum(amount for name, amount in result.ledger.constants.items() if "classifier" in name or "pooler" in name)
    assert float(border.relevance.sum()) + behind == pytest.approx(result.value, abs=1e-5)


def test_shares_and_sizes_that_stand_in_the_text():
    assert says("01", "with it, it never exceeds 1/0.2 = 5")
    z = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    assert float((1 / torch.where(z < 0, z - 0.2, z + 0.2)).abs().max()) == pytest.approx(5)
    assert says("05", "| 3 | 1 | 0.75 | 0.25 |", "| 10 | -9 | 10 | -9 |", "| 10 | -9.99 | 1000 | -999 |", "with 9/19", "$2^{10} = 1024$")
    for a, b, paid in ((3.0, 1.0, [0.75, 0.25]), (10.0, -9.0, [10, -9]), (10.0, -9.99, [1000, -999])):
        a, b, R = (torch.tensor([x], dtype=torch.float64) for x in (a, b, 1.0))
        assert [float(x) for x in rules.residual.relevance(R, a, b)] == pytest.approx(paid)
    assert says("14", "the second word, hardly looked at, gets 2 and the first 0.9")
    assert (torch.tensor([0.9, 0.1]) * torch.tensor([1.0, 20.0])).tolist() == pytest.approx([0.9, 2])
    assert says("07", "An angle of 1 is 57 degrees") and round(180 / torch.pi) == 57


def test_a_shift_of_all_places_leaves_signed_totals_and_changes_sizes():
    assert says("07", "the answer and the signed total stay. The sizes do not")
    model, tokenizer = loaded("tasks-rotary")
    ids = tokenizer(MOON, return_tensors="pt")
    places = torch.arange(ids["input_ids"].shape[1])[None]
    results = [explain(model, {**ids, "position_ids": places + start}, processor=tokenizer) for start in (0, 7, 20)]
    signed, sizes = ([float(one.parts(kind)[1].sum()) for one in results] for kind in ("signed", "absolute"))
    assert signed == pytest.approx([signed[0]] * 3, abs=5e-5) and [one.value for one in results] == pytest.approx([results[0].value] * 3)
    assert min(abs(one - sizes[0]) for one in sizes[1:]) > 0.1


def test_gamma_is_a_dial_between_the_plain_rule_and_all_to_the_branch_that_agrees():
    assert says("05", "At 0 the rule is the plain one", "until in the end it gets all, and the other nothing")
    a, b, R = (torch.tensor([x], dtype=torch.float64) for x in (3.0, -2.0, 1.0))
    for gamma, paid in ((1e-9, (3, -2)), (1e9, (1, 0))):
        assert [float(x) for x in rules.reslrp(gamma).relevance(R, a, b)] == pytest.approx(paid, abs=1e-6)
    agreeing = [float(rules.reslrp(gamma).relevance(R, a, b)[0]) for gamma in (0.1, 1.0, 10.0)]
    assert agreeing == sorted(agreeing, reverse=True)  # from 3 down to 1, of which -2 up to 0 is the other side


def test_the_upper_waves_tell_neighbours_apart_and_the_lower_hardly_move():
    assert says("06", "the upper waves tell neighbours apart; the lower ones hardly move in sixty words")
    table = sinusoids(60, 32)
    steps = (table[1:] - table[:-1]).abs().mean(0)
    assert steps[:2].min() > 0.5 and (table[-1, -2:] - table[0, -2:]).abs().max() < 0.02


def test_the_block_that_students_build_is_described_as_it_is():
    config = loaded("reviews-rotary")[0].config
    assert says("09", "two heads of queries share one of keys and values") and config.num_attention_heads == 2 * config.num_key_value_heads
    assert says("09", r"$\epsilon = 10^{-6}$ in the root") and config.rms_norm_eps == 1e-6
    assert says("09", "A model with 4 layers") and config.num_hidden_layers == 4
    assert says("09", "one page, ten rules")
    assert inspect.getsource(in_a_page).count("\n    @bends(") == 10


def test_the_three_is_found_and_other_digits_hardly_matter():
    assert says("10", "The 3 is found, and the other three digits hardly matter.", r"($\gamma$ = 0.05)", r"($\gamma$ = 100)")
    assert (repr(PA_LRP_VISION.linear), repr(PA_LRP_VISION.patch)) == ("gamma(0.05)", "gamma(100)")
    model, processor = loaded("scenes-learnable")
    scene = zoo.task("digit-scenes").examples[8]
    result = explain(model, scene.image, processor=processor, target="3 is in the upper left", composite=PA_LRP_VISION)
    R = result.maps["content"].clamp(min=0)
    inside = {digit: float(R[torch.from_numpy(scene.truth(digit))].sum() / R.sum()) for digit in (0, 3, 6, 7)}
    assert inside.pop(3) > 4 * sum(inside.values())


def test_the_answer_falls_within_a_fifth_of_the_way_and_the_estimate_goes_straight_on():
    assert says("11", "for two fifths of the way hardly anything moves, then the model changes its mind in a fifth of it")
    lab = worked("11")
    rather = dict(zip(lab["way"].mul(20).round().int().tolist(), lab["rather"], strict=True))
    whole = rather[0] - rather[20]
    assert rather[0] - rather[8] < 0.03 * whole and rather[8] - rather[12] > 0.9 * whole
    assert abs(float(lab["slope"])) < 0.1 * whole
    assert torch.equal(lab["P"].detach(), lab["own"])  # the model is left as it was
    model, tokenizer = loaded("tasks-learnable")
    truth = exchange(model, MOON, processor=tokenizer, target="moon", contrast="sun", partners=None)
    assert truth.value == pytest.approx(rather[0], abs=1e-3)


def test_flat_gains_what_is_said():
    assert says("13", "(Flat, if it still stands in for yours, has 0.7.)")
    lab = worked("13")
    composite = replace(PA_LRP, linear=lab["flat"])
    judged = lab["faithfulness"].measure(
        lab["model"], lab["tokenizer"], lab["faithfulness"].load("reviews", limit=20), lab["choices"],
        methods={"flat": lab["judged"](composite)},
    )  # fmt: skip
    assert judged.estimate("flat", judged.measures[0]).mean == pytest.approx(0.7, abs=0.05)


def test_a_circuit_is_printed_with_the_reading_and_routes_against_it():
    assert says("14", "who hands on -> who receives: relevance runs against the reading", "A circuit is printed with the reading")
    lab = worked("14")
    assert "'moon' at 3 -> 'sun' at 7" in str(lab["circuit"]) and "'?' at 4 -> 'moon' at 6" in str(lab["found"].routes)


def test_the_page_of_the_course_counts_its_exercises():
    from pelrp_nb.labs import course

    page = (Path(__file__).resolve().parent.parent / "docs" / "howto" / "grade.md").read_text(encoding="utf-8")
    assert f"Fifteen labs with {len(course.ALL)} exercises" in page and len(course.LABS) == 15
