"""What a person mistypes in options, composites and results, and what is said: what must hold, what came, what to type.

Every row is one mistake.  The words are asserted whole, so that no message can lose its last part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import pelrp_nb
from pelrp_nb import PA_LRP, Composite, Options, explain, plan, propagate, rules, zoo
from pelrp_nb.composites import NAMED
from pelrp_nb.errors import CallError, InputError, PelrpError

TEXT = "a dull film"
NAMES = ", ".join(NAMED)
NOT = "composite must be a Composite or the name of one, got"


@pytest.fixture(scope="module")
def loaded():
    return zoo.load("reviews-rotary")


def asked(**given: Any) -> Callable:
    """`explain` with these, on a small model."""
    return lambda model, tokenizer: explain(model, TEXT, **{"processor": tokenizer, **given})


def entered(composite: Any) -> Callable:
    def enter(model, tokenizer):
        with propagate(model, composite):
            pass

    return enter


CALLS: dict[str, tuple[Callable, str]] = {
    "method": (asked(method="attn-lrp"), "explain has no argument `method`. Type composite='attn-lrp'."),
    "rule": (asked(rule=rules.epsilon), "explain has no argument `rule`. Type composite=epsilon."),
    "audit": (asked(audit=True), "explain has no argument `audit`. Type options=pelrp_nb.Options(audit=True)."),
    "detail": (asked(detail={"heads"}), "explain has no argument `detail`. Type options=pelrp_nb.Options(detail={'heads'})."),
    "label": (asked(label="positive"), "explain has no argument `label`. Type target='positive'."),
    "baseline": (asked(baseline=0), "explain has no argument `baseline`. Type contrast=0."),
    "device": (
        asked(device="cuda"),
        "explain has no argument `device`. Type explain(model.to('cuda'), inputs): it runs where the model is.",
    ),
    "batch size": (asked(batch_size=8), "explain has no argument `batch_size`. Type it without: inputs are batched by their lengths."),
    "misspelt": (asked(tagret="positive"), "explain has no argument `tagret`. Did you mean target? Type target='positive'."),
    "nothing like it": (
        asked(colour="red"),
        "explain has no argument `colour`. It takes model, inputs, processor, target, contrast, composite, options. Type one of them.",
    ),
    "tokenizer": (lambda m, t: explain(m, TEXT, tokenizer=t), "explain has no argument `tokenizer`. Type processor=tokenizer."),
    "by place": (
        lambda m, t: explain(m, TEXT, t),
        "explain takes model and inputs by place and the rest by name; 3 came by place. Type explain(model, inputs, processor=...).",
    ),
    "no inputs": (lambda m, t: explain(m, processor=t), "explain needs inputs, and none came. Type explain(model, inputs)."),
    "in the other order": (
        lambda m, t: explain(TEXT, m, processor=t),
        "The model comes first, and LlamaForSequenceClassification came second. Type explain(model, inputs).",
    ),
    "tensors by name": (
        lambda m, t: explain(m, input_ids=1),
        'explain has no argument `input_ids`. Type explain(model, {"input_ids": ...}) with all of them in one mapping.',
    ),
    "twice": (
        lambda m, t: explain(m, TEXT, model=m),
        "explain: multiple values for argument 'model'. Type each argument once.",
    ),
    "a target to plan": (
        lambda m, t: plan(m, TEXT, processor=t, target=1),
        "plan has no argument `target`. Type plan without it: all targets have one forward pass.",
    ),
    "a detail as an option": (
        lambda m, t: Options(heads=True),
        'Options has no argument `heads`. Type Options(detail={...}) with its name, as in Options(detail={"heads"}).',
    ),
    "an option misspelt": (lambda m, t: Options(audti=True), "Options has no argument `audti`. Did you mean audit? Type audit=True."),
    "a field misspelt": (
        lambda m, t: replace(PA_LRP, linaer=rules.epsilon),
        "Composite has no argument `linaer`. Did you mean linear? Type linear=epsilon.",
    ),
}

WRONG: dict[str, tuple[Callable, str]] = {
    "the class itself": (
        asked(composite=Composite),
        f'{NOT} the class Composite itself. Type composite="pa-lrp", composite=PA_LRP, or replace(PA_LRP, ...).',
    ),
    "a rule": (
        asked(composite=rules.gamma(0.1)),
        f"{NOT} the rule gamma(0.1). A rule serves one kind of operation. Type composite=replace(PA_LRP, linear=rules.gamma(0.1)).",
    ),
    "the name of a rule": (
        asked(composite="epsilon"),
        f"{NOT} 'epsilon'. A rule serves one kind of operation. Type composite=replace(PA_LRP, linear=rules.epsilon).",
    ),
    "a name misspelt": (
        asked(composite="atn-lrp"),
        f"{NOT} 'atn-lrp'. Did you mean 'attn-lrp'? Type composite='attn-lrp', or one of {NAMES}.",
    ),
    "a name of another method": (
        asked(composite="saliency"),
        f"{NOT} 'saliency'. Type composite='pa-lrp', or one of {NAMES}.",
    ),
    "a mapping of rules": (
        asked(composite={"linear": rules.epsilon}),
        f'{NOT} dict. Type composite=replace(PA_LRP, linear=rules.gamma(0.05)), or PA_LRP.where({{"layer 3": {{...}}}}) for single layers.',
    ),
    "several": (
        asked(composite=["pa-lrp", "cp-lrp"]),
        f'{NOT} list. For several of them type pelrp_nb.compare_methods(model, inputs, composites=("pa-lrp", "attn-lrp")).',
    ),
    "none": (
        asked(composite=None),
        f'{NOT} NoneType. Type composite="pa-lrp", composite=PA_LRP, or replace(PA_LRP, ...).',
    ),
    "the class, in plan": (
        lambda m, t: plan(m, TEXT, processor=t, composite=Composite),
        f'{NOT} the class Composite itself. Type composite="pa-lrp", composite=PA_LRP, or replace(PA_LRP, ...).',
    ),
    "a name misspelt, in propagate": (
        entered("palrp"),
        f"{NOT} 'palrp'. Did you mean 'pa-lrp'? Type composite='pa-lrp', or one of {NAMES}.",
    ),
    "options as a dict": (
        asked(options={"audit": True, "detial": {"heads"}}),
        "options must be Options, got a dict. Type options=pelrp_nb.Options(audit=True, detail={'heads'}).",
    ),
    "options as a detail": (
        asked(options={"pairs"}),
        'options must be Options, got a set. Type options=pelrp_nb.Options(detail={"heads"}).',
    ),
    "options as a word": (asked(options="pairs"), 'options must be Options, got a str. Type options=pelrp_nb.Options(detail={"pairs"}).'),
    "options as a flag": (asked(options=True), "options must be Options, got a bool. Type options=pelrp_nb.Options(audit=True)."),
    "the class Options": (
        asked(options=Options),
        "options must be Options, got the class Options itself. Type options=pelrp_nb.Options(audit=True).",
    ),
    "options to plan": (
        lambda m, t: plan(m, TEXT, processor=t, options={"checkpoint": True}),
        "options must be Options, got a dict. Type options=pelrp_nb.Options(checkpoint=True).",
    ),
    "a detail that is none": (
        lambda m, t: Options(detail={"layers"}),
        'detail must be some of heads, query_key, frequencies, pairs; got layers. Type Options(detail={"heads"}).',
    ),
    "a detail as a flag": (
        lambda m, t: Options(detail=True),
        'detail must be some of heads, query_key, frequencies, pairs; got True. Type Options(detail={"heads"}).',
    ),
    "a flag as a word": (lambda m, t: Options(audit="yes"), "audit must be True or False, got 'yes'. Type Options(audit=True)."),
    "a list to watch": (lambda m, t: Options(watch=[]), "watch must be a function of a boundary, got list. Type Options(watch=print)."),
}


def test_composites_go_by_their_names(loaded):
    model, tokenizer = loaded
    for name in ("attn-lrp", "ATTN_LRP", " Attn-LRP"):
        found = explain(model, TEXT, processor=tokenizer, composite=name)
        assert found == explain(model, TEXT, processor=tokenizer, composite=pelrp_nb.ATTN_LRP)
    assert plan(model, TEXT, processor=tokenizer, composite="cp-lrp").method == "cp-lrp"
    with propagate(model, "cp-lrp") as flow:
        assert flow.composite == pelrp_nb.CP_LRP


def test_one_detail_may_stand_alone():
    assert Options(detail="heads") == Options(detail={"heads"})


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_does_not_fit_is_told_what_to_type(name, loaded):
    wrong, words = CALLS[name]
    with pytest.raises(CallError) as caught:
        wrong(*loaded)
    assert str(caught.value) == words and isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_composite_and_no_options_is_refused(name, loaded):
    wrong, words = WRONG[name]
    with pytest.raises(InputError) as caught:
        wrong(*loaded)
    assert str(caught.value) == words and isinstance(caught.value, PelrpError)
