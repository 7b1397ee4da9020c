"""The monitor without a browser: runs in a thread of its own, is heard of, can be stopped, and leaves the model as it was."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hostile import TOKENS
from made import made
from traitlets import TraitError

from pelrp_nb import CP_LRP, Options, explain, live, zoo
from pelrp_nb.composites import NAMED
from pelrp_nb.errors import InputError, TargetError, ZooError
from pelrp_nb.live.report import reported
from pelrp_nb.live.worker import Cancelled, Request, State, Work, devices, elsewhere
from pelrp_nb.views.data import as_json

TEXT = "a gorgeous , witty film"
PHASES = ["loading", "forward", "backward", "done"]


@pytest.fixture(scope="module")
def pair():
    return zoo.load("reviews-rotary")


def request(pair, text=TEXT, **given) -> Request:
    return Request(lambda: pair, text, given)


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def snapshot(model) -> tuple:
    """All that a run may not change."""
    parameters = {n: (p.requires_grad, p.grad, p.device, float(p.detach().double().sum())) for n, p in model.named_parameters()}
    return parameters, model.training, hooks(model), model.config._attn_implementation, torch.get_rng_state().tolist()


# --- the run ---------------------------------------------------------------------------------------------------------


def test_a_run_is_the_explanation(pair):
    end = Work(request(pair, composite=CP_LRP)).start().wait()
    model, tokenizer = pair
    assert end.phase == "done" and end.error is None
    assert end.result == explain(model, TEXT, processor=tokenizer, composite=CP_LRP)


def test_a_run_is_heard_of_boundary_by_boundary(pair):
    """Phases in order; boundaries in the order of the walk back, one more each time, equal to the result's."""
    heard: list[State] = []
    end = Work(request(pair), heard.append).start().wait()
    assert [p for p in PHASES if p in {s.phase for s in heard}] == PHASES
    assert sorted({s.phase for s in heard}, key=PHASES.index) == list(dict.fromkeys(s.phase for s in heard))
    counts = [len(s.boundaries) for s in heard]
    assert counts == sorted(counts) and set(counts) == set(range(len(end.result.boundaries) + 1))
    assert all(a.boundaries == b.boundaries[: len(a.boundaries)] for a, b in pairwise(heard))
    found = {b.name: b for b in end.result.boundaries}
    for b in end.boundaries:
        torch.testing.assert_close(b.relevance, found[b.name].relevance)
    layers = [b.layer for b in end.boundaries if b.kind == "layer"]
    assert layers == sorted(layers, reverse=True) and end.boundaries[-1].kind == "embeddings"


def test_times_and_memory_are_measured(pair):
    end = Work(request(pair)).start().wait()
    assert all(end.times[phase] > 0 for phase in ("loading", "forward", "backward"))
    assert end.times["total"] == pytest.approx(sum(end.times[phase] for phase in ("loading", "forward", "backward")), rel=0.5)
    used, of_what = end.memory
    assert used > 10e6 and of_what


def test_a_long_phase_gives_signs_of_life(pair):
    heard: list[State] = []

    def slow():
        time.sleep(1.3)
        return pair

    Work(Request(slow, TEXT), heard.append).start().wait()
    waited = [s.times["total"] for s in heard if s.phase == "loading"]
    assert len(waited) >= 2 and waited[-1] > 0.9


@pytest.mark.parametrize("when", ["forward", "backward", "late"])
def test_a_cancelled_run_leaves_the_model_as_it_was(pair, when):
    before = snapshot(pair[0])

    def stop(state: State) -> None:
        if state.phase == when or (when == "late" and len(state.boundaries) == 8):
            work.cancel()

    work = Work(request(pair), stop)
    end = work.start().wait()
    assert end.phase == "cancelled" and end.result is None and end.error is None
    assert len(end.boundaries) == {"forward": 0, "backward": 1, "late": 8}[when]
    assert snapshot(pair[0]) == before
    assert Work(request(pair)).start().wait().phase == "done"


def test_a_run_that_fails_says_why(pair):
    before = snapshot(pair[0])
    end = Work(request(pair, target="excellent")).start().wait()
    assert end.phase == "failed" and isinstance(end.error, TargetError) and snapshot(pair[0]) == before


def test_an_error_of_the_model_is_reported_as_it_is(pair):
    model, _ = pair

    def broken(*_):
        raise ZeroDivisionError("a bug of the model")

    handle = model.model.layers[2].register_forward_hook(broken)
    try:
        end = Work(request(pair)).start().wait()
    finally:
        handle.remove()
    assert end.phase == "failed" and isinstance(end.error, ZeroDivisionError) and hooks(model) == 0


