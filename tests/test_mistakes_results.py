"""What a person mistypes in options, composites and results, and what is said: what must hold, what came, what to type.

Every row is one mistake.  The words are asserted whole, so that no message can lose its last part.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made import made
from matplotlib.figure import Figure

import pelrp_nb
from pelrp_nb import PA_LRP, Composite, Options, aggregate, compare_methods, explain, plan, propagate, rules, zoo
from pelrp_nb.composites import NAMED
from pelrp_nb.engine.trace import Boundary
from pelrp_nb.errors import CallError, InputError, PelrpError

TEXT = "a dull film"
NAMES = ", ".join(NAMED)
NOT = "composite must be a Composite or the name of one, got"


@pytest.fixture(scope="module")
def loaded():
    return zoo.load("reviews-rotary")


@pytest.fixture(scope="module")
def found(loaded):
    return explain(loaded[0], [TEXT, "fine"], processor=loaded[1])


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
        'detail must be some of heads, query_key, frequencies, pairs, coordinates, routes; got layers. Type Options(detail={"heads"}).',
    ),
    "a detail as a flag": (
        lambda m, t: Options(detail=True),
        'detail must be some of heads, query_key, frequencies, pairs, coordinates, routes; got True. Type Options(detail={"heads"}).',
    ),
    "a flag as a word": (lambda m, t: Options(audit="yes"), "audit must be True or False, got 'yes'. Type Options(audit=True)."),
    "a list to watch": (lambda m, t: Options(watch=[]), "watch must be a function of a boundary, got list. Type Options(watch=print)."),
}

FIELDS: dict[str, tuple[Callable, str]] = {
    "positions": (
        lambda r, f, ax: Composite(positions="sinks"),
        'positions must be "sink" or "constant", got \'sinks\'. Type replace(composite, positions="sink").',
    ),
    "unknown": (
        lambda r, f, ax: Composite(unknown="accept"),
        'unknown must be "refuse" or "gradient", got \'accept\'. Type replace(composite, unknown="refuse").',
    ),
    "start": (
        lambda r, f, ax: Composite(start="logit"),
        "start must be \"value\" or a number, got 'logit'. Type replace(composite, start=1.0).",
    ),
    "values": (lambda r, f, ax: Composite(values=True), "values must be a number, got True. Type replace(composite, values=0.5)."),
    "a number for a rule": (
        lambda r, f, ax: Composite(linear=0.1),
        "linear must be a Rule, got 0.1. Type replace(composite, linear=rules.epsilon).",
    ),
    "the name of a rule, in a field": (
        lambda r, f, ax: Composite(gate="constant"),
        "gate must be a Rule, got 'constant'. Type replace(composite, gate=rules.constant).",
    ),
    "one composite to compare": (
        lambda r, f, ax: compare_methods(None, TEXT, composites="pa-lrp"),
        'composites must be several Composites or names, got str. Type composites=("pa-lrp", "attn-lrp").',
    ),
    "none to compare": (
        lambda r, f, ax: compare_methods(None, TEXT, composites=[]),
        'composites must be several Composites or names, got none. Type composites=("pa-lrp", "attn-lrp").',
    ),
    "one twice": (
        lambda r, f, ax: compare_methods(None, TEXT, composites=["pa-lrp", PA_LRP]),
        "Each composite must be given once, and one came twice. Type each of them once.",
    ),
    "methods": (
        lambda r, f, ax: compare_methods(None, TEXT, methods=("pa-lrp",)),
        "compare_methods has no argument `methods`. Type composites=('pa-lrp',).",
    ),
}

OFFERED = "signed, absolute, positive, l2"
COLOURS = 'Type colours={"content": "black", "position": "tab:orange"}.'
RESULTS: dict[str, tuple[Callable, str]] = {
    "a reduction": (
        lambda r, f, ax: r.relevance("abs"), f"reduction must be one of {OFFERED}; got 'abs'. Type relevance('signed').",
    ),
    "a reduction of words": (
        lambda r, f, ax: r.words("mean"), f"reduction must be one of {OFFERED}; got 'mean'. Type relevance('signed').",
    ),
    "an item": (
        lambda r, f, ax: r["dull"], "An explanation has no items, and 'dull' was asked for. Type result.relevance()[0], or result.words().",
    ),
    "a loop": (
        lambda r, f, ax: list(r), "An explanation has no items, and 0 was asked for. Type result.relevance()[0], or result.words().",
    ),
    "scores": (lambda r, f, ax: r.scores, "An explanation has no `scores`. Type relevance()."),
    "logits": (lambda r, f, ax: r.logits, "An explanation has no `logits`. Type value, and target for its name."),
    "plot": (lambda r, f, ax: r.plot(), "An explanation has no `plot`. Type figure(), or explore() in a notebook."),
    "closed": (lambda r, f, ax: r.closed, "An explanation has no `closed`. Type ledger.closed, ledger.gap or ledger.opened."),
    "an attribute misspelt": (lambda r, f, ax: r.semantics, "An explanation has no `semantics`. Type semantic."),
    "a list of one": (
        lambda r, f, ax: r.matrix(), "An explanation has no `matrix`. Type explain(model, [one, other]) for several, which have it.",
    ),
    "one of several": (
        lambda r, f, ax: f.semantic,
        "`semantic` is of one explanation, and these are 2. Type found[0].semantic, or [e.semantic for e in found].",
    ),
    "a name that is none of several": (
        lambda r, f, ax: f["a fine film"],
        "No explanation is called 'a fine film'; they are 'a dull film', 'fine'. Type found['a dull film'], or a number.",
    ),
    "too far": (lambda r, f, ax: f[7], "There are 2 explanations, and number 7 was asked for. Type found[0] or found[-1]."),
    "too far, among numbers": (
        lambda r, f, ax: f[[0, -3]], "There are 2 explanations, and number -3 was asked for. Type found[0] or found[-1].",
    ),
    "no number": (lambda r, f, ax: f[1.5], "An explanation goes by its number or its name, got 1.5. Type found[0], or found[:10]."),
    "flags": (lambda r, f, ax: f[[True]], "There must be one flag for each explanation, 2, got 1. Type found[[0, 2]]."),
    "a matrix of none": (
        lambda r, f, ax: f[:0].matrix(),
        "There must be an explanation to make a matrix of, got none. Type explain(model, texts, ...).matrix().",
    ),
    "names to compare": (
        lambda r, f, ax: f.compare(["a"]), "There must be one name per result, 2, got 1. Type names=[...] with all of them.",
    ),
    "one to aggregate by": (
        lambda r, f, ax: f.aggregate("tokens"),
        'by must be one of token, position, layer, head, distance; got \'tokens\'. Type aggregate(explanations, by="token").',
    ),
    "a frame to aggregate": (
        lambda r, f, ax: aggregate(f.to_frame()),
        "aggregate takes explanations, got DataFrame. Type aggregate(explain(model, texts, ...)).",
    ),
    "layers without a ledger": (
        lambda r, f, ax: made(boundaries=()).layers,
        "layers needs the boundaries of layers, and this explanation has none: it was made with Options(ledger=False), or the model has no "
        "layers. Type explain(model, inputs) without it.",
    ),
    "layers that grow narrow": (
        lambda r, f, ax: made(("a",), boundaries=[Boundary(f"layer {n}", "layer", n, torch.ones(n + 1)) for n in range(2)]).layers,
        "layers must be of one shape to be one array, got [(1,), (2,)]. Type result.boundaries for each of them.",
    ),
    "heads without the detail": (
        lambda r, f, ax: r.heads,
        'heads needs the heads of an attention, and this explanation has none. Type explain(..., options=Options(detail={"heads"})).',
    ),
    "a layer that is not there": (
        lambda r, f, ax: r.layers["layer 9"],
        "There is no row 'layer 9'; the rows are layer 0, layer 1, layer 2, layer 3. Type ['layer 3'] or a number.",
    ),
    "a kind of LaTeX": (lambda r, f, ax: r.to_latex("tabular"), "kind must be words or table, got 'tabular'. Type to_latex('table')."),
    "a kind of figure": (
        lambda r, f, ax: r.figure("neurons"),
        "kind must be one of all, text, tokens, layers, waterfall, ledger, spectrum, routes, heads, got 'neurons'. Type figure('tokens').",
    ),
    "a kind of view": (
        lambda r, f, ax: r.explore("tokens"),
        "kind must be one of explanation, stepper, flow, xray, image, routes, heads, got 'tokens'. Type explore('stepper').",
    ),
    "a whole figure in one axes": (
        lambda r, f, ax: r.figure(ax=ax),
        "The whole figure has several axes and cannot be drawn into one. Type figure('tokens', ax=ax).",
    ),
    "all axes at once": (
        lambda r, f, ax: r.figure("tokens", ax=np.array([ax, ax])),
        "ax must be one matplotlib Axes, got several axes. Type figure('tokens', ax=axes[0]).",
    ),
    "a size of axes": (
        lambda r, f, ax: r.figure("tokens", ax=ax, size=(3, 2)),
        "size is that of a figure, and ax has one already. Type plt.subplots(figsize=...) there.",
    ),
    "a size": (lambda r, f, ax: r.figure(size=0), "size must be (width, height) in inches, got 0. Type size=(6.5, 3)."),
    "a map of colours": (
        lambda r, f, ax: r.figure(colours="viridis"),
        f"colours must map some of content, position, plus, minus to colours, got str. {COLOURS}",
    ),
    "the name of a colour": (
        lambda r, f, ax: r.figure(colours={"tokens": "red"}),
        f"colours must be of content, position, plus, minus, got 'tokens'. {COLOURS}",
    ),
    "a colour": (
        lambda r, f, ax: r.figure(colours={"plus": "blu"}),
        f"A colour must be one that matplotlib knows, got 'blu' for plus. {COLOURS}",
    ),
    "colors": (lambda r, f, ax: r.figure(colors={"plus": "red"}), "figure has no argument `colors`. Type colours={'plus': 'red'}."),
    "figsize": (lambda r, f, ax: r.figure(figsize=(3, 2)), "figure has no argument `figsize`. Type size=(3, 2)."),
    "a spectrum without frequencies": (
        lambda r, f, ax: r.figure("spectrum"),
        'There are no frequencies. Type explain(..., options=Options(detail={"frequencies"})).',
    ),
    "a spectrum in one axes": (
        lambda r, f, ax: made(detail={"frequencies": {n: {"relevance": np.ones((2, 3)), "wavelength": np.ones(3)} for n in "ab"}}).figure(
            "spectrum", ax=ax
        ),
        "The spectrum has 2 panels, one for each sink, and needs a figure of its own. Type figure('spectrum').",
    ),
    "a window": (
        lambda r, f, ax: r.figure().show(),
        'A figure made without pyplot has no window. Type figure.savefig("why.png"), or end a cell with it.',
    ),
    "a map of a text": (
        lambda r, f, ax: r.patches(), "Only an explanation of an image has a map. Type explanation.figure() for one of a text.",
    ),
    "a stream of a model that has one": (
        lambda r, f, ax: r.streams["image"],
        "There is no stream 'image': this model has one, which is the result itself. Type result.relevance().",
    ),
    "a stream that is not there": (
        lambda r, f, ax: made(streams={"encoder": r, "decoder": r}).streams["image"],
        "There is no stream 'image'; there are encoder, decoder. Type streams['encoder'].",
    ),
    "a detail that was not asked for": (
        lambda r, f, ax: r.detail["pairs"],
        "This explanation was made without the detail 'pairs', or the model has nothing of the kind. "
        'Type explain(..., options=Options(detail={"pairs"})).',
    ),
    "a detail that there is not": (
        lambda r, f, ax: made(detail={"heads": {}}).detail["layers"],
        "There is no detail 'layers'; there are heads. Type Options(detail={...}) of heads, query_key, frequencies, pairs, coordinates, "
        "routes.",
    ),
    "a file of another kind": (
        lambda r, f, ax: f.save("found.json"),
        "The path must end in .npz or .safetensors, and 'found.json' ends in '.json'. Type found.npz.",
    ),
}  # fmt: skip


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


@pytest.mark.parametrize("name", FIELDS | RESULTS)
def test_what_a_result_or_a_composite_cannot_do_is_told_with_what_to_type(name, found):
    wrong, words = (FIELDS | RESULTS)[name]
    with pytest.raises((PelrpError, AttributeError, ValueError)) as caught:
        wrong(found[0], found, Figure().subplots())
    assert str(caught.value) == words


def test_a_page_goes_into_a_file(found, tmp_path):
    with pytest.raises(PelrpError, match=rf"must be the name of a file, and is a folder\. Type {tmp_path.name}/explanation\.html\.\n"):
        found[0].to_html(tmp_path)
    with pytest.raises(PelrpError, match=rf"is a folder\. Type {tmp_path.name}/explanations\.html\.\n"):
        found.to_html(tmp_path)


def test_what_asks_an_explanation_for_its_private_parts_hears_nothing_odd(found):
    assert not hasattr(found[0], "_repr_mimebundle_") and not hasattr(found, "_ipython_display_")
    assert pickle.loads(pickle.dumps(found[0])) == found[0] and copy.deepcopy(found[0]) == found[0]


def test_all_of_these_are_told_apart():
    rows = [*CALLS, *WRONG, *FIELDS, *RESULTS]
    assert len(rows) == len(set(rows)) > 80
