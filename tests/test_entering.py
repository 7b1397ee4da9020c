"""Entering and leaving undo themselves whatever happens: Ctrl-C anywhere, hooks of the user, transforms around or inside."""

from __future__ import annotations

import copy
import gc
import random
import threading
import warnings

import pytest
import torch
from interrupts import (
    DOORS, MODELS, Alarm, Interrupt, by_hand, changed, equal, explained, interrupted, model_of, of_each_line, steps_of, surroundings,
)  # fmt: skip
from models import build, inputs, score
from torch import nn

import pelrp_nb
from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine import leaving
from pelrp_nb.engine.module_hooks import Entry
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.engine.saved import here
from pelrp_nb.errors import ModelError


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("door", DOORS)
def test_an_interrupt_at_a_line_of_entering_or_leaving_leaves_nothing_behind(name, door):
    model, x, options = model_of(name)
    run = lambda: DOORS[door](model, x, **options)
    right, before = run(), surroundings(model)
    steps = steps_of(run)
    first = MODELS.index(name) + 3 * (door == "explain")  # another part of the lines in each of the six
    for k in of_each_line(steps, last=True)[first::18]:
        assert interrupted(run, Interrupt(k)), steps[k]
        assert not changed(before, surroundings(model)), steps[k]
    assert equal(run(), right)


@pytest.mark.parametrize("name", MODELS)
def test_a_second_interrupt_while_leaving_leaves_nothing_behind(name):
    model, x, options = model_of(name)
    run = lambda: by_hand(model, x, **options)
    right, before, rng = run(), surroundings(model), random.Random(name)
    steps = steps_of(run)
    for _ in range(6):
        k, later = rng.randrange(len(steps)), int(10 ** rng.uniform(0, 2.5))
        assert interrupted(run, Interrupt(k, later)), (k, later)
        assert not changed(before, surroundings(model)), (steps[k], later)
    assert equal(run(), right)


def test_a_signal_at_any_time_leaves_nothing_behind():
    model, x, options = model_of("llama")
    run = lambda: explained(model, x, **options)
    right, before, rng = run(), surroundings(model), random.Random(0)
    came = 0
    for _ in range(15):
        came += interrupted(run, Alarm(rng.uniform(0.001, 0.03)))
        assert not changed(before, surroundings(model))
    assert came and equal(run(), right)


def test_an_interrupt_is_raised_after_leaving_not_swallowed():
    done = []

    def undo():
        done.append(1)
        if len(done) < 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leaving.surely(undo)
    assert len(done) == 4


def test_a_traceback_that_is_kept_keeps_nothing_in_force(monkeypatch):
    """An exit that never begins (an interrupt before its first instruction), and somebody who keeps the traceback."""
    model, x = build("llama"), inputs("llama")
    right, before = by_hand(model, x), surroundings(model)

    def never(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(leaving.Leaving, "__exit__", never)
        with pytest.raises(KeyboardInterrupt) as kept:
            by_hand(model, x)
        assert changed(before, surroundings(model))
    assert equal(by_hand(model, x), right)  # the one inside acts alone
    del kept
    gc.collect()
    assert not changed(before, surroundings(model)) and equal(by_hand(model, x), right)


def test_an_interrupt_before_leaving_has_begun_leaves_nothing_behind_while_its_traceback_is_kept():
    model, x = build("llama"), inputs("llama", 5)
    run = lambda: by_hand(model, x)
    before, begins = surroundings(model), leaving.Leaving.__exit__.__code__
    at = [k for k, step in enumerate(steps_of(run)) if step == ("Leaving.__exit__", begins.co_firstlineno + 1)]
    assert len(at) == 4  # twice of the propagation, twice of its walk back
    for k in at:
        with pytest.raises(KeyboardInterrupt) as kept, Interrupt(k):
            run()
        assert not changed(before, surroundings(model)) and kept is not None


def test_functions_that_an_interrupt_left_disabled_are_enabled_again():
    model = build("llama")
    with pytest.raises(KeyboardInterrupt), propagate(model):
        torch._C.DisableTorchFunction().__enter__()  # and no more: the interrupt comes before the way out is set up
        raise KeyboardInterrupt
    assert torch._C._is_torch_function_enabled()
    with torch._C.DisableTorchFunction():
        with propagate(model):
            pass
        assert not torch._C._is_torch_function_enabled()


def test_undoing_is_repeated_as_often_as_it_is_interrupted():
    model, x = build("llama"), inputs("llama", 5)
    run = lambda: by_hand(model, x)
    right, before, rng = run(), surroundings(model), random.Random(0)
    steps, raised = steps_of(run), []
    for _ in range(8):
        several = [rng.randrange(len(steps)), *(rng.randrange(2, 60) for _ in range(6))]
        interrupt = Interrupt(*several)
        with pytest.raises(KeyboardInterrupt) as kept, interrupt:
            run()
        raised.append(interrupt.raised)
        assert kept is not None and not changed(before, surroundings(model)), several
    assert sum(raised) > 30, raised  # of seven each; where little is to be undone the first may be the last
    assert equal(run(), right)


def test_a_flow_thrown_away_in_another_thread_takes_its_hooks_along():
    model, x = build("llama"), inputs("llama")
    before, entered = surroundings(model), []
    thread = threading.Thread(target=lambda: (entered.append(propagate(model, PA_LRP)), entered[0].__enter__()))
    thread.start()
    thread.join()
    assert changed(before, surroundings(model))
    entered.clear()
    gc.collect()
    assert not changed(before, surroundings(model)) and by_hand(model, x).ledger.closed


def test_the_models_own_checkpointing_comes_back_whichever_thread_leaves_first():
    model = nn.ModuleList([nn.Linear(2, 2)])
    model[0]._gradient_checkpointing_func = own = lambda f, *args: f(*args)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)):
        entered = [Entry() for _ in range(3)]
        for entry in entered:
            entry.begin(model)
            entry.instead(model[0], "_gradient_checkpointing_func")
        for i in order:
            assert model[0]._gradient_checkpointing_func is not own and model[0]._gradient_checkpointing_func(abs, -1) == 1
            entered[i].close()
        assert model[0]._gradient_checkpointing_func is own
    here.entries = ()