def test_two_runs_of_one_model_at_once(pair):
    works = [Work(request(pair, composite=c)).start() for c in NAMED.values() if c.start == "value"]
    ends = [work.wait() for work in works]
    assert [end.phase for end in ends] == ["done"] * len(works)
    assert len({repr(end.result.semantic.tolist()) for end in ends}) > 1


def test_an_own_watch_gives_way(pair):
    """`Options.watch` is the monitor's; other options are the user's."""
    end = Work(request(pair, options=Options(audit=True, watch=lambda b: pytest.fail("heard")))).start().wait()
    assert end.result.ledger.audited


def test_a_run_may_be_cancelled_before_it_begins(pair, recwarn):
    work = Work(request(pair))
    work.cancel()
    assert work.start().wait().phase == "cancelled" and not recwarn.list


def test_a_library_that_swallows_exceptions_does_not_make_a_cancelled_run_fail(pair):
    """transformers turns whatever is raised while it makes tensors into a ValueError."""

    def swallows():
        work.cancel()
        try:
            torch.zeros(1)
            raise Cancelled
        except Cancelled as error:
            raise ValueError("something else") from error

    work = Work(Request(swallows, TEXT))
    end = work.start().wait()
    assert (end.phase, end.error) == ("cancelled", None) and not issubclass(Cancelled, Exception)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_devices_are_those_that_torch_has():
    found = devices()
    assert found[0] == "cpu"
    assert len([d for d in found if d.startswith("cuda")]) == torch.cuda.device_count()


def test_a_model_goes_elsewhere_and_comes_back(monkeypatch):
    """With a stand-in for an accelerator: the meta device, where no numbers are."""
    model = torch.nn.Linear(2, 2)
    monkeypatch.setattr("pelrp_nb.live.worker.devices", lambda: ["cpu", "cpu:0"])
    with elsewhere(model, "cpu:0"):
        assert next(model.parameters()).device.type == "cpu"
    with pytest.raises(InputError, match="must be one of cpu, cpu:0; got 'cuda:7'"), elsewhere(model, "cuda:7"):
        pass
    model.hf_device_map = {}
    monkeypatch.setattr("pelrp_nb.live.worker.devices", lambda: ["cpu", "meta"])
    with pytest.raises(InputError, match="spread over several devices"), elsewhere(model, "meta"):
        pass


# --- the widget ------------------------------------------------------------------------------------------------------


def test_run_returns_the_explanation_and_keeps_it(pair):
    model, tokenizer = pair
    monitor = live.monitor(model, tokenizer)
    found = monitor.run(TEXT, method="cp-lrp", target="negative", contrast="positive")
    assert found == explain(model, TEXT, processor=tokenizer, composite=CP_LRP, target="negative", contrast="positive")
    assert monitor.result is found and not monitor.running
    assert (monitor.text, monitor.method, monitor.model) == (TEXT, "cp-lrp", "reviews-rotary")


def test_the_report_is_the_result(pair):
    monitor = live.monitor(*pair)
    assert monitor.report["phase"] == "idle" and monitor.result is None
    e = monitor.run(TEXT, audit=True)
    report = monitor.report
    assert report["phase"] == "done" and report["tokens"] == list(e.tokens) and report["labels"] == ["negative", "positive"]
    by_name = {b["name"]: b for b in report["boundaries"]}
    shown = [b for b in e.boundaries if b.kind in ("layer", "embeddings")]
    assert set(by_name) == {b.name for b in shown}
    for b in shown:
        packed = np.frombuffer(by_name[b.name]["relevance"]["f32"], dtype="<f4")
        assert packed.tolist() == pytest.approx(b.relevance.tolist(), rel=1e-6)
        assert (by_name[b.name]["closed"] is None) == (b.gap is None)
    assert all(b["closed"] for b in report["boundaries"] if b["kind"] in ("layer", "embeddings"))
    assert report["result"]["value"] == pytest.approx(e.value) and report["result"]["closed"]
    assert dict(report["result"]["rows"]) == pytest.approx(dict(e.ledger.rows()), abs=1e-7)
    json.loads(as_json(report))


def test_a_report_is_sent_once_and_packed(pair):
    """Four bytes a number, of the boundaries that all relevance crosses alone."""
    e = made([f"token{t}" for t in range(400)], layers=12)
    report = reported(State("done", e.tokens, e.special, e.boundaries, {"total": 1.0}, None, e), 1)
    numbers = 400 * (12 + 1 + 2)
    assert len(as_json(report)) < 4 / 3 * 4 * numbers + 15_000 and len(report["boundaries"]) == 13


