"""The public doors: an operation, a rule, a composite of one's own works wherever ours do, and bad ones are refused with what to type."""

from __future__ import annotations

import ast
import copy
import pickle
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import jaxtyping
import pytest
import torch
from models import build, build_position, inputs, score
from torch import Tensor, nn
from torch.nn import functional as F

import pelrp_nb
from pelrp_nb import PA_LRP, Explanation, Options, check_rule, propagate, register, rules
from pelrp_nb.composites import CP_LRP
from pelrp_nb.errors import InputError, RuleError
from pelrp_nb.rules.identity import SLOPES
from pelrp_nb.verbs import freeze, input_times_gradient, route, scale, stabilise

X = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@torch.library.custom_op("pelrp_doors::swish", mutates_args=())
def swish(x: Tensor) -> Tensor:
    return F.silu(x)


@torch.library.custom_op("pelrp_doors::times", mutates_args=())
def times(a: Tensor, b: Tensor) -> Tensor:
    return a * b


@torch.library.custom_op("pelrp_doors::affine", mutates_args=())
def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


swish.register_autograd(
    lambda ctx, g: g * torch.sigmoid(ctx.saved_tensors[0]), setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
)
times.register_autograd(
    lambda ctx, g: (g * ctx.saved_tensors[1], g * ctx.saved_tensors[0]),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
affine.register_autograd(
    lambda ctx, g: (g @ ctx.saved_tensors[0], None, None),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[1]),
)


class Between(nn.Module):
    """A linear map, the operation in question, another linear map."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.other, self.after = (nn.Linear(4, n).double() for n in (4, 4, 2))
        self.how = how

    def forward(self, inputs_embeds):
        return self.after(self.how(self, self.before(inputs_embeds)))


def traced(how, composite=PA_LRP, **options):
    model = Between(how)
    with propagate(model, composite, Options(**options)) as flow:
        return flow.trace(model(X)[:, 0].sum())


def shown(model, x, composite, **options):
    with propagate(model, composite, Options(**options)) as flow:
        return flow.trace(score(model(**x)))


def equal(ours, theirs):
    torch.testing.assert_close(ours.tokens, theirs.tokens, rtol=1e-9, atol=1e-12)
    assert ours.ledger.closed and theirs.ledger.closed
    assert sum(ours.ledger.constants.values()) == pytest.approx(sum(theirs.ledger.constants.values()), abs=1e-12)


# --- an operation of one's own ---------------------------------------------------------------------------------------

SPELLINGS = {                                    # one function, five ways to call it
    "special": lambda model, x: torch.special.i0(x), "function": lambda model, x: torch.i0(x), "method": lambda model, x: x.i0(),
    "in place": lambda model, x: x.clone().i0_(), "keyword": lambda model, x: torch.i0(input=x),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_handler_serves_every_spelling_of_its_function(name):
    with pytest.raises(RuleError, match=r"Give it one, `with pelrp_nb.register\(torch\.(special\.|Tensor\.)?i0_?, handler\):`"):
        traced(SPELLINGS[name])
    found = [traced(SPELLINGS[name], operations={function: rules.identity}) for function in (torch.i0, torch.special.i0, Tensor.i0_)]
    for each in found:
        equal(each, found[0])
    assert any("i0(0)" in line for line in found[0].ledger.constants)


def add(x: Tensor) -> Tensor:
    """Sinc by a function of one's own, which lets others handle its calls; only its name is one of torch's."""
    if torch.overrides.has_torch_function_unary(x):
        return torch.overrides.handle_torch_function(add, (x,), x)
    return torch.sinc(x)


def test_a_function_that_hands_its_calls_over_can_have_a_handler_and_takes_no_other_function_along():
    with pytest.raises(RuleError, match=r"No rule for `add` in Between"):
        traced(lambda model, x: add(x))
    ours = traced(lambda model, x: add(x) + x, operations={add: rules.identity})
    equal(ours, traced(lambda model, x: torch.sinc(x) + x, operations={torch.sinc: rules.identity, add: by_name}))


@pytest.mark.parametrize("door", [swish, "pelrp_doors::swish", torch.ops.pelrp_doors.swish, torch.ops.pelrp_doors.swish.default], ids=str)
@pytest.mark.parametrize("called", [swish, torch.ops.pelrp_doors.swish, torch.ops.pelrp_doors.swish.default], ids=str)
def test_an_operator_registered_as_an_activation_is_that_activation(door, called):
    equal(traced(lambda model, x: called(x), operations={door: rules.identity}), traced(lambda model, x: F.silu(x)))


def test_an_operator_registered_as_a_product_is_that_product():
    ours = traced(lambda model, x: times(x, model.other(x)), operations={times: rules.uniform})
    equal(ours, traced(lambda model, x: x * model.other(x)))
    alone = traced(lambda model, x: times(x, model.other.weight[0]), operations={times: rules.uniform})
    equal(alone, traced(lambda model, x: x * model.other.weight[0]))


@pytest.mark.parametrize("rule", [rules.epsilon, rules.gamma(0.3), rules.zplus], ids=repr)
def test_an_operator_registered_as_a_linear_map_is_that_linear_map(rule):
    ours = traced(lambda model, x: affine(x, model.other.weight, model.other.bias), operations={affine: rule})
    equal(ours, traced(lambda model, x: model.other(x), PA_LRP.where({"other": {"linear": rule}})))


def differences(function, x, prepend):
    """What torch.diff is, written out; the ledger's line is missing."""
    return x - torch.cat([prepend, x[:, :-1]], -1)


