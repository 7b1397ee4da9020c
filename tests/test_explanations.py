"""Several explanations: the list that `explain` gives, what it says about all of them, and the files it makes."""

from __future__ import annotations

import copy
import json
import math
import pickle
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from made import made
from models import build, build_position
from shapes import drawn, same_answer, together, words

from pelrp_nb import ATTN_LRP, Explanation, Explanations, Options, aggregate, compare_methods, explain, target, zoo
from pelrp_nb.errors import FileError, InputError

TEXTS = ("a gorgeous , witty film", "dull", "not a good film")


@pytest.fixture(scope="module")
def loaded():
    return zoo.load("reviews-rotary")


@pytest.fixture(scope="module")
def found(loaded):
    return explain(loaded[0], list(TEXTS), processor=loaded[1])


@pytest.fixture(scope="module")
def nested(loaded):
    return explain(loaded[0], list(TEXTS), processor=loaded[1], target=target.every(["positive", "negative"]))


def test_several_inputs_and_several_targets_are_a_list_like_any_other(found, nested):
    assert isinstance(found, list) and isinstance(found, Explanations) and len(found) == 3
    assert [type(one) for one in nested] == [Explanations] * 3 and len(nested.flat) == 6
    assert list(found) == [found[0], found[1], found[2]] and found[-1] is found[2]


def test_one_input_and_one_target_are_no_list(loaded):
    assert isinstance(explain(loaded[0], TEXTS[0], processor=loaded[1]), Explanation)


def test_a_row_is_reached_by_number_name_slice_numbers_or_flags(found, nested):
    assert found["dull"] is found[1] and found[1:] == Explanations([found[1], found[2]]) == found[[1, 2]] == found[[False, True, True]]
    assert isinstance(found[1:], Explanations) and found[torch.tensor([2, 0])] == Explanations([found[2], found[0]])
    assert found[pd.Series([e.value < 0.7 for e in found])] == Explanations(e for e in found if e.value < 0.7)
    assert found[[np.False_, np.True_, np.True_]] == found[1:] == found[[torch.tensor(i > 0) for i in range(3)]]
    assert nested["dull"]["negative"] is nested[1][1] and found[torch.tensor(1)] is found[1]


def test_a_line_per_explanation(found, nested):
    table = found.table()
    assert table["row"].tolist() == [0, 1, 2] and table["text"].tolist() == list(TEXTS)
    assert table["value"].tolist() == [e.value for e in found] and (table["ledger"] == "closed").all()
    assert table["largest"].tolist() == [e.tokens[int(e.relevance().abs().argmax())] for e in found]
    assert nested.table()["row"].tolist() == [0, 0, 1, 1, 2, 2] and nested.table()["target"].tolist() == ["positive", "negative"] * 3


def test_where_every_input_was_skipped_tables_have_their_columns_and_a_page_its_reasons(loaded, found):
    none = explain(loaded[0], ["", " "], processor=loaded[1], options=Options(on_error="skip"))
    assert len(none.table()) == len(none.to_frame()) == 0
    assert list(none.table()) == list(found.table()) and list(none.to_frame()) == list(found.to_frame())
    assert none.to_html().split("<noscript>")[1].split("</noscript>")[0].count("was skipped: The text is empty") == 2
    some = Explanations([found[0], none[1]])
    assert "input 1 was skipped" in some.to_html() and some.to_html().count("<details>") == 1


def test_a_line_per_token(found):
    frame = found.to_frame()
    assert len(frame) == sum(len(e.tokens) for e in found)
    for i, e in enumerate(found):
        here = frame[frame["row"] == i]
        assert tuple(here["token"]) == e.tokens and here["signed"].tolist() == e.relevance().tolist()


def test_streams_have_lines_of_their_own():
    model, given = build_position("t5")
    one = explain(model, given)
    frame = Explanations([one]).to_frame()
    for name, stream in one.streams.items():
        assert frame[frame["stream"] == name]["semantic"].tolist() == stream.semantic.tolist()


def test_a_matrix_has_a_row_per_explanation_and_holes_where_a_text_is_short(found, nested):
    matrix = found.matrix("absolute")
    assert matrix.shape == (3, 7) and matrix.names == TEXTS and matrix.columns == tuple("0123456")
    for row, e in zip(matrix, found, strict=True):
        T = len(e.tokens)
        assert torch.equal(row[:T], e.relevance("absolute")) and bool(row[T:].isnan().all())
    assert nested[0].matrix().columns == nested[0][0].tokens and nested[0].matrix().names == ("positive", "negative")


def test_what_is_written_next_is_a_triangle(loaded):
    model, tokenizer = zoo.load("reviews-lm-rotary")
    written = explain(model, "a film that is", processor=tokenizer, target=target.generated(3))
    matrix = written.matrix()
    assert matrix.shape == (3, len(written[2].tokens)) and matrix.columns == written[2].tokens
    assert [int(row.isnan().sum()) for row in matrix] == [2, 1, 0]


def test_one_answer_by_several_methods_is_one_table(loaded):
    model, tokenizer = loaded
    methods = compare_methods(model, TEXTS[0], processor=tokenizer, composites=("pa-lrp", ATTN_LRP))
    assert methods.names == ["pa-lrp", "attn-lrp"] and methods.matrix().columns == methods[0].tokens
    same_answer(methods["attn-lrp"], explain(model, TEXTS[0], processor=tokenizer, composite=ATTN_LRP))
    assert methods.table()["positional_share"].tolist()[1] == 0 and methods[0].positional_share > 0