def test_a_broken_rule_turns_the_checks_red_while_the_walk_runs(pair, monkeypatch):
    """The layers in front of the mistake stay green."""
    monkeypatch.setattr("pelrp_nb.live.monitoring.EVERY", 0.0)
    monitor, sent = live.monitor(*pair, composites={"wrong": live.broken.GELU_BY_OPERATIONS}), []
    monkeypatch.setattr(monitor, "send", sent.append)
    monitor.run(TEXT)
    running = {b["name"]: b["closed"] for message in sent for b in message.get("boundaries", ()) if b["closed"] is not None}
    assert running["layer 3"] and not running["layer 2"]
    checks = {b["name"]: b["closed"] for b in monitor.report["boundaries"] if b["closed"] is not None}
    assert checks["layer 3"] and not checks["layer 2"]
    assert not monitor.report["result"]["closed"] and "layer 2" in monitor.report["result"]["verdict"]


def test_the_page_hears_of_boundaries_while_it_runs(pair, monkeypatch):
    monkeypatch.setattr("pelrp_nb.live.monitoring.EVERY", 0.0)
    monitor, sent = live.monitor(*pair), []
    monkeypatch.setattr(monitor, "send", sent.append)
    e = monitor.run(TEXT)
    parts = [message for message in sent if "from" in message]
    assert [b["name"] for m in parts for b in m["boundaries"]] == [b["name"] for b in monitor.report["boundaries"]]
    assert [m["from"] for m in parts] == [sum(len(p["boundaries"]) for p in parts[:i]) for i in range(len(parts))]
    assert len(monitor.report["boundaries"]) == sum(b.kind in ("layer", "embeddings") for b in e.boundaries)
    told = {b["name"]: b["closed"] for m in parts for b in m["boundaries"]}
    assert told == {b["name"]: b["closed"] for b in monitor.report["boundaries"]} and True in told.values()


def test_messages_are_throttled(pair):
    monitor, sent = live.monitor(*pair), []
    monitor.send = sent.append
    monitor.run(TEXT)
    assert len([m for m in sent if "from" in m]) <= 1 + monitor.report["times"]["total"] / 0.08


def test_an_error_is_shown_and_raised(pair):
    monitor = live.monitor(*pair)
    with pytest.raises(TargetError, match="no label 'excellent'"):
        monitor.run(TEXT, target="excellent")
    assert monitor.report["phase"] == "failed" and not monitor.running
    said = "The model has no label 'excellent'; its labels are negative, positive."
    assert monitor.report["error"] == {"kind": "TargetError", "text": said, "ours": True}
    assert monitor.run(TEXT, target="").ledger.closed


def test_cancel_stops_and_says_so(pair):
    monitor = live.monitor(*pair)
    monitor.observe(lambda change: change.new["phase"] == "forward" and monitor.cancel(), "report")
    with pytest.raises(InputError, match="was cancelled"):
        monitor.run(TEXT)
    assert monitor.report["phase"] == "cancelled" and monitor.result is None and hooks(pair[0]) == 0


def test_a_new_run_takes_the_place_of_the_one_before(pair):
    """The first is cancelled, and nothing of it is heard any more."""
    model, tokenizer = pair
    handle = model.model.layers[0].register_forward_hook(lambda *_: time.sleep(0.2))
    try:
        monitor = live.monitor(model, tokenizer, text="a dull film")
        monitor.start()
        first = monitor._work
        found = monitor.run(TEXT)
    finally:
        handle.remove()
    assert first.state.phase == "cancelled" and found.text == TEXT and monitor.report["serial"] == 2


def test_the_buttons_of_the_page_run_and_cancel(pair):
    monitor, sent = live.monitor(*pair), []
    monitor.send = sent.append
    monitor._heard(None, {"ask": "hello"})
    assert sent == [{"here": True}]
    monitor._heard(None, {"ask": "run", "settings": {"text": "a dull film", "method": "attn-lrp", "target": "1"}})
    assert monitor._work.wait().phase == "done" and monitor.result.method == "attn-lrp" and monitor.result.target == "positive"
    monitor._heard(None, {"ask": "walk"})
    assert sent[-1]["serial"] == monitor.report["serial"] and len(sent[-1]["walk"]["walk"]) == 15
    monitor._heard(None, {"ask": "cancel"})
    monitor._heard(None, {"ask": "run", "settings": {"method": "no such method"}})
    assert monitor.report["phase"] == "failed" and "method must be one of" in monitor.report["error"]["text"]


@pytest.mark.parametrize("message", [None, "run", 3, {}, {"ask": None}, {"ask": "no_such"}, {"ask": "__init__"}, {"ask": ["run"]}])
def test_a_strange_message_does_nothing(pair, message):
    monitor = live.monitor(*pair)
    monitor._heard(None, message)
    assert monitor.report["phase"] == "idle" and monitor._work is None