def test_what_is_linear_as_a_whole_is_registered_as_epsilon():
    ours = traced(lambda model, x: torch.diff(x, prepend=torch.ones(3, 1).double()), operations={torch.diff: rules.epsilon})
    theirs = traced(lambda model, x: torch.diff(x, prepend=torch.ones(3, 1).double()), operations={torch.diff: differences})
    torch.testing.assert_close(ours.tokens, theirs.tokens)
    assert ours.ledger.closed and theirs.ledger.closed is False
    assert any("diff(0)" in line for line in ours.ledger.constants)


def by_logarithms(function, a, b):
    """Half to each of two exponents' shares; the value is deliberately wrong."""
    return 3 * scale(function(a, b), 1 / 2)


def test_a_function_gives_the_gradient_and_never_the_value():
    how = lambda model, x: torch.hypot(x, model.other(x))
    model = Between(how)
    plain = model(X)
    with propagate(model, options=Options(operations={torch.hypot: by_logarithms})) as flow:
        bent = model(X)
        assert torch.equal(bent, plain)
        found = flow.trace(bent[:, 0].sum())
    with propagate(model, replace(PA_LRP, unknown="gradient")) as flow:
        gradient = flow.trace(model(X)[:, 0].sum())
    torch.testing.assert_close(found.tokens, gradient.tokens * 3 / 2)
    assert found.ledger.closed is False  # three halves were paid, and the ledger says so


def dropped(function, x, p):
    """What the model passes with its default is not asked for."""
    return scale(x, 1)


def test_the_value_is_that_of_the_models_own_arguments():
    """A handler need not take what is off or absent; the function gets it all the same."""
    how = lambda model, x: F.dropout(x, training=False)
    equal(traced(how, operations={F.dropout: partial(dropped)}), traced(lambda model, x: x))


def half(x: Tensor) -> Tensor:
    """The value of sinc, and half of its relevance."""
    return scale(route(torch.sinc(x), x / freeze(stabilise(x)) * freeze(torch.sinc(x))), 1 / 2)


def test_what_a_registered_rule_says_that_it_keeps_has_a_line_and_a_leak_has_none():
    how = lambda model, x: torch.sinc(x)
    said = rules.make("half", half, conserves="all but a half")
    assert traced(how, operations={torch.sinc: said}).ledger.closed
    assert any("sinc" in line for line in traced(how, operations={torch.sinc: said}).ledger.constants)
    for silent in (rules.make("half", half), rules.make("half", half, conserves="all")):
        assert traced(how, operations={torch.sinc: silent}).ledger.closed is False


@pytest.mark.parametrize("bias", [False, True], ids=["without a bias", "with a bias"])
@pytest.mark.parametrize("projection", [True, False], ids=["everywhere", "outside attention"])
def test_what_a_rule_for_linear_maps_loses_is_the_gap_unless_it_says_that_it_keeps_something(projection, bias):
    def bent(x: Tensor, *, weight: Tensor, bias: Tensor | None = None, apply=F.linear) -> Tensor:
        return scale(apply(x, weight, bias), 1 / 2)

    def ledger(conserves: str) -> pelrp_nb.Ledger:
        mine = rules.make("half", bent, conserves=conserves)
        composite = replace(PA_LRP, linear=mine, projection=mine if projection else rules.epsilon)
        return pelrp_nb.explain(model, torch.tensor([[1, 2, 3]]), target=1, composite=composite).ledger

    torch.manual_seed(0)
    model = (
        nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4, bias=bias), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2, bias=bias)).double().eval()
    )
    told = ledger("all but a half")
    assert told.closed and ledger("all").closed is False
    assert ledger("all").gap == pytest.approx(sum(map(float, (*told.constants.values(), told.stabilisers))), rel=1e-9)


