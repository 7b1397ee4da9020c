"""Routes as a result: matrices, edges, the account of heads, a figure; saved and loaded; batches and streams; what is asked wrongly."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from made import made
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from models import build, build_position, inputs
from tolerance import assert_same

from pelrp_nb import Explanation, Options, explain, views, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.results import routes_plain
from pelrp_nb.results.patterns import looks
from pelrp_nb.results.routes_plain import plain

ROUTES = Options(detail={"routes"})


@pytest.fixture(scope="module")
def found():
    """A text of a small trained model, with routes."""
    model, tokenizer = zoo.load("reviews-rotary")
    return explain(model, "a gorgeous , witty film", processor=tokenizer, options=ROUTES)


def test_matrices_add_up_to_what_heads_hold(found):
    """All that goes through values and scores, with positions and what is kept, is the relevance of the heads, place by place."""
    routes = found.routes
    for i, name in enumerate(routes.names):
        values, scores = (routes.matrix(name, part=part) for part in ("values", "scores"))
        one = found.detail["routes"]["attention"][name]
        rest = (one["positions"] + one["kept"]).sum(0)
        assert_same((values + scores).sum(1) + rest, found.heads[i].sum(0), found.ledger.scale)
        query, key = routes.share(name)
        assert query + key == 1
        assert_same(routes.matrix(name), values + key * scores, found.ledger.scale)
        assert torch.equal(routes.matrix(i, head=1), routes.matrix(name, head=1))


def test_edges_are_the_largest_entries_of_all_matrices(found):
    routes = found.routes
    every = torch.stack([routes.matrix(name, head) for name in routes.names for head in range(found.heads.shape[1])])
    largest = every.flatten().abs().topk(12).values
    edges = routes.edges(12)
    assert [abs(e.amount) for e in edges] == pytest.approx(largest.tolist())
    for e in edges:
        assert float(routes.matrix(e.attention, e.head)[e.at, e.to]) == pytest.approx(e.amount)
        assert (e.token, e.other) == (found.tokens[e.at], found.tokens[e.to])
    assert {e.head for e in routes.edges(5, head=2)} == {2} and {e.attention for e in routes.edges(5, "layer 1")} == {"layer 1"}


def test_the_account_of_each_head_adds_up(found):
    frame = found.routes.to_frame()
    assert len(frame) == found.heads.shape[0] * found.heads.shape[1]
    parts = frame[["values", "queries", "keys", "positions", "kept"]].sum(axis=1)
    assert abs(parts - frame["relevance"]).max() < 1e-5 * found.ledger.scale
    assert set(frame["looks like"]) <= {"", "previous token", "first token", "itself", "same word", *(f"distance {d}" for d in range(2, 9))}


def test_a_head_looks_like_what_has_half_of_its_edges():
    words = ("[CLS]", "a", "b", "a", "c", "b")
    previous = torch.diag(torch.tensor([1.0, -2, 3, 1, 1]), -1)
    cases = {
        "previous token": previous,
        "first token": torch.zeros(6, 6).index_fill(1, torch.tensor(0), 1.0),
        "itself": torch.eye(6) + 0.1,
        "same word": torch.tensor([[float(i != j and a == b) for j, b in enumerate(words)] for i, a in enumerate(words)]),
        "distance 2": torch.diag(torch.ones(4), -2),
        "": torch.ones(6, 6),
    }
    for name, matrix in cases.items():
        assert looks(matrix, words, words)[0] == name
    assert looks(previous + torch.eye(6), words, words) == ("previous token", pytest.approx(8 / 14))
    one_edge = torch.zeros(6, 6)
    one_edge[5, 2] = 1
    assert looks(one_edge, ("u", "v", "w", "x", "y", "z"), ("u", "v", "w", "x", "y", "z"))[0] == ""
    assert looks(torch.zeros(2, 2), "ab", "ab") == ("", 0.0)


def test_thumbnails_show_the_heads_that_handed_on_most(found):
    figure, table = found.figure("heads"), found.routes.to_frame().sort_values("handed", ascending=False)
    first = figure.axes[0]
    row = table.iloc[0]
    assert first.get_title("left").startswith(f"{row['attention']} head {row['head']}")
    matrix = found.routes.matrix(row["attention"], row["head"])  # a number of numpy
    assert torch.equal(torch.as_tensor(first.images[0].get_array().data), matrix.double())
    assert len(figure.axes) == min(12, len(table))


def test_what_was_not_kept_is_told_in_sums():
    model, x = build("llama"), inputs("llama")
    whole, largest = (explain(model, x, options=Options(detail={"routes"}, routes_top=top)) for top in (None, 6))
    for name in whole.routes.names:
        kept, every = (one.routes.matrix(name, 2) for one in (largest, whole))
        given, received = largest.routes.rest(name)
        assert_same(kept.sum(1) + given[2], every.sum(1), whole.ledger.scale)
        assert_same(kept.sum(0) + received[2], every.sum(0), whole.ledger.scale)
        assert not any(x.any() for x in whole.routes.rest(name))
    assert largest.routes.to_frame()["values"].tolist() == pytest.approx(whole.routes.to_frame()["values"].tolist())


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize("top", [None, 4])
def test_a_saved_result_has_its_routes(found, tmp_path, ending, top):
    if top is not None:
        found = explain(build("bert"), inputs("bert"), options=Options(detail={"routes"}, routes_top=top))
    found.save(tmp_path / f"e{ending}")
    again = Explanation.load(tmp_path / f"e{ending}")
    assert again == found and str(again.routes) == str(found.routes)
    assert torch.equal(again.routes.matrix(0, 1), found.routes.matrix(0, 1))


def test_decoder_and_encoder_are_joined_by_cross_edges():
    model, x = build_position("t5")
    found = explain(model, x, options=ROUTES)
    routes = found.routes
    cross = next(name for name in routes.names if "EncDecAttention" in name)
    encoder, decoder = found.streams["encoder"].tokens, found.streams["decoder"].tokens
    assert routes.tokens(cross) == (decoder, encoder)
    assert routes.matrix(cross).shape == (len(decoder), len(encoder))
    for stream in ("encoder", "decoder"):
        assert isinstance(routes.figure(stream=stream), Figure)


def test_a_picture_has_routes_between_its_patches():
    model, _ = zoo.load("scenes-rotary")
    found = explain(model, torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), options=ROUTES)
    places = len(found.boundaries[0].relevance)
    assert found.routes.matrix(0).shape == (places, places)


def test_the_figure_draws_the_edges_that_carry_most(found):
    figure = found.figure("routes")
    axes = figure.axes[0]
    skipped, edges = (c for c in axes.collections if isinstance(c, LineCollection))
    assert len(skipped.get_segments()) == len(found.tokens) * len(found.routes.names)
    assert 0 < len(edges.get_segments()) <= 200
    assert max(edges.get_linewidths()) == pytest.approx(5.0)
    e = max(
        (
            (abs(float(m[i, j])), level, i, j)
            for level, m in enumerate(found.routes.matrix(n) for n in found.routes.names)
            for i in range(len(m))
            for j in range(len(m))
        ),
    )
    assert edges.get_segments()[-1].tolist() == [[e[2], e[1] + 1], [e[3], e[1]]]
    assert "edges carry 8" in axes.get_title("left")


def test_a_page_does_not_carry_every_edge(found):
    model, tokenizer = zoo.load("reviews-rotary")
    plain = explain(model, "a gorgeous , witty film", processor=tokenizer)
    assert len(found.to_html()) < len(plain.to_html()) + 20_000


def test_the_page_about_routes_is_true(tmp_path, monkeypatch):
    """Its lines run in their order, and the sums it tells are those of the result."""
    page = Path(__file__).resolve().parent.parent / "tutorials" / "routes.md"
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        exec(compile(block, "routes.md", "exec"), names)
    node, scale = names["node"], names["result"].ledger.scale
    assert_same(node["skip"] + node["branch"], node["relevance"], scale)
    assert (names["query"], names["key"]) == (0.5, 0.5)
    scores = names["routes"].matrix("layer 1", head=0, part="scores")
    assert_same(names["matrix"], names["values"] + scores / 2, scale)
    held = names["routes"].matrix("layer 1", part="values") + names["routes"].matrix("layer 1", part="scores")
    own = names["result"].detail["routes"]["attention"]["layer 1"]
    assert_same(held.sum(1) + (own["positions"] + own["kept"]).sum(0), names["node"]["branch"], scale)
    assert names["given"].abs().sum() > 0 and len(names["most"]) == 3
    assert (tmp_path / "routes.pdf").stat().st_size > 1000 and Explanation.load("routes.npz") == names["result"]


WRONG = {
    "no routes": (lambda r: made().routes, "routes needs what each head handed on"),
    "no layer": (lambda r: r.routes.matrix("layer 9"), "There is no attention 'layer 9'; there are layer 0"),
    "a number too large": (lambda r: r.routes.matrix(12), "There is no attention 12"),
    "no head": (lambda r: r.routes.matrix(0, 99), "head must be a number from 0 to"),
    "no part": (lambda r: r.routes.matrix(0, part="keys"), "part must be one of handed, values, scores, got 'keys'"),
    "no edges": (lambda r: r.routes.edges(0), "top must be a number of edges from 1, got 0"),
    "a size that is none": (lambda r: r.figure("routes", size=3), "size must be"),
    "axes that are none": (lambda r: r.figure("routes", ax=3), "ax must be one matplotlib Axes"),
    "heads in one ax": (lambda r: r.figure("heads", ax=r.figure("routes").axes[0]), "Heads have axes of their own"),
    "no stream": (lambda r: r.routes.figure(stream="image"), "stream must be one of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_asked_wrongly_is_told(found, name):
    asked, said = WRONG[name]
    with pytest.raises(InputError) as error:
        asked(found)
    assert said in str(error.value)


# --- shown --------------------------------------------------------------------------------------------------------------


def test_routes_show_themselves_in_a_cell_and_say_the_largest_edge(found):
    shown = found.routes.sheet()
    e = max(
        ((float(m[i, j]), i, j) for m in map(found.routes.matrix, found.routes.names) for i in range(len(m)) for j in range(len(m))),
        key=lambda one: abs(one[0]),
    )
    assert f"\u201c{found.tokens[e[1]]}\u201d hands" in repr(shown) and f"to \u201c{found.tokens[e[2]]}\u201d" in repr(shown)
    assert found.routes._repr_html_() == shown._repr_html_() and "<iframe" in shown._repr_html_()


def test_what_a_page_holds_adds_up_to_the_whole():
    """Largest edges and the sums of all: what is left over is told apart, not lost."""
    e = explain(build("llama"), inputs("llama"), options=ROUTES)
    for group in plain(e.routes)["groups"]:
        for level in group["levels"]:
            matrix = e.routes.matrix(level["name"])
            kept = torch.zeros(matrix.numel(), dtype=matrix.dtype)
            kept[torch.as_tensor(level["edges"]["at"])] = torch.as_tensor(level["edges"]["amount"])
            assert bool(((kept == 0) | (kept == matrix.flatten())).all())
            assert_same(torch.tensor(level["given"], dtype=matrix.dtype), matrix.sum(1), e.ledger.scale)
            assert_same(torch.tensor(level["received"], dtype=matrix.dtype), matrix.sum(0), e.ledger.scale)
        every = torch.stack([e.routes.matrix(level["name"]).abs().sum() for level in group["levels"]]).sum()
        drawn = sum(abs(level["edges"]["amount"]).sum() for level in group["levels"])
        assert 0.95 * every - 1e-6 <= drawn <= every * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["routes", "heads"])
def test_an_explanation_without_routes_says_what_to_type(kind):
    wanted = re.escape('explain(..., options=Options(detail={"routes"}))')
    for ask in (made().sheet, made().explore, lambda kind: made().to_html(kind=kind), lambda kind: getattr(views, kind)(made())):
        with pytest.raises(InputError, match=wanted):
            ask(kind)


def test_a_view_of_routes_that_there_is_not_is_refused(found):
    with pytest.raises(InputError, match=r"kind must be one of routes, heads, got 'edges'\. Type sheet\('routes'\)"):
        found.routes.sheet("edges")


def test_a_live_view_fetches_whole_matrices_that_no_page_holds(found):
    sheet = found.routes.sheet()
    assert "more" not in sheet.data and not sheet.more
    view = sheet.explore()
    assert view.asks and not view.more
    view.wanted = ["layer 1 head 2"]
    sent = view.more["layer 1 head 2"]
    values = np.frombuffer(sent["f16"], "<f2").astype(float).reshape(sent["shape"]) * sent["scale"]
    assert values == pytest.approx(found.routes.matrix("layer 1", 2).numpy(), rel=2e-3, abs=1e-5)


def test_a_page_that_cannot_hold_95_percent_says_how_much_it_holds(found, monkeypatch):
    assert not any("edges at most" in note for note in found.routes.sheet().data["notes"])
    monkeypatch.setattr(routes_plain, "EDGES", 5)
    (note,) = (note for note in found.routes.sheet().data["notes"] if "edges at most" in note)
    sizes = torch.cat([found.routes.matrix(name).abs().flatten() for name in found.routes.names])
    assert f"holds 5 edges at most, the largest: {float(sizes.topk(5).values.sum() / sizes.sum()):.0%}" in note