def test_a_setting_that_does_not_exist_is_refused(pair):
    monitor = live.monitor(*pair)
    with pytest.raises(InputError, match="no setting 'colour'; it has text, model"):
        monitor.run(TEXT, colour="red")
    with pytest.raises(InputError, match="method must be one of pa-lrp"):
        monitor.run(TEXT, method="lrp")
    with pytest.raises(InputError, match="model must be one of reviews-rotary; got 'gpt2'"):
        monitor.model = "gpt2"
    with pytest.raises(TraitError):
        monitor.text = 3


def test_an_empty_text_is_refused_in_the_view(pair):
    monitor = live.monitor(*pair)
    with pytest.raises(InputError, match="text is empty"):
        monitor.run("   ")
    assert "text is empty" in monitor.report["error"]["text"]


# --- several models --------------------------------------------------------------------------------------------------


def test_models_of_the_zoo_are_loaded_when_they_are_chosen():
    monitor = live.monitor(["reviews-rotary", "reviews-learnable"])
    assert [name for name, _ in monitor.data["models"]] == ["reviews-rotary", "reviews-learnable"]
    assert monitor._loaded == {}
    assert monitor.run(TEXT, model="reviews-learnable").model == "reviews-learnable"
    assert list(monitor._loaded) == ["reviews-learnable"]
    assert monitor.data["texts"] == [e.text for e in zoo.task("reviews").examples[:8]]


def test_own_models_stand_beside_those_of_the_zoo(pair):
    monitor = live.monitor({"mine": pair, "theirs": "reviews-absolute"}, texts=("one", "two"))
    assert monitor.model == "mine" and monitor.data["texts"] == ["one", "two"] and monitor.text == "one"
    assert monitor.run(TEXT).model == "reviews-rotary"
    assert len(live.monitor().data["models"]) == len(zoo.names())


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="needs a model, a name, or a mapping"):
        live.monitor(3)
    with pytest.raises(InputError, match=r"'x' must be \(model, processor\)"):
        live.monitor({"x": 3})
    with pytest.raises(InputError, match="no model to choose from"):
        live.monitor([])
    with pytest.raises(ZooError, match="No model `nonsense`"):
        live.monitor("nonsense").run(TEXT)


# --- hostile text, pages ---------------------------------------------------------------------------------------------


def test_hostile_tokens_are_made_visible():
    e = made(TOKENS)
    report = reported(State("done", e.tokens, e.special, e.boundaries, {"total": 1.0}, (1, "x"), e), 1, TOKENS)
    text = as_json(report)
    assert "<script" not in text and "\u202e" not in text and "\\u202e" not in text
    assert max(len(json.dumps(token)) for token in report["tokens"]) < 1000
    failed = reported(State("failed", error=ValueError("".join(TOKENS))), 2)
    assert "\\u202e" not in as_json(failed) and len(failed["error"]["text"]) < 4000


def test_the_last_state_is_kept_as_a_page(pair, tmp_path):
    monitor = live.monitor(*pair)
    monitor.run(TEXT)
    monitor.to_html(tmp_path / "monitor.html")
    text = (tmp_path / "monitor.html").read_text(encoding="utf-8")
    assert '"phase":"done"' in text and "default-src 'none'" in text


def test_settings_are_traits_that_core_widgets_can_be_linked_to(pair):
    """A Dropdown and the monitor in one box: either sets the other."""
    from ipywidgets import Dropdown, HBox, link

    monitor = live.monitor(*pair)
    pick = Dropdown(options=list(NAMED), value="pa-lrp")
    link((pick, "value"), (monitor, "method"))
    assert HBox([pick, monitor]).children[1] is monitor
    pick.value = "cp-lrp"
    assert monitor.method == "cp-lrp"
    monitor.run(TEXT, method="attn-lrp")
    assert pick.value == "attn-lrp"


def test_what_observes_a_run_may_start_another_but_not_wait_for_it(pair):
    monitor, heard = live.monitor(*pair), []

    def again(change):
        if not change.new and not heard:
            with pytest.raises(InputError, match="nobody can wait"):
                monitor.run("a dull film")
            heard.append("refused")
            monitor.text = "a dull film"
            monitor.start()

    monitor.observe(again, "running")
    monitor.run(TEXT)
    assert monitor._work.wait(30).phase == "done" and heard == ["refused"] and monitor.result.text == "a dull film"


def test_half_a_character_is_not_sent(pair):
    assert live.monitor(*pair, texts=["a\ud800b"]).data["texts"] == ["a?b"]


def test_a_result_can_be_observed(pair):
    monitor, heard = live.monitor(*pair), []
    monitor.observe(lambda change: heard.append((change.old, change.new)), "running")
    monitor.run(TEXT)
    assert heard == [(False, True), (True, False)]