def test_ones_own_handler_comes_before_ours():
    mine = rules.make("half", lambda x: scale(rules.identity.forward(x, f=torch.tanh), 1 / 2))
    ours = traced(lambda model, x: torch.tanh(x), operations={torch.tanh: mine})
    torch.testing.assert_close(ours.tokens, traced(lambda model, x: torch.tanh(x)).tokens / 2)


def test_a_registration_is_of_its_with_and_its_thread():
    how = SPELLINGS["special"]
    seen = {}

    def elsewhere():
        try:
            traced(how)
        except RuleError as error:
            seen["error"] = error

    with register(torch.i0, rules.identity):
        inside = traced(how)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "error" in seen
    equal(inside, traced(how, operations={torch.i0: rules.identity}))
    with pytest.raises(ZeroDivisionError), register(torch.i0, rules.identity):
        _ = 1 / 0
    with pytest.raises(RuleError):
        traced(how)


def half_silu(x: Tensor) -> Tensor:
    """SiLU that keeps half."""
    return scale(rules.identity.forward(x, f=F.silu, slope=SLOPES["silu"]), 1 / 2)


def test_what_was_registered_on_entering_holds_to_the_end_of_the_walk_back():
    """Layers that run again in the backward pass, when the registration is over, run under the same handlers."""
    model, x, rule = build("llama"), inputs("llama"), rules.make("half", half_silu)
    expected = shown(model, x, PA_LRP, operations={F.silu: rule})
    with register(F.silu, rule) as registered, propagate(model, options=Options(checkpoint=True)) as flow:
        registered.__exit__()
        found = flow.trace(score(model(**x)))
    assert torch.equal(found.tokens, expected.tokens)
    assert not torch.allclose(found.tokens, shown(model, x, PA_LRP).tokens)


def test_options_with_operations_can_be_copied_and_pickled():
    options = Options(operations={torch.i0: rules.identity, swish: by_logarithms, F.silu: rules.gamma(0.1)})
    assert pickle.loads(pickle.dumps(options)) == options == copy.deepcopy(options) == replace(options)
    assert hash(options.operations)


# --- a rule of one's own ---------------------------------------------------------------------------------------------


def squares(R: Tensor, x: Tensor, *, weight: Tensor, bias: Tensor | None = None):
    """Squares: pay by squared weights.

        R_i = sum_j W_ji^2 / sum_k W_jk^2 R_j

    Conserves: all.  (Montavon et al. 2017)
    """
    return (R @ (weight**2 / (weight**2).sum(-1, keepdim=True)),)


def bent_squares(x: Tensor, *, weight: Tensor, bias: Tensor | None = None, apply=F.linear) -> Tensor:
    """The value of the layer, the slope of the squares."""
    z = apply(x, weight, bias)
    flat = (x / freeze(stabilise(x))) @ (weight**2 / (weight**2).sum(-1, keepdim=True)).T
    return route(z, flat * freeze(z))


def wrong_squares(x: Tensor, *, weight: Tensor, bias: Tensor | None = None, apply=F.linear) -> Tensor:
    """Shares that are not squared."""
    return apply(x, weight, bias)


square = rules.make("square", bent_squares, squares, example=rules.zplus.example)
MINE = replace(PA_LRP, linear=square)


@pytest.fixture(scope="module")
def zoo():
    return pelrp_nb.zoo.load("reviews-rotary")


def test_a_made_rule_is_a_rule_like_ours():
    assert repr(square) == "square" and square.conserves == "all" and square.paper == "Montavon et al. 2017"
    assert square.sentence == "Pay by squared weights." and not square.keeps
    assert pickle.loads(pickle.dumps(square)) == square == copy.deepcopy(square) and hash(square) == hash(copy.copy(square))
    from pelrp_nb.live import cards

    card = cards.data(square)
    assert card["difference" if "difference" in card else "example"]["difference"] < 1e-12
    assert "W_ji^2" in card["formula"] and "def squares" in card["relevance"]


def test_a_rule_without_a_definition_pays_by_its_fast_form():
    fast = rules.make("square", bent_squares, example=rules.zplus.example)
    R, (x,), constants = square.example(torch.Generator().manual_seed(0))
    torch.testing.assert_close(fast.relevance(R, x, **constants),
                               input_times_gradient(lambda x: bent_squares(x, **constants), R, x))  # fmt: skip
    assert fast.conserves == "unsaid" and fast != square


