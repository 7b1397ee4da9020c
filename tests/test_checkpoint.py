"""Layers run again in the backward pass: the same numbers, less memory, whoever asked for it."""

from __future__ import annotations

import copy
import threading
import warnings
from dataclasses import replace

import pytest
import torch
from models import FAMILIES, build, build_position, inputs, score
from test_engine import same, state
from test_streams import written
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import checkpoint as torchs

import pelrp_nb
from pelrp_nb import rules
from pelrp_nb.composites import CP_LRP, PA_LRP, PA_LRP_RES, PA_LRP_VISION
from pelrp_nb.engine import checkpointing, saved
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate
from pelrp_nb.errors import InputError, ModelError


def run(model, x, composite=PA_LRP, **options):
    with propagate(model, composite, Options(**options)) as flow:
        return flow.trace(score(model(**x)))


def equal(a, b, rtol: float = 0.0) -> bool:
    """Two traces, whole: tokens, sinks, boundaries and every line of the ledger."""
    close = lambda x, y: torch.allclose(x, y, rtol=rtol, atol=rtol * float(y.norm()))
    boundaries = zip(a.boundaries, b.boundaries, strict=True)
    return (
        close(a.tokens, b.tokens) and close(a.positional, b.positional) and a.sinks == b.sinks
        and all(p.name == q.name and close(p.relevance, q.relevance) for p, q in boundaries) and a.ledger == b.ledger
    )  # fmt: skip


def checkpointed(family: str, reentrant: bool, dtype: torch.dtype = torch.float64, attention: str = "sdpa") -> nn.Module:
    """A model in training mode, dropout off, whose own gradient checkpointing is on."""
    model = build(family, attention, dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout_prob", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return model.train()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_the_same_to_the_bit(family, attention):
    model, x = build(family, attention), inputs(family)
    more = [(PA_LRP_VISION, False), (CP_LRP, True)] if family == "vit" else []
    for composite, audit in [(PA_LRP, True), (PA_LRP_RES, False), *more]:
        plain = run(model, x, composite, audit=audit)
        assert equal(run(model, x, composite, audit=audit, checkpoint=True), plain) and plain.ledger.closed


@pytest.mark.parametrize("detail", ["heads", "query_key", "frequencies", "coordinates"])
def test_detail_is_the_same(detail):
    model, x = build("llama"), inputs("llama")
    plain, again = (run(model, x, detail={detail}, checkpoint=c) for c in (False, True))
    assert plain.detail and same(dict(plain.detail), dict(again.detail))


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "vit"])
def test_the_models_own_checkpointing_changes_nothing(family, reentrant):
    plain, x = run(build(family), inputs(family), audit=True), inputs(family)
    model = checkpointed(family, reentrant)
    before = state(model)
    functions = [vars(m).get("_gradient_checkpointing_func") for m in model.modules()]
    assert any(functions)
    assert equal(run(model, x, audit=True), plain)
    assert same(before, state(model))
    assert all(f is vars(m).get("_gradient_checkpointing_func") for f, m in zip(functions, model.modules(), strict=True))
    assert pelrp_nb.explain(model, x).ledger.closed


def test_each_layer_runs_once_more_and_not_twice(monkeypatch):
    runs: list = []
    again = checkpointing.Layer.again
    monkeypatch.setattr(checkpointing.Layer, "again", lambda layer: (runs.append(layer.flow.layer), again(layer)))
    for model in (build("llama", "eager"), checkpointed("llama", True), checkpointed("llama", False)):
        runs.clear()
        run(model, inputs("llama"), audit=True, checkpoint=not model.training)
        assert runs == [2, 1, 0]


PASS = ("account", "inputs", "recorder", "streams")


