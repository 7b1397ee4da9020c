"""A dose of random models; three thousand of them: `python tests/random_models.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_models import Figures, chunk
from randomly.by_hand import PLAIN
from randomly.check import checked, explained, faults
from randomly.design import Design
from randomly.spelt import ACTIVATIONS, BIASES
from torch import nn

import pelrp_nb
from pelrp_nb.engine.places.follow import Places

SIMPLE = Design(
    seed=0, streams="one", places=(4, 5), layers=1, heads=2, groups=1, head=4, width=6, norm="rms", where="pre", biases=True, added=None,
    turned="halves", scored=None, met=False, mixed=False, causal=False, window=None, capped=None, normed=False, parallel=False,
    perceptron="swiglu", pool="last",
)  # fmt: skip


def test_random_models_are_explained_alike_in_two_spellings_and_by_hand():
    figures = Figures()
    chunk(0, 6, figures.add)
    assert len(figures.seen) >= 4 and figures.furthest < 1e-12


@pytest.mark.parametrize("layout", ["sequence first", "no batch"])
@pytest.mark.parametrize("design", [
    replace(SIMPLE, turned=None, scored="bias"), replace(SIMPLE, turned=None, scored="alibi"), replace(SIMPLE, turned=None, scored="decay"),
    replace(SIMPLE, met=True), replace(SIMPLE, streams="cross", met=True), replace(SIMPLE, turned="pairs", met=True, mixed=True),
], ids=["bias", "alibi", "decay", "met", "across", "met and mixed"])  # fmt: skip
def test_what_enters_scores_is_found_whatever_axis_comes_first(design, layout):
    for met in ("gathered", "summed"):
        for attend in ("fused", "matmul"):
            spelt = replace(PLAIN, layout=layout, met=met, attend=attend)
            assert checked(design, spelt, PLAIN, "pa-lrp")


@pytest.mark.parametrize("composite", ["pa-lrp", "cp-lrp", "delta-lrp"])
@pytest.mark.parametrize("changed", [
    {"product": "einsum"}, {"linear": "matmul"}, {"linear": "matmul", "activation": 3}, {"linear": "einsum", "activation": 2},
    {"linear": "addmm", "skip": "stacked", "layout": "sequence first"},
], ids=str)  # fmt: skip
def test_a_linear_map_a_gate_and_a_skip_are_what_they_compute(changed, composite):
    for design in (replace(SIMPLE, biases=False, added="learnable"), replace(SIMPLE, perceptron="glu", biases=False)):
        assert checked(design, replace(PLAIN, **changed), PLAIN, composite)


def test_a_rotation_written_place_by_place_loses_no_length_under_delta_attention():
    assert checked(replace(SIMPLE, turned="pairs"), replace(PLAIN, turn=4), PLAIN, "delta-lrp")


def test_rows_behind_places_are_refused_together_and_explained_one_by_one():
    design, spelt = replace(SIMPLE, added="waves"), replace(PLAIN, layout="sequence first")
    with pytest.raises(pelrp_nb.errors.InputError, match="must lie along the first axis of `first`"):
        explained(design, replace(spelt, rows=2), "pa-lrp")
    assert explained(design, spelt, "pa-lrp").closed


def test_other_rules_than_those_said_are_noticed_by_hand(monkeypatch):
    assert checked(SIMPLE, PLAIN, replace(PLAIN, attend="fused"), "pa-lrp")
    monkeypatch.setattr("randomly.check.as_composite", lambda name: pelrp_nb.CP_LRP)
    wrong, _ = faults(SIMPLE, PLAIN, replace(PLAIN, attend="fused"), "pa-lrp")
    assert wrong and all("by hand" in told for told in wrong)


# --- kinds that random models found ----------------------------------------------------------------------------------

MET = ("gathered", "each pair", "summed", "matmul")


def test_a_gate_of_relu_is_a_gate_however_it_is_written(monkeypatch):
    relus = (
        torch.relu, lambda x: x.clamp(min=0), lambda x: torch.where(x > 0, x, 0.0), lambda x: x.masked_fill(x < 0, 0.0),
        lambda x: x * (x > 0), lambda x: (x > 0).to(x.dtype) * x, lambda x: torch.maximum(x, torch.zeros_like(x)),
    )  # fmt: skip
    for some in (relus[:4], (torch.relu, *relus[4:])):
        monkeypatch.setitem(ACTIVATIONS, "relu", some)
        for number in range(4):
            for composite in ("cp-lrp", "pa-lrp"):
                assert checked(replace(SIMPLE, perceptron="reglu"), replace(PLAIN, activation=number), PLAIN, composite)


def test_what_is_chosen_by_another_tensor_is_no_activation():
    class Chosen(nn.Module):
        def forward(self, x, y):
            return (torch.where(self.chosen_by(x, y) > 0, x, 0.0) * y).sum()

    def tokens(chosen_by):
        model, x = Chosen(), torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64)
        model.chosen_by = chosen_by
        with pelrp_nb.propagate(model, "cp-lrp") as flow:
            return flow.trace(model(x, x * 0 + 2)).semantic.sum()

    own, others = tokens(lambda x, y: x), tokens(lambda x, y: y)
    assert own == 0 and others == 2  # a gate is a constant; half of a product


@pytest.mark.parametrize("layout", ["batch first", "sequence first", "no batch"])
@pytest.mark.parametrize("scored", ["bias", "alibi"])
def test_a_bias_beside_relative_embeddings_is_one_before_they_meet_scores(scored, layout):
    design = replace(SIMPLE, turned=None, met=True, scored=scored)
    for met in MET:
        for composite in ("pa-lrp", "delta-lrp"):
            assert checked(design, replace(PLAIN, met=met, attend="fused", layout=layout), PLAIN, composite)


@pytest.mark.parametrize("way", ["row by row", "head by head", "head and row", "row and head"])
def test_a_bias_added_in_a_loop_is_credited_alike_where_heads_are_as_many_as_places(way, monkeypatch):
    loops = {
        "head by head": lambda s, b: torch.stack([s[..., h, :, :] + b[h] for h in range(len(b))], -3),
        "head and row": lambda s, b: stacked([[s[..., h, i, :] + b[h, i] for i in range(b.shape[1])] for h in range(len(b))]),
        "row and head": lambda s, b: stacked([[s[..., h, i, :] + b[h, i] for h in range(len(b))] for i in range(b.shape[1])]).transpose(
            -3, -2
        ),
    }
    monkeypatch.setattr("randomly.spelt.BIASES", BIASES | loops)
    for scored in ("alibi", "bias"):
        for layout in ("batch first", "no batch"):
            design = replace(SIMPLE, turned=None, scored=scored, heads=4, places=(4, 4), causal=True)
            assert checked(design, replace(PLAIN, bias=way, layout=layout), PLAIN, "pa-lrp")


def stacked(rows):
    return torch.stack([torch.stack(row, -2) for row in rows], -3)


def test_a_bias_added_key_by_key_says_that_it_is_not_centred(monkeypatch):
    by_key = {"key by key": lambda s, b: torch.stack([s[..., j] + b[..., j] for j in range(b.shape[-1])], -1)}
    monkeypatch.setattr("randomly.spelt.BIASES", BIASES | by_key)
    told = []
    monkeypatch.setattr(Places, "note", lambda self, text, place: told.append(text))
    one = explained(replace(SIMPLE, turned=None, scored="bias"), replace(PLAIN, bias="key by key"), "pa-lrp")
    two = explained(replace(SIMPLE, turned=None, scored="bias"), PLAIN, "pa-lrp")
    assert one.closed and abs(one.lines["positions"] - two.lines["positions"]) < 1e-12
    assert len({text for text in told if "key by key" in text}) == 1


@pytest.mark.parametrize("composite", ["pa-lrp", "delta-lrp"])
@pytest.mark.parametrize("layout", ["sequence first", "no batch", "batch first"])
def test_places_taken_one_by_one_stay_places_whatever_axis_comes_first(layout, composite):
    spelt = replace(PLAIN, turn=4, tables="buffers", layout=layout, bias="row by row")
    for design in (
        replace(SIMPLE, turned="pairs", scored="alibi", mixed=True, layers=2),
        replace(SIMPLE, turned="pairs", scored="alibi", places=(2, 4)),
        replace(SIMPLE, turned="pairs", scored="bias", streams="cross", places=(2, 5)),
    ):  # fmt: skip
        if not (design.mixed and composite == "delta-lrp"):
            assert checked(design, spelt, PLAIN, composite)


@pytest.mark.parametrize("turn", [3, 4])
@pytest.mark.parametrize("streams", ["one", "cross"])
def test_a_rotation_by_matrices_or_in_a_loop_is_told_from_relative_embeddings(streams, turn):
    design = replace(SIMPLE, turned="pairs", met=True, streams=streams, places=(2, 4))
    for layout in ("batch first", "sequence first"):
        for composite in ("pa-lrp", "delta-lrp"):
            assert checked(design, replace(PLAIN, turn=turn, met="summed", layout=layout), PLAIN, composite)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_a_bias_that_is_a_constant_is_booked_for_each_row_of_a_batch(heads):
    design = replace(SIMPLE, turned=None, scored="alibi", heads=heads, places=(2, 4))
    for rows, row in ((2, 1), (3, 0)):
        assert checked(design, replace(PLAIN, attend="fused", rows=rows, row=row), PLAIN, "attn-lrp")


def test_two_relative_embeddings_of_one_layer_are_one_sink_and_their_sum():
    one, other = (explained(replace(SIMPLE, turned=None, met=True, mixed=mixed), PLAIN, "pa-lrp").sinks["first"] for mixed in (True, False))
    assert [kind for kind, _ in one] == [kind for kind, _ in other] == ["relative embedding"]
    assert checked(replace(SIMPLE, turned=None, met=True, mixed=True), replace(PLAIN, met="summed", mixed="matmul"), PLAIN, "pa-lrp")


def test_delta_attention_goes_no_further_back_than_to_linear_maps_beside_relative_embeddings():
    design = replace(SIMPLE, added="learnable", turned=None, met=True)
    assert checked(design, replace(PLAIN, linear="einsum", met="summed"), PLAIN, "delta-lrp")