@pytest.mark.parametrize("f", [F.relu, torch.abs, F.leaky_relu, nn.ReLU(inplace=True), F.gelu])
def test_a_rule_for_activations_is_for_those_that_need_none_as_well(f):
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.map, self.head = nn.Embedding(9, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False)
            self.double().eval()

        def forward(self, input_ids: Tensor) -> Tensor:
            return self.head(f(self.map(self.table(input_ids))).mean(1))

    kept = rules.make("kept", lambda x, **constants: scale(rules.identity.forward(x, **constants), 1 / 4))
    whole, quarter = (
        pelrp_nb.explain(Small(), torch.tensor([[1, 2, 3]]), target=1, composite=composite).semantic
        for composite in (PA_LRP, replace(PA_LRP, activation=kept))
    )
    assert float(whole.abs().sum()) > 1e-3
    torch.testing.assert_close(quarter, whole / 4)


def test_a_rule_that_returns_another_shape_is_named():
    total = rules.make("total", lambda x, **constants: x.sum())
    given = {"input_ids": inputs("llama")["input_ids"]}
    with pytest.raises(RuleError, match=r"The `forward` of total must return f\(x\) in the shape of x, .*; got \(\)\. Write def forward"):
        pelrp_nb.explain(build("llama"), given, target=3, composite=replace(PA_LRP, activation=total))
    flat = rules.make("flat", lambda *inputs, **constants: inputs[0][0, 0, 0])
    with pytest.raises(RuleError, match=r"LlamaForCausalLM works by itself, and not under flat: .* Type pelrp_nb\.check_rule\(rule\)"):
        pelrp_nb.explain(build("llama"), given, target=3, composite=replace(PA_LRP, linear=flat))
    with pytest.raises(InputError, match="The rule total needs a function `forward`, got None"):
        rules.make("total", relevance=lambda R, x: (R,))


def test_a_rule_that_only_has_the_name_of_ours_is_not_ours(zoo):
    """The engine takes its own way for the epsilon rule; a rule of that name that does something else must not get it."""
    alias = replace(rules.epsilon, forward=lambda x, *, weight, bias=None, eps=0.0, apply=F.linear: scale(apply(x, weight, bias), 1 / 2))
    assert alias != rules.epsilon and rules.epsilon(eps=0.1) == rules.epsilon(eps=0.1) != rules.epsilon
    model, tokenizer = zoo
    found = pelrp_nb.explain(model, "a dull film", processor=tokenizer, composite=replace(PA_LRP, linear=alias))
    ours = pelrp_nb.explain(model, "a dull film", processor=tokenizer)
    assert ours.ledger.closed and not torch.allclose(found.semantic, ours.semantic)


def test_ones_own_rule_works_wherever_ours_do(zoo, tmp_path):
    model, tokenizer = zoo
    found = pelrp_nb.explain(model, "a dull , clumsy film", processor=tokenizer, composite=MINE)
    assert found.semantic.any() and found != pelrp_nb.explain(model, "a dull , clumsy film", processor=tokenizer)
    planned = pelrp_nb.plan(model, "a dull , clumsy film", processor=tokenizer, composite=MINE)
    lines = [line for line in str(planned).splitlines() if " square " in line]
    assert lines and "linear" in lines[0]
    for again in (pickle.loads(pickle.dumps(planned)), copy.deepcopy(planned)):
        assert str(again) == str(planned)
    sheet = pelrp_nb.live.inspector(model, "a dull , clumsy film", processor=tokenizer, composite=MINE)
    assert "Pay by squared weights." in sheet.to_html(None) and "def bent_squares" in sheet.to_html(None)
    assert pickle.loads(pickle.dumps(MINE)) == MINE == copy.deepcopy(MINE) and "linear=square" in repr(MINE)
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert again == found
    found.save(tmp_path / "mine.npz")
    loaded = Explanation.load(tmp_path / "mine.npz")
    assert loaded == found and "Pay by squared weights." in loaded.to_html()


def test_ones_own_handler_works_in_plan_and_inspector():
    model, given = Between(SPELLINGS["special"]), {"inputs_embeds": X[None]}
    refused = pelrp_nb.plan(model, given)
    assert any("i0" in line for line in refused.refusals)
    for handler, shown in ((by_name, "by_name"), (rules.identity, "identity")):
        options = Options(operations={torch.i0: handler})
        planned = pelrp_nb.plan(model, given, options=options)
        assert not planned.refusals and any(step.rule == shown and "i0" in step.operation for step in planned.steps)
        assert shown in pelrp_nb.live.inspector(model, given, options=options).to_html(None)
        assert str(pickle.loads(pickle.dumps(planned))) == str(planned)


def by_name(function, x):
    """Identity, by hand."""
    return rules.identity.forward(x, f=function)