def state_of(flow) -> dict[str, object]:
    """Every list, dict and set of a pass and of its parts, by name."""
    parts = {"": flow, **{f"{name}.": getattr(flow, name) for name in PASS}}
    return {f"{at}{k}": v for at, part in parts.items() for k, v in vars(part).items() if isinstance(v, list | dict | set)}


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_what_a_pass_changes_is_its_twins_own(name):
    """Looked at after every module, so that what grows and shrinks again is seen too."""
    model, x = (build(name), inputs(name)) if name == "llama" else (written(name), {"input_ids": torch.arange(5, 9)[None]})
    x |= {"decoder_input_ids": torch.tensor([[0, 3]])} if name == "t5" else {}
    layer, mlp = ("layer 1", "model.layers.1.mlp") if name == "llama" else ("decoder layer 1", "decoder.block.1.layer.2")
    options = Options(detail={"heads"}, only={layer: {"heads": [1]}})
    with propagate(model, PA_LRP.where({mlp: {"linear": rules.gamma(0.1)}}), options) as flow:
        before = {k: copy.copy(v) for k, v in state_of(flow).items()}
        changed: set[str] = set()
        look = lambda *_: changed.update(k for k, v in state_of(flow).items() if list(v) != list(before[k]))
        for module in model.modules():
            module.register_forward_hook(look)
        model(**x)
        twin = checkpointing.apart(flow)
    assert len(changed) > 12 and not [k for k in changed if state_of(twin)[k] is state_of(flow)[k]]


def test_what_a_second_run_made_is_gone_when_the_next_begins(monkeypatch):
    """Of an encoder and a decoder too, whose biases hear at the end which weights they were centred by."""
    (model, x), seen, left, again = build_position("t5"), [], [], checkpointing.Layer.again

    def watched(layer):
        left.append(sum(not s.expired() for s in seen))
        handle = layer.module.layer[0].SelfAttention.q.register_forward_hook(
            lambda module, args, output: seen.append(StorageWeakRef(output.untyped_storage()))
        )
        again(layer)
        handle.remove()

    monkeypatch.setattr(checkpointing.Layer, "again", watched)
    run(model, x, checkpoint=True)
    assert len(seen) > 3 and left == [0] * len(left)


@pytest.mark.parametrize("asked", [True, False])
def test_what_a_layer_saved_is_gone_when_it_ends(asked):
    model, x, seen = build("llama", "eager"), inputs("llama"), []
    watch = lambda module, args, output: seen.append(StorageWeakRef(output.untyped_storage()))
    parts = [m for layer in model.model.layers for m in (layer.mlp.gate_proj, layer.self_attn.o_proj)]
    handles = [m.register_forward_hook(watch) for m in parts]
    with propagate(model, PA_LRP, Options(checkpoint=asked, audit=True)) as flow:
        value = score(model(**x))
        assert [s.expired() for s in seen] == [asked] * 6
        flow.trace(value)
        assert len(seen) == (12 if asked else 6) and (not asked or all(s.expired() for s in seen))
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_several_targets_from_one_forward(attention):
    model, x = build("llama", attention), inputs("llama")
    found = {}
    for asked in (False, True):
        with propagate(model, PA_LRP, Options(checkpoint=asked, audit=True)) as flow:
            logits = model(**x).logits
            found[asked] = [flow.trace(logits[0, -1, i], keep=i < 5) for i in (3, 4, 5)]
    assert all(equal(a, b) for a, b in zip(found[True], found[False], strict=True))


def test_the_walk_back_may_begin_after_the_with():
    model, x = build("llama"), inputs("llama")
    composite = replace(PA_LRP_VISION, patch=PA_LRP.patch)  # its rules ask which module is running
    before = state(model)
    with propagate(model, composite, Options(checkpoint=True)) as flow:
        value = score(model(**x))
    assert equal(flow.trace(value), run(model, x, composite))
    del flow, value
    assert same(before, state(model))


def test_boundaries_are_told_once():
    heard: list = []
    run(build("llama"), inputs("llama"), checkpoint=True, watch=heard.append)
    assert [b.name for b in heard if b.kind == "layer"] == ["layer 2", "layer 1", "layer 0"]
    assert len({b.name for b in heard}) == len(heard) == 10


def test_autocast_is_in_force_in_the_second_run():
    model, x = build("llama", dtype=torch.float32), inputs("llama")

    def under(asked: bool):
        with propagate(model, PA_LRP, Options(checkpoint=asked)) as flow:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = score(model(**x))
            return flow.trace(value)

    assert equal(under(True), under(False))
    assert not equal(under(True), run(model, x))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_in_every_precision(dtype, attention):
    model, x = build("llama", attention, dtype), inputs("llama")
    assert equal(run(model, x, audit=True, checkpoint=True), run(model, x, audit=True))


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["forward", "backward", "second run"])
def test_nothing_is_left_behind_by_an_exception(where, error):
    model, x, calls = build("llama"), inputs("llama"), []

    def fail(*_):
        calls.append(1)
        if where != "second run" or len(calls) > 1:
            raise error("here")

    handle = model.model.layers[1].mlp.register_forward_hook(fail) if where != "backward" else None
    before = state(model)
    with pytest.raises(error):
        run(model, x, checkpoint=True, watch=fail if where == "backward" else None)
    assert same(before, state(model)) and not saved.stack() and not saved.flows()
    if handle is not None:
        handle.remove()
    y = torch.ones(3, requires_grad=True).exp()
    assert y.grad_fn._saved_result is not None and y.grad_fn._raw_saved_result is not None
    assert run(model, x, checkpoint=True).ledger.closed