def test_means_are_those_of_aggregate(found):
    pd.testing.assert_frame_equal(found.aggregate("token", share=True), aggregate(list(found), "token", True))


def test_a_generator_is_read_once_and_nothing_of_it_is_kept():
    met: list[weakref.ref] = []
    alive: list[int] = []

    def stream():
        for seed in range(5):
            alive.append(sum(one() is not None for one in met))
            one = made(("x", "y"), seed=seed)
            met.append(weakref.ref(one))
            yield one
            del one

    frame = aggregate(stream(), by="position")
    assert frame["count"].tolist() == [5, 5] and max(alive) <= 1
    assert frame["semantic"][0] == pytest.approx(sum(float(made(("x", "y"), seed=s).semantic[0]) for s in range(5)) / 5)


@pytest.mark.parametrize("by", ["token", "position", "layer", "head"])
def test_means_of_several_streams_tell_them_apart(by):
    model, given = build_position("t5")
    one = explain(model, given, options=Options(detail={"heads"}))
    frame = aggregate(one, by=by)
    assert frame.columns[0] == "stream" and set(frame["stream"]) == set(one.streams)
    if by == "position":
        for name, stream in one.streams.items():
            here = frame[frame["stream"] == name]
            assert here["relevance"].tolist() == pytest.approx(stream.relevance().tolist())
    if by == "token":
        shares = aggregate(one, by=by, share=True)
        assert (shares["size"] * shares["count"]).sum() == pytest.approx(1)


def test_what_is_no_number_is_left_out_of_a_mean():
    holed = made(("x", "x"), semantic=torch.tensor([1.0, math.nan]), positional=torch.zeros(4, 2))
    assert aggregate(holed)["semantic"].tolist() == [1.0] and aggregate(holed)["count"].tolist() == [2]


def test_files_hold_all_of_them_as_they_were(found, nested, tmp_path):
    for several in (found, nested, Explanations()):
        for kind in ("npz", "safetensors"):
            several.save(tmp_path / f"all.{kind}")
            again = Explanations.load(tmp_path / f"all.{kind}")
            assert again == several and type(again) is Explanations and [type(a) for a in again] == [type(b) for b in several]
    found[0].save(tmp_path / "one.npz")
    assert Explanations.load(tmp_path / "one.npz") == Explanations([found[0]])


def test_a_file_of_several_is_no_file_of_one(found, tmp_path):
    found.save(tmp_path / "all.npz")
    with pytest.raises(FileError, match=r"holds several\. Type Explanations\.load\("):
        Explanation.load(tmp_path / "all.npz")


def test_copies_and_pickles_are_the_same(nested):
    for again in (pickle.loads(pickle.dumps(nested)), copy.copy(nested), copy.deepcopy(nested)):
        assert again == nested and type(again) is Explanations and type(again[0]) is Explanations


def test_it_is_shown_in_text_html_and_as_one_page(found, nested, tmp_path):
    assert repr(found).splitlines()[0] == "Explanations(3)" and "[1]    Explanation(reviews-rotary: negative" in repr(found)
    assert "[2][1]" in repr(nested) and "[2][1]" in nested._repr_html_()
    found.to_html(tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text()
    assert page.count("<details><summary>[") == 3 and page.count("<script") == 2 and "gorgeous" in page
    assert "positions (rotary: half of the query-key path by convention)" in page
    assert Explanations()._repr_html_() == "<div>no explanations</div>" and repr(Explanations()) == "Explanations(0)"


def test_a_cell_shows_twenty_and_a_page_shows_all():
    many = Explanations(made(("<script>alert(1)</script>", "b"), seed=i) for i in range(23))
    assert "and 3 more" in many._repr_html_() and "and 3 more" in repr(many) and "more: .table()" not in many.to_html()
    assert "<script>alert" not in many.to_html() and "<script>alert" not in many._repr_html_()


def test_what_is_not_shown_is_not_made_ready_to_be_shown(monkeypatch):
    many, made_ready = Explanations(made(("a", "b"), seed=i) for i in range(50)), []
    plain = Explanation.plain
    monkeypatch.setattr(Explanation, "plain", lambda self: made_ready.append(1) or plain(self))
    assert "and 30 more" in repr(many) and len(made_ready) == 20


def test_they_are_drawn_side_by_side(found):
    assert "witty" in found.compare(["one", "two", "three"]).html()
    with pytest.raises(InputError, match="one name per result, 3, got 1"):
        found.compare(["one"])


def test_dicts_and_latex_are_those_of_each(found, nested):
    assert json.loads(json.dumps(found.to_dict()))[1]["tokens"] == list(found[1].tokens)
    assert nested.to_dict()[0][1] == nested[0][1].to_dict()
    assert found.to_latex("table").count("\\begin{tabular}") == 3


def test_rows_of_tensors_are_named_by_what_tells_them_apart():
    several = explain(build("llama"), together(drawn((4, 6))))
    assert len(set(several.names)) == 2
    texts = explain(build("bert"), ["w7 w8", "w9"], processor=words(special=True), target=target.each([0, 1]))
    assert texts.names == ["w7 w8", "w9"]
    texts = explain(build("bert"), ["w7 w8", "w7 w8"], processor=words(special=True), target=target.each([0, 1]))
    assert texts.names == ["LABEL_0", "LABEL_1"]