# --- the user's own hooks ---------------------------------------------------------------------------------------------


def test_hooks_of_the_user_stay_in_their_order():
    model, x = build("llama"), inputs("llama")
    heard: list[str] = []
    layer = model.model.layers[1]
    handles = [layer.register_forward_hook(lambda *_, n=n: heard.append(n)) for n in ("first", "second")]
    handles.append(layer.register_forward_pre_hook(lambda *_: heard.append("before")))
    before, right = surroundings(model), None
    with propagate(model, PA_LRP) as flow:
        late = layer.register_forward_hook(lambda *_: heard.append("late"))
        right = flow.trace(score(model(**x)))
    assert heard == ["before", "first", "second", "late"]
    assert list(layer._forward_hooks) == [handles[0].id, handles[1].id, late.id]
    late.remove()
    assert not changed(before, surroundings(model))
    for handle in handles:
        handle.remove()
    assert equal(by_hand(model, x), right)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_hook_of_the_user_that_raises(kind, error, checkpoint):
    model, x = build("llama"), inputs("llama")
    right = by_hand(model, x)

    def fail(*_):
        raise error("mine")

    handle = getattr(model.model.layers[1].mlp, kind)(fail)
    before = surroundings(model)
    with pytest.raises(error, match="mine"):
        pelrp_nb.explain(model, x, options=Options(checkpoint=checkpoint))
    assert not changed(before, surroundings(model))
    handle.remove()
    assert equal(by_hand(model, x), right)


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook", "register_backward_hook"])
def test_backward_hooks_are_refused(kind):
    model, x = build("llama"), inputs("llama")
    handle = getattr(model.model.layers[1].mlp, kind)(lambda *_: None)
    before = surroundings(model)
    with pytest.raises(ModelError, match=r"`model.layers.1.mlp` has a backward hook.*Remove it: handle.remove\(\)"):
        pelrp_nb.explain(model, x)
    assert not changed(before, surroundings(model))
    handle.remove()
    handle = nn.modules.module.register_module_full_backward_hook(lambda *_: None)
    try:
        with pytest.raises(ModelError, match=r"on all modules.*Remove it: handle.remove\(\)"):
            pelrp_nb.explain(model, x)
    finally:
        handle.remove()
    assert pelrp_nb.explain(model, x).ledger.closed


@pytest.mark.parametrize("given", [1, 2])
@pytest.mark.parametrize("plain", [True, False])
def test_explaining_inside_the_models_own_forward_pass_is_refused(given, plain):
    model, x = build("llama"), inputs("llama")
    right = pelrp_nb.explain(model, x)
    handle = model.model.layers[0].register_forward_hook(lambda *_: pelrp_nb.explain(model, [x] * given) and None)
    before = surroundings(model)
    with pytest.raises(ModelError, match=r"inside its own forward pass.*Take the hook off \(handle.remove\(\)\)"):
        model(**x) if plain else pelrp_nb.explain(model, [x] * given)
    assert not changed(before, surroundings(model))
    handle.remove()
    assert pelrp_nb.explain(model, x) == right