def test_two_threads_one_of_them_checkpointing():
    model = build("llama", dtype=torch.float32)
    texts = [inputs("llama", seed=s) for s in (1, 2)]
    single = [run(model, x) for x in texts]
    wrong: list = []

    def work(i: int) -> None:
        try:
            wrong.extend(i for _ in range(20) if not equal(run(model, texts[i], checkpoint=bool(i)), single[i]))
        except Exception as error:
            wrong.append(error)

    before = state(model)
    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and same(before, state(model))


def test_other_threads_keep_the_models_own_checkpointing():
    model, x, used = checkpointed("llama", False), inputs("llama"), []
    own = model.model.layers[0]._gradient_checkpointing_func
    for layer in model.model.layers:
        layer._gradient_checkpointing_func = lambda *args, **kwargs: (used.append(1), own(*args, **kwargs))[1]
    with propagate(model, PA_LRP):
        thread = threading.Thread(target=lambda: model(**x))
        thread.start()
        thread.join()
        assert len(used) == 3
        model(**x)
        assert len(used) == 3


class Checkpointing(nn.Module):
    """A model that calls torch's checkpoint itself."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.LayerNorm(4), nn.Linear(4, 4)).double()

    def forward(self, x):
        return torchs.checkpoint(self.inner, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_of_the_models_own_making_is_refused(reentrant):
    model, x = Checkpointing(reentrant), torch.randn(1, 4, dtype=torch.float64)
    with pytest.raises(pelrp_nb.errors.PelrpError, match="heckpoint"), propagate(model, PA_LRP) as flow:
        flow.trace(model(x)[0, 0])


class Padded(nn.Module):
    """A model that joins an empty leaf to its input, as torch's own checkpointing makes one."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2).double()

    def forward(self, x):
        return self.linear(torch.cat([x, torch.empty((0, 4), dtype=x.dtype, requires_grad=True)]))


def test_an_empty_tensor_may_require_a_gradient():
    found = pelrp_nb.explain(Padded(), torch.randn(1, 4, dtype=torch.float64), target=0)
    assert found.ledger.closed


class Writing(nn.Module):
    """A layer that writes into its own input: it cannot be run again, and so keeps what it saved."""

    def __init__(self, moody: bool = False) -> None:
        super().__init__()
        self.norm, self.linear, self.moody, self.calls = nn.LayerNorm(4), nn.Linear(4, 4), moody, 0

    def forward(self, x):
        self.calls += 1
        if self.moody:
            return x + self.linear(self.norm(x).tanh() if self.calls % 2 else self.norm(x))
        x += self.linear(self.norm(x))
        return x


class Written(nn.Module):
    def __init__(self, moody: bool = False) -> None:
        super().__init__()
        self.first, self.layers = nn.Linear(4, 4), nn.ModuleList([Writing(moody) for _ in range(2)])
        self.double()

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_layer_that_writes_into_its_input_keeps_what_it_saved():
    model, x = Written(), torch.randn(1, 3, 4, dtype=torch.float64)
    found = []
    for asked in (True, False):
        with propagate(model, PA_LRP, Options(checkpoint=asked)) as flow:
            found.append(flow.trace(model(x)[0, 0, 0]))
    assert equal(*found) and found[0].ledger.closed


def test_a_layer_that_does_not_repeat_itself_is_refused():
    model, x = Written(moody=True), torch.randn(1, 3, 4, dtype=torch.float64)
    with (
        pytest.raises(ModelError, match=r"layers\.1. did not repeat itself.*Options\(checkpoint=False\)"),
        propagate(model, PA_LRP, Options(checkpoint=True)) as flow,
    ):
        flow.trace(model(x)[0, 0, 0])


def test_a_model_without_layers_has_nothing_to_run_again():
    with pytest.raises(InputError, match="Linear has no layers"), propagate(nn.Linear(3, 3), PA_LRP, Options(checkpoint=True)):
        pass
