"""Every view is an ipywidget: it links, observes and nests like the core ones, in today's libraries and in Colab's (make colab)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from hostile import TOKENS
from made import REVIEW, made
from pelrp_nb import views
from pelrp_nb.views.data import clean, packed
from pelrp_nb.views.widget import View
from test_views import ODD, everywhere

ROOT = Path(__file__).resolve().parent.parent


def sent(view: View) -> str:
    """What goes over the wire, as strict JSON; bytes travel beside it."""
    return json.dumps(view.get_state(), allow_nan=False, default=lambda x: f"{len(x)} bytes")


def test_the_colab_environment_has_colabs_versions():
    import anywidget
    import IPython
    import traitlets

    if ".venv-colab" not in sys.prefix:
        pytest.skip("only in the environment of make colab")
    wanted = dict(line.split("==") for line in (ROOT / "colab.txt").read_text().splitlines() if not line.startswith("#"))
    have = {"ipywidgets": ipywidgets, "anywidget": anywidget, "ipython": IPython, "traitlets": traitlets}
    assert {name: module.__version__ for name, module in have.items()} == {name: wanted[name] for name in have}


# --- as an ipywidget ---------------------------------------------------------------------------------------------------


def test_explore_gives_a_widget_that_stands_at_the_inputs():
    e = made()
    view = e.explore()
    assert isinstance(view, ipywidgets.DOMWidget) and view.kind == "explanation"
    assert view.step == len(view.data["walk"]) - 1 == 14 and view.token == -1
    assert view.data["parts"]["signed"]["both"] == pytest.approx(e.relevance().tolist(), rel=1e-7)


def test_explore_stands_where_it_is_told():
    view = made().explore("stepper", step=3, token=2, part="content", reduction="absolute")
    assert (view.kind, view.step, view.token) == ("stepper", 3, 2)
    assert view.state == {"part": "content", "reduction": "absolute"}


def test_a_core_slider_links_to_the_step_both_ways():
    view, slider = made().explore(), ipywidgets.IntSlider(max=14)
    ipywidgets.link((slider, "value"), (view, "step"))
    slider.value = 5
    assert view.step == 5
    view.step = 9
    assert slider.value == 9


def test_jslink_ties_traits_without_a_kernel():
    view, slider = made().explore(), ipywidgets.IntSlider(max=14)
    tie = ipywidgets.jslink((slider, "value"), (view, "step"))
    assert tie.source == (slider, "value") and tie.target == (view, "step")
    assert {"step", "token"} <= set(view.keys)


def test_python_hears_what_the_reader_does():
    view, heard = made().explore(), []
    view.observe(lambda change: heard.append((change.name, change.new)), ["step", "token", "state"])
    view.set_state({"step": 4, "token": 2, "state": {"part": "position"}})
    assert heard == [("step", 4), ("token", 2), ("state", {"part": "position"})]


def test_two_views_stand_in_a_box_and_move_together():
    one, other = made().explore("stepper"), made(seed=1).explore("stepper")
    box = ipywidgets.HBox([one, other])
    ipywidgets.link((one, "step"), (other, "step"))
    one.step = 2
    assert [view.step for view in box.children] == [2, 2]


def test_a_dropdown_recomputes_in_python_and_the_same_view_shows_it():
    methods = {"pa-lrp": made(seed=0), "cp-lrp": made(seed=1)}
    view, pick = methods["pa-lrp"].explore(), ipywidgets.Dropdown(options=list(methods))
    pick.observe(lambda change: view.show(methods[change.new].sheet().data), "value")
    pick.value = "cp-lrp"
    assert view.data["value"] == pytest.approx(methods["cp-lrp"].value, rel=1e-7) and view.step == 14


# --- what travels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("e", ODD.values(), ids=ODD)
def test_whatever_the_numbers_they_travel_as_json(e):
    for kind in ("explanation", "stepper", "flow", "xray"):
        assert f'"kind": "{kind}"' in sent(e.explore(kind))


def test_hostile_texts_travel_as_text():
    for token in TOKENS:
        sent(everywhere(token).explore()).encode("utf-8")


def test_large_parts_travel_when_asked_for_and_as_half_precision():
    e = made()
    heads = {"layer 0 rotary": {"query": e.positional[:2], "key": e.positional[2:]}}
    view = made(detail={"heads": heads}).explore()
    assert view.asks and view.more == {} and view.data["offers"] == ["heads"]
    view.wanted = ["heads"]
    box = view.more["heads"]["layer 0 rotary"]["query"]
    got = np.frombuffer(box["f16"], "<f2").astype(float).reshape(box["shape"]) * box["scale"]
    assert got == pytest.approx(e.positional[:2].numpy(), rel=1e-3, abs=1e-4)
    assert len(box["f16"]) == 2 * 2 * len(REVIEW)


def test_a_part_nobody_has_is_none_and_a_part_is_made_once():
    made_parts = []
    view = View("stepper", made().sheet().data, parts={"heads": lambda: made_parts.append(1) or {"x": 1}})
    view.wanted = ["heads", "nothing"]
    view.wanted = ["heads", "nothing", "more"]
    assert view.more == {"heads": {"x": 1}, "nothing": None, "more": None} and made_parts == [1]


def test_packing_keeps_three_figures_of_the_largest_and_what_is_no_number():
    values = np.array([[1e-30, -3e-30], [np.nan, np.inf]])
    box = packed(values)
    back = np.frombuffer(box["f16"], "<f2").astype(float).reshape(2, 2) * box["scale"]
    assert back[0] == pytest.approx(values[0], rel=1e-3) and np.isnan(back[1, 0]) and np.isinf(back[1, 1])
    assert packed(np.zeros((0, 3)))["shape"] == [0, 3] and packed(np.zeros(2))["scale"] == 1.0


def test_numbers_are_named_where_json_has_none():
    assert clean({1: (float("nan"), float("inf"), -float("inf"), True, None, b"x")}) == {
        "1": ["NaN", "Infinity", "-Infinity", True, None, b"x"]
    }


# --- where a widget cannot be ------------------------------------------------------------------------------------------


def test_a_saved_view_holds_all_that_is_needed_without_a_kernel():
    from ipywidgets.embed import embed_data

    view = made().explore(step=3)
    state = embed_data(views=[view], drop_defaults=False)["manager_state"]["state"][view.model_id]["state"]
    assert state["step"] == 3 and state["data"]["tokens"] == list(REVIEW) and "kinds.stepper" in state["_esm"]


def test_a_view_holds_the_script_of_its_own_kind_and_of_no_other():
    shown = {kind: made().sheet(kind).explore() for kind in ("stepper", "xray")}
    assert all(f"kinds.{kind} =" in view._esm and "kinds.monitor" not in view._esm for kind, view in shown.items())
    assert "kinds.xray" not in shown["stepper"]._esm and list(shown["stepper"]._shell["kinds"]) == ["stepper"]
    assert sum(map(len, (shown["stepper"]._esm, shown["stepper"]._css))) < 124_000


def test_without_the_widget_library_results_still_show_and_say_what_to_type():
    code = (
        "import sys; sys.path.insert(0, 'tests'); sys.modules['anywidget'] = None; from made import made; e = made(); "
        "assert '<iframe' in e._repr_html_() and e.to_html().startswith('<!doctype html>'); "
        "e.explore()"
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "Type %pip install anywidget" in run.stderr and ".to_html(path)" in run.stderr


def test_results_load_no_widget_library_until_one_is_wanted():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from made import made; e = made(); e._repr_html_(), repr(e), e.to_html(); "
        "sys.exit(any(name in sys.modules for name in ('anywidget', 'ipywidgets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_the_other_views_are_widgets_too():
    compared = views.compare([made(), made(seed=1)], ["one", "two"]).explore(against=0)
    assert compared.kind == "compare" and compared.state == {"against": 0}
    assert [item["name"] for item in compared.data["items"]] == ["one", "two"]


def test_a_live_view_that_nobody_trusts_says_how_to_see_it(tmp_path):
    view = made().explore("stepper", step=3)
    bundle = view._repr_mimebundle_()
    assert (bundle[0] if isinstance(bundle, tuple) else bundle)["text/plain"] == repr(view)
    assert len(repr(view)) <= 110 and "trust this notebook" in repr(view) and ".to_html(path)" in repr(view)
    view.to_html(tmp_path / "view.html")
    page = (tmp_path / "view.html").read_text(encoding="utf-8")
    assert page == view.to_html() and '"step":3' in page and '"kind":"stepper"' in page