def test_another_model_may_be_explained_inside_a_forward_pass():
    model, other, x = build("llama"), build("gpt2"), inputs("llama")
    alone = by_hand(model, x), by_hand(other, x)
    found = []
    handle = model.model.layers[1].register_forward_hook(lambda *_: found.append(by_hand(other, x)))
    assert equal(by_hand(model, x), alone[0]) and equal(found[0], alone[1])
    handle.remove()


def test_one_explanation_inside_another_of_the_same_model():
    model, x, y = build("llama"), inputs("llama"), inputs("llama", seed=2)
    alone, found = (by_hand(model, x), by_hand(model, y)), []
    with propagate(model, PA_LRP) as flow:
        value = score(model(**x))
        found.append(by_hand(model, y))
        assert equal(flow.trace(value), alone[0]) and equal(found[0], alone[1])
    by_hand(model, x, watch=lambda _: found.append(by_hand(model, y)) if len(found) < 2 else None)
    assert equal(found[1], alone[1])


def test_a_model_copied_inside_is_a_model_like_any_other():
    model, x = build("llama"), inputs("llama")
    with propagate(model, PA_LRP):
        twin = copy.deepcopy(model)
    assert equal(by_hand(twin, x), by_hand(model, x))


# --- what a thread does with every tensor -----------------------------------------------------------------------------


class Made(nn.Module):
    """A linear map, and then what is asked for."""

    def __init__(self, how):
        super().__init__()
        self.first, self.how = nn.Linear(4, 4).double(), how

    def forward(self, x):
        return self.how(self.first(x))


X = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
INSIDE = {
    "vmap": lambda x: torch.func.vmap(lambda row: row.tanh())(x),
    "vmap twice": lambda x: torch.func.vmap(torch.func.vmap(lambda row: row @ torch.ones(4, 4, dtype=x.dtype)))(x[None]),
    "jvp": lambda x: torch.func.jvp(torch.tanh, (x,), (torch.ones_like(x),))[1],
    "grad": lambda x: x + torch.func.grad(lambda y: y.tanh().sum())(x),
}


def first(model: nn.Module, x: torch.Tensor):
    with propagate(model, PA_LRP) as flow:
        return flow.trace(model(x)[0, 0, 0])


@pytest.mark.parametrize("how", INSIDE)
def test_a_transform_of_what_carries_is_refused(how):
    model = Made(INSIDE[how])
    before = surroundings(model)
    with pytest.raises(ModelError, match=r"computes inside vmap, jvp.*Write that part with plain operations"):
        first(model, X[:1])
    assert not changed(before, surroundings(model))


def test_a_transform_of_a_mask_is_fine():
    mask = lambda x: x * torch.func.vmap(lambda i: (i > 0).to(x.dtype))(torch.arange(4))
    assert first(Made(mask), X[:1]).ledger.closed


@pytest.mark.parametrize("how", ["vmap", "jvp", "grad", "dual"])
def test_explaining_inside_a_transform_is_refused(how):
    model = Made(torch.tanh)
    before = surroundings(model)
    one = lambda x: first(model, x[None]).tokens.sum()
    with warnings.catch_warnings(), pytest.raises(ModelError, match=r"cannot be explained inside vmap, jvp.*Explain outside of it"):
        warnings.simplefilter("ignore")
        if how == "vmap":
            torch.func.vmap(one)(X)
        elif how == "jvp":
            torch.func.jvp(one, (X[0],), (X[0],))
        elif how == "grad":
            torch.func.grad(one)(X[0])
        else:
            with torch.autograd.forward_ad.dual_level():
                one(X[0])
    assert not changed(before, surroundings(model)) and first(model, X[:1]).ledger.closed


@pytest.mark.parametrize("how", ["default", "with"])
def test_a_default_device_without_values_is_refused(how):
    model, x = build("llama"), inputs("llama")
    right, before = pelrp_nb.explain(model, x), surroundings(model)
    try:
        if how == "default":
            torch.set_default_device("meta")
            with pytest.raises(ModelError, match=r"default device is meta.*set_default_device\(\"cpu\"\)"):
                pelrp_nb.explain(model, x)
        else:
            with torch.device("meta"), pytest.raises(ModelError, match="default device is meta"):
                pelrp_nb.explain(model, x)
    finally:
        torch.set_default_device(None)
    assert not changed(before, surroundings(model)) and pelrp_nb.explain(model, x) == right


def test_a_default_device_set_inside_stays():
    model, x = build("llama"), inputs("llama")
    try:
        with propagate(model, PA_LRP) as flow:
            torch.set_default_device("cpu")
            found = flow.trace(score(model(**x)))
        assert len(leaving.modes()) == 1 and not leaving.is_ours(leaving.modes()[0])
    finally:
        torch.set_default_device(None)
    assert not leaving.modes() and equal(found, by_hand(model, x))
