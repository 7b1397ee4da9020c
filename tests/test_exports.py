"""What a result is handed on as: arrays whose rows have names, a dict, LaTeX, panels in somebody's axes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from made import made
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from models import build, build_position, inputs

from pelrp_nb import Options, explain
from pelrp_nb.engine.trace import Boundary
from pelrp_nb.results.latex import typed
from pelrp_nb.views.look import Look

HOSTILE = ("[CLS]", "*", "\\input{x}", "50%", "a_b", "$x^2$", "#1", "{", "}", "~", "&", "--", "\u202e", "<|im|>", '"', "\u2581word", "\n")


def test_layers_are_the_boundaries_of_layers_in_their_order():
    found = explain(build("llama"), inputs("llama", T=7))
    assert found.layers.shape == (3, 7) and found.layers.names == ("layer 0", "layer 1", "layer 2")
    for boundary in found.boundaries:
        if boundary.kind == "layer":
            assert torch.equal(found.layers[boundary.name], boundary.relevance)
    assert torch.equal(found.layers[1], found.layers["layer 1"]) and torch.equal(found.layers[:, 2], found.layers.values[:, 2])


def test_heads_are_those_of_the_detail():
    found = explain(build("gpt2"), inputs("gpt2", T=6), options=Options(detail={"heads"}))
    assert found.heads.shape == (3, 4, 6)
    for i, (name, parts) in enumerate(found.detail["attention"].items()):
        assert torch.equal(found.heads[name], parts["heads"]) and torch.equal(found.heads[i, 2], parts["heads"][2])


def test_arrays_go_into_numpy_and_pandas_with_their_names():
    found = explain(build("bert"), inputs("bert", T=5), options=Options(detail={"heads"}))
    assert np.allclose(np.asarray(found.layers), found.layers.values.numpy())
    assert np.asarray(found.layers, dtype=np.float32).dtype == np.float32 and len(list(found.layers)) == 3
    frame = found.layers.to_frame()
    assert list(frame.index) == ["layer 0", "layer 1", "layer 2"] and list(frame.columns) == list(found.tokens)
    assert frame.loc["layer 2"].tolist() == found.layers["layer 2"].tolist()
    by_head = found.heads.to_frame()
    assert by_head.loc[("layer 1", 3)].tolist() == found.heads["layer 1"][3].tolist()


def test_streams_have_arrays_of_their_own():
    model, given = build_position("t5")
    found = explain(model, given)
    for name, stream in found.streams.items():
        assert stream.layers.shape == (2, len(stream.tokens)) and stream.layers.names == (f"{name} layer 0", f"{name} layer 1")


def test_a_cell_shows_rows_as_a_table_and_obeys_no_token():
    shown = made(("<b>bold</b>", "\u202e"), layers=2).layers._repr_html_()
    assert "&lt;b&gt;bold" in shown and "<b>bold" not in shown and "\u202e" not in shown and "layer 1" in shown


def test_a_row_of_another_number_of_places_has_numbers_for_names():
    longer = made(("a", "b"), layers=1)
    other = made(("a", "b"), boundaries=(Boundary("layer 0", "layer", 0, torch.ones(5), 0.0),))
    assert longer.layers.columns == ("a", "b") and other.layers.columns == ("0", "1", "2", "3", "4")


def test_a_dict_is_the_whole_result_as_json_takes_it():
    model, given = build_position("t5")
    found = explain(model, given)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["semantic"] == found.semantic.tolist() and told["relevance"]["signed"] == found.relevance().tolist()
    assert told["ledger"]["value"] == found.ledger.value and told["ledger"]["gap"] == found.ledger.gap
    assert told["streams"]["decoder"]["semantic"] == found.streams["decoder"].semantic.tolist()


@pytest.mark.parametrize("kind", ["words", "table"])
def test_latex_shows_what_a_token_says_and_obeys_none_of_it(kind):
    text = made(HOSTILE).to_latex(kind)
    body = re.sub(r"\\[#$%&_{}]", "", "\n".join(text.splitlines()[1:]))  # what is escaped
    assert body.count("{") == body.count("}") and "%\n" in body + "%\n" and not re.search(r"(?<!\\)%(?!\n)", body)
    commands = set(re.findall(r"\\[a-zA-Z]+", body))
    ours = {"\\colorbox", "\\textcolor", "\\strut", "\\hspace", "\\setlength", "\\fboxsep", "\\raggedright", "\\par", "\\begin", "\\end"}
    ours |= {"\\toprule", "\\midrule", "\\bottomrule", "\\char"}
    assert all(name in ours or name.startswith("\\text") for name in commands)
    assert "\u202e" not in text and "\u2581" not in text and not re.search(r"^\s*[\[*]", body, re.M)


def test_latex_rows_are_the_numbers_of_the_tokens_and_their_sum():
    found = made(("good", "film"))
    rows = dict(re.findall(r"^(\w+) & .* & \$(.*)\$ \\\\$", found.to_latex("table", "absolute"), re.M))
    R = found.relevance("absolute")
    assert [float(rows[name]) for name in ("good", "film")] == pytest.approx(R.tolist(), abs=1e-3)
    assert float(rows["sum"]) == pytest.approx(float(R.sum()), abs=1e-3)


def test_large_numbers_have_exponents_where_papers_have_them():
    large = made(("a",), semantic=torch.tensor([2.5e9], dtype=torch.float64))
    assert r"$+2.500 \times 10^{9}$" in large.to_latex("table")


def test_ligatures_of_latex_are_taken_apart():
    assert typed("--") == "-{}-{}" and typed("?`") == "?{}`{}"


@pytest.mark.parametrize("kind", ["tokens", "layers", "ledger", "spectrum"])
def test_a_panel_is_drawn_into_the_axes_it_is_given(kind):
    options = Options(detail={"frequencies"})
    found = explain(build("llama"), inputs("llama", T=6), options=options)
    if kind == "spectrum":
        one = {"layer 0 rotary": found.detail["frequencies"]["layer 0 rotary"]}
        found = made(found.tokens, detail={"frequencies": one})
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    right.set_title("$\\alpha$")
    assert found.figure(kind, ax=right) is figure
    assert right.has_data() and not left.has_data() and right.title.get_parse_math()
    figure.canvas.draw()


def test_size_and_colours_are_those_that_were_asked_for():
    found = made()
    drawn = found.figure("tokens", size=(3, 2), colours={"content": "black", "position": "tab:orange"})
    assert tuple(drawn.get_size_inches()) == (3, 2)
    assert {bar.get_facecolor() for bar in drawn.axes[0].patches} == {to_rgba("black"), to_rgba("tab:orange")}
    shades = found.figure("layers", colours={"plus": "green"}).axes[0].images[0].get_cmap()
    assert shades(1.0) == to_rgba("green") and shades(0.0) == Look().shades()(0.0)


def test_colours_that_nobody_named_are_as_before():
    from pelrp_nb.views.colour import palette

    shades, ours = Look().shades(), [to_rgba(paint.back) for paint in palette()]
    assert [shades(i / (len(ours) - 1)) for i in range(len(ours))] == [pytest.approx(colour, abs=0.02) for colour in ours]


def test_narrow_axes_name_the_largest_tokens_that_have_room():
    found = made(tuple(f"token {i}" for i in range(40)))
    wide, narrow = Figure(figsize=(14, 3)).subplots(), Figure(figsize=(3, 3)).subplots()
    for axes in (wide, narrow):
        found.figure("tokens", ax=axes)
    named = [label.get_text() for label in narrow.get_xticklabels()]
    assert len(wide.get_xticklabels()) == 40 and 3 < len(named) < 20
    assert found.tokens[int(found.relevance().abs().argmax())] in named