@pytest.mark.parametrize("rule", [*rules.ALL, rules.gamma(0.1, eps=0.2), square], ids=repr)
def test_every_rule_proves_itself(rule):
    found = check_rule(rule)
    assert found.cases == 10 and found.difference < 1e-9 and repr(rule) in repr(found) and rule.conserves in repr(found)
    assert found == check_rule(rule)
    assert found.kept < 1e-9 or rule.conserves != "all"


def test_a_proof_fails_where_it_fails():
    with pytest.raises(RuleError, match=r"square: the fast form is not the definition. At \[\d, \d\] of input 1 of 1 .* \(draw 0\)"):
        check_rule(replace(square, forward=wrong_squares))
    with pytest.raises(RuleError, match=r"says that it conserves all, but up to \d+\.\d% of the amounts is paid to no input"):
        check_rule(rules.make("epsilon", rules.epsilon.forward, rules.epsilon.relevance, example=rules.epsilon.example, conserves="all"))
    with pytest.raises(RuleError, match=r"tuple of one tensor per input, of shapes \[\(4, 3\)\]; got Tensor"):
        check_rule(replace(square, relevance=lambda R, x, weight, bias=None: R))
    with pytest.raises(RuleError, match=r"The fast form of square must take .* by name \(weight, bias\); it raised TypeError"):
        check_rule(replace(square, forward=lambda x: x))
    with pytest.raises(RuleError, match=r"The definition of square must take .* by name \(weight, bias\); it raised TypeError"):
        check_rule(replace(square, relevance=lambda R, x: (x,)))
    with pytest.raises(RuleError, match=r"must return a tensor of R's shape, \(4, 2\); got \(4, 3\)"):
        check_rule(replace(square, forward=lambda x, weight, bias=None: x))


