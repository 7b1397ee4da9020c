"""A dose of random models; three thousand of them: `python tests/random_models.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from random_models import Figures, chunk
from randomly.by_hand import PLAIN
from randomly.check import checked, explained, faults
from randomly.design import Design

import pelrp_nb

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