def only_where_r_is_y(x: Tensor, *, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Right for R = y alone: it pays the whole output to the first input."""
    z = F.linear(x, weight)
    first = x[..., :1] / freeze(x[..., :1])
    return route(z, first * freeze(z))


def test_a_proof_tries_more_than_one_relevance():
    with pytest.raises(RuleError, match="is not the definition"):
        check_rule(rules.make("first", only_where_r_is_y, squares, example=rules.zplus.example))


# --- rules by place --------------------------------------------------------------------------------------------------


GAMMA = rules.gamma(0.2)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_the_same_rules_by_place_are_the_same_explanation(family):
    """For the whole model at once, module by module, and by the names of layers and what is not in them."""
    model, x = build(family), inputs(family)
    whole = shown(model, x, replace(PA_LRP, linear=GAMMA, projection=GAMMA))
    both = {"linear": GAMMA, "projection": GAMMA}
    children = {name: both for name, _ in model.named_children()}
    modules = {name: both for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    outside = {name: both for name in modules if "layer" not in name}
    layers = {f"layer {n}": both for n in range(model.config.num_hidden_layers)} | outside
    for places in (children, modules, layers):
        found = shown(model, x, PA_LRP.where(places))
        torch.testing.assert_close(found.tokens, whole.tokens)
        assert found.ledger.closed
    assert not torch.allclose(shown(model, x, PA_LRP).tokens, whole.tokens)


def test_one_layer_is_that_layer_by_whichever_name():
    model, x = build("llama"), inputs("llama")
    named = [shown(model, x, PA_LRP.where({name: {"linear": GAMMA}})) for name in ("layer 1", 1, "model.layers.1", "model.layers.1.mlp")]
    for found in named:
        assert torch.equal(found.tokens, named[0].tokens)
    assert not torch.allclose(named[0].tokens, shown(model, x, PA_LRP).tokens)
    other = shown(model, x, PA_LRP.where({0: {"linear": GAMMA}}))
    assert not torch.allclose(named[0].tokens, other.tokens)


def test_the_innermost_has_its_way():
    model, x = build("llama"), inputs("llama")
    plain = shown(model, x, PA_LRP)
    back = {"linear": rules.epsilon}
    undone = PA_LRP.where({"model": {"linear": GAMMA}, "layer 0": back, "model.layers.1.mlp": back, "model.layers.2.mlp": back})
    assert torch.equal(shown(model, x, undone).tokens, plain.tokens)
    below = PA_LRP.where({"model.layers.1.mlp": {"linear": rules.epsilon}, "layer 1": {"linear": GAMMA}})
    assert torch.equal(shown(model, x, below).tokens, plain.tokens)


@pytest.mark.parametrize(
    "field",
    [{"softmax": rules.constant}, {"gate": rules.constant}, {"softmax": rules.constant, "values": 0.5}, {"residual": rules.reslrp}],
    ids=str,
)
def test_every_kind_of_rule_can_be_said_of_a_place(field):
    model, x = build("llama"), inputs("llama")
    model.model.layers = model.model.layers[:1]
    ours, theirs = shown(model, x, PA_LRP.where({"layer 0": field})), shown(model, x, replace(PA_LRP, **field))
    assert torch.equal(ours.tokens, theirs.tokens) and ours.ledger == theirs.ledger


def test_projections_of_one_layer_are_found_on_the_way_back():
    model, x = build("llama"), inputs("llama")
    projected = shown(model, x, PA_LRP.where({"layer 1": {"projection": GAMMA}}))
    inside = shown(model, x, PA_LRP.where({"model.layers.1.self_attn": {"projection": GAMMA, "linear": GAMMA}}))
    torch.testing.assert_close(projected.tokens, inside.tokens)
    assert projected.ledger.closed and not torch.allclose(projected.tokens, shown(model, x, PA_LRP).tokens)
    steps = pelrp_nb.plan(model, x, composite=PA_LRP.where({"layer 1": {"projection": GAMMA}})).steps
    assert {s.place.rpartition(".")[2] for s in steps if s.rule == "gamma(0.2)"} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert all(step.applied is None or repr(step.applied) == step.rule for step in steps)


@pytest.mark.parametrize("place", ["layer 1", "model.layers.1", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj"])
def test_layers_that_run_again_keep_their_own_rules(place):
    model, x = build("llama"), inputs("llama")
    composite = CP_LRP.where({place: {"linear": GAMMA, "projection": rules.zplus, "gate": rules.uniform}})
    ours, theirs = shown(model, x, composite, checkpoint=True), shown(model, x, composite)
    assert torch.equal(ours.tokens, theirs.tokens) and ours.ledger == theirs.ledger


def test_a_layer_that_is_called_twice_is_two_layers():
    from transformers import AlbertConfig, AlbertForMaskedLM

    config = AlbertConfig(vocab_size=30, hidden_size=24, num_attention_heads=2, intermediate_size=32, num_hidden_layers=3, embedding_size=8)
    model = AlbertForMaskedLM(config).double().eval()
    x = {"input_ids": torch.arange(1, 7)[None]}
    first, last = (shown(model, x, PA_LRP.where({name: {"linear": GAMMA}})) for name in ("layer 0", "layer 2"))
    assert not torch.allclose(first.tokens, last.tokens)
    planned = pelrp_nb.plan(model, x, composite=PA_LRP.where({"layer 2": {"linear": GAMMA}}))
    assert {step.rule for step in planned.steps if step.place.endswith("ffn") and step.reason == "linear"} == {"epsilon", "gamma(0.2)"}
    with pytest.raises(InputError, match=r"'layer 3' is not in AlbertForMaskedLM. Did you mean 'layer"):
        shown(model, x, PA_LRP.where({"layer 3": {"linear": GAMMA}}))


class Looped(nn.Module):
    """One layer, called three times, and nothing says so."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)).double()])

    def forward(self, inputs_embeds):
        for _ in range(3):
            inputs_embeds = inputs_embeds + self.layers[0](inputs_embeds)
        return inputs_embeds


def test_a_layer_that_did_not_run_is_refused_when_that_is_known():
    model = Looped()
    last = PA_LRP.where({"layer 2": {"linear": GAMMA}})
    with propagate(model, last) as flow:
        assert flow.trace(model(X[None])[0, 0, 0]).tokens.any()
    beyond = PA_LRP.where({"layer 3": {"linear": GAMMA}})
    with pytest.raises(InputError, match=r"'layer 3' is not in Looped. Did you mean 'layer 2'"), propagate(model, beyond):
        model(X[None])


def test_layers_of_streams_have_their_streams_name():
    model, x = build_position("t5")
    names = ("encoder layer 1", "decoder layer 1")
    encoder, decoder = (shown(model, x, PA_LRP.where({name: {"linear": GAMMA}})) for name in names)
    again = shown(model, x, PA_LRP.where({"encoder.block.1": {"linear": GAMMA}}))
    plain = shown(model, x, PA_LRP)
    assert torch.equal(again.tokens, encoder.tokens)
    for found in (encoder, decoder):
        assert found.ledger.closed and found.ledger != plain.ledger
    with pytest.raises(InputError, match=r"'layer 1' is not in T5ForConditionalGeneration. Did you mean"):
        shown(model, x, PA_LRP.where({"layer 1": {"linear": GAMMA}}))


def test_a_composite_by_place_is_a_value():
    composite = PA_LRP.where({"layer 3": {"linear": GAMMA}, "model.layers.0.mlp": {"activation": rules.identity}})
    assert eval(repr(composite), {**vars(rules), "Composite": pelrp_nb.Composite}) == composite
    assert pickle.loads(pickle.dumps(composite)) == composite == copy.deepcopy(composite) != PA_LRP
    assert hash(composite) == hash(copy.deepcopy(composite)) and composite.linear == PA_LRP.linear
    assert composite.where({"layer 3": {"gate": rules.constant}}).where({3: {"gate": rules.uniform}}).places[0] == (
        "layer 3", (("linear", GAMMA), ("gate", rules.uniform)),
    )  # fmt: skip


def test_rules_by_place_are_shown_and_leave_nothing_behind(zoo):
    model, tokenizer = zoo
    composite = PA_LRP.where({"layer 3": {"linear": GAMMA}, "model.layers.0.mlp": {"linear": square}})
    hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    before = hooks()
    found = pelrp_nb.explain(model, "a dull film", processor=tokenizer, composite=composite)
    assert found.ledger.tokens and repr(composite) == found.card["composite"] and "where" in found.card["method"]
    assert "Pay by squared weights." in found.to_html() or "square" in found.card["rules"]
    steps = {(step.place, step.rule) for step in pelrp_nb.plan(model, "a dull film", processor=tokenizer, composite=composite).steps}
    assert {("model.layers.3.mlp.up_proj", "gamma(0.2)"), ("model.layers.0.mlp.up_proj", "square")} <= steps
    assert ("model.layers.1.mlp.up_proj", "epsilon") in steps
    assert hooks() == before
    assert "gamma(0.2)" in pelrp_nb.live.inspector(model, "a dull film", processor=tokenizer, composite=composite).to_html(None)


def test_an_error_inside_a_module_leaves_the_next_run_right():
    model, x = build("llama"), inputs("llama")
    composite = PA_LRP.where({"model.layers.0.mlp": {"linear": GAMMA}})
    whole = shown(model, x, composite)
    with propagate(model, composite) as flow:
        with pytest.raises(RuntimeError):
            model(**{**x, "attention_mask": torch.ones(3, 50)})
        assert not flow.inside or model(**x) is not None
    assert torch.equal(shown(model, x, composite).tokens, whole.tokens)


# --- bad input -------------------------------------------------------------------------------------------------------


def nothing():
    """Takes no arguments."""


class Handler:
    """A class where a function belongs."""


BAD = {
    "a function of python": (lambda: register(by_name, rules.identity), "`by_name` is a function of Python.*@torch.library.custom_op"),
    "a function of others": (lambda: register(len, rules.identity), "belongs to a function of torch or a custom operator, got <built-in"),
    "no function": (lambda: register(3, rules.identity), "belongs to a function of torch or a custom operator, got 3. Type pelrp_nb.reg"),
    "no operator": (lambda: register("nobody::nothing", rules.identity), "There is no operator 'nobody::nothing'"),
    "no operator's name": (lambda: register("i0", rules.identity), "There is no operator 'i0'; a name has two parts"),
    "a rule's name": (lambda: register(torch.i0, "identity"), "must be a Rule or a function, got 'identity'. Did you mean rules.identity"),
    "a handler that takes nothing": (lambda: register(torch.i0, nothing), r"must take the function and .* it is nothing\(\). Write def"),
    "a handler of torch's own": (lambda: register(torch.i0, torch.sin), "must take the function and .* it is sin. Write def handler"),
    "a handler that is a class": (lambda: register(torch.i0, Handler), "must be a Rule or a function, got <class"),
    "operations that are none": (lambda: Options(operations=3), "operations must map functions to handlers, got 3. Type Options"),
    "operations with a bad handler": (lambda: Options(operations={torch.i0: None}), "must be a Rule or a function, got None"),
    "one function twice": (lambda: Options(operations={torch.i0: by_name, Tensor.i0: by_name}), "Tensor.i0 has a handler already"),
    "a rule without a name": (lambda: rules.make("two words", bent_squares), "must be one word, as it is typed; got 'two words'"),
    "a rule without forward": (lambda: rules.make("mine", None), "The rule mine needs a function `forward`, got None. Write forward"),
    "a rule that lost forward": (lambda: replace(square, forward=None), "The rule square needs a function `forward`, got None"),
    "a definition that is none": (lambda: rules.make("mine", bent_squares, 3), "The rule mine needs a function `relevance`, got 3"),
    "a proof of no rule": (lambda: check_rule(bent_squares), "check_rule needs a Rule, got function. Type check_rule"),
    "a proof without an example": (lambda: check_rule(rules.make("mine", bent_squares, squares)), "mine has no example. Write example"),
    "a proof without a definition": (lambda: check_rule(rules.make("mine", bent_squares)), "mine has no definition that its fast form"),
    "a proof with a bad example": (lambda: check_rule(replace(square, example=lambda rng: 3)), r"must give \(R, inputs, constants\)"),
    "a proof of no draws": (lambda: check_rule(square, seeds=0), "seeds must be a number of draws from 1 on, got 0"),
    "a composite with text": (lambda: replace(PA_LRP, linear="gamma"), r"linear must be a Rule, got 'gamma'. Type .*linear=rules.gamma\)"),
    "a rule that cannot be called": (lambda: replace(PA_LRP, linear=rules.softmax), "takes no weight, bias, apply. Write def forward"),
    "a softmax of one's own": (lambda: replace(PA_LRP, softmax=square), "rules.constant or rules.delta, got square: "),
    "where without a place": (lambda: PA_LRP.where({}), "where must say which rules a layer or module has; got {}. Type composite.where"),
    "where without rules": (lambda: PA_LRP.where({"layer 0": {}}), "where must say which rules"),
    "where by something else": (lambda: PA_LRP.where({None: {"linear": GAMMA}}), "names layers and modules by text; got None"),
    "where of a misspelt field": (lambda: PA_LRP.where({"layer 0": {"liner": GAMMA}}), "'liner' is none. Did you mean 'linear'"),
    "where of all": (lambda: PA_LRP.where({"layer 0": {"positions": "sink"}}), "positions holds for the whole model"),
    "where with text": (lambda: PA_LRP.where({"layer 0": {"linear": "gamma"}}), "linear must be a Rule, got 'gamma'"),
    "where with no number": (lambda: PA_LRP.where({"layer 0": {"values": "half"}}), "values must be a number such as 0.5, got 'half'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_what_to_type(name, monkeypatch):
    how, said = BAD[name]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user, for whom nobody checks signatures
    with pytest.raises(InputError, match=said):
        how()


def test_a_registration_lasts_for_one_with():
    once, again = register(torch.i0, rules.identity), register(torch.special.i0, by_name)
    with once, pytest.raises(InputError, match=r"lasts for one `with`, and that of torch.i0 is open"), once:
        pass
    with pytest.raises(InputError, match=r"that of torch.i0 has ended. Type with pelrp_nb.register\(torch.i0, handler\): anew"), once:
        pass
    with register(torch.i0, rules.identity):
        with pytest.raises(InputError, match=r"torch.special.i0 has a handler already, given to torch.i0"), again:
            pass
        with pytest.raises(InputError, match=r"torch.i0 has a handler already"):
            traced(SPELLINGS["special"], operations={torch.i0: by_name})
    with register(torch.i0, rules.identity):  # and what failed has left nothing behind
        equal(traced(SPELLINGS["special"]), traced(SPELLINGS["special"]))


HANDLERS = {
    "too many arguments": (lambda function, x, y: x, r"called in Between with 1 arguments after .*; it is <lambda>\(function, x, y\)"),
    "another shape": (lambda function, x: function(x)[0], r"gives \[\(3, 4\)\], its handler \[\(4,\)\]. Write def handler"),
    "nothing": (lambda function, x: None, r"gives \[\(3, 4\)\], its handler \['NoneType'\]|gives \[\(3, 4\)\], its handler \[\]"),
    "a rule with another's options": (rules.softmax(dim=7), r"softmax\(dim=7\) cannot be applied to torch.special.i0 in Between"),
    "a rule that needs a weight": (rules.gamma, "The rule gamma needs a weight, as in F.linear"),
}  # fmt: skip


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_that_does_not_fit_is_refused_where_it_is_called(name):
    handler, said = HANDLERS[name]
    with pytest.raises(RuleError, match=said):
        traced(SPELLINGS["special"], operations={torch.i0: handler})


def test_a_product_is_no_activation():
    with pytest.raises(RuleError, match=r"identity is for functions of one tensor; 2 carry relevance .* Register rules.uniform"):
        traced(lambda model, x: torch.hypot(x, model.other(x)), operations={torch.hypot: rules.identity})


@pytest.mark.parametrize(("name", "near"), [("layer 22", "'layer 1'"), ("model.layer.0.mlp", "'model.layers.0.mlp'"), ("mdel", "'model'")])
def test_a_place_that_is_not_there_is_refused_before_the_forward_pass(name, near):
    model = build("llama")
    said, composite = f"{name!r} is not in LlamaForCausalLM. Did you mean .*{near}", PA_LRP.where({name: {"linear": GAMMA}})
    with pytest.raises(InputError, match=said), propagate(model, composite):
        raise AssertionError("entered")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_no_error_tells_anybody_to_edit_the_package():
    package = Path(pelrp_nb.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                said = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                assert not any("pelrp_nb/" in text or "torch_table" in text for text in said), (path, said)
