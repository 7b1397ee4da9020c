"""The how-to page is true: its lines run in their order, and what they say they give is what they give."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pelrp_nb import Explanation, Explanations, explain
from pelrp_nb.views import several

PAGE = Path(__file__).resolve().parent.parent / "tutorials" / "howto.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> SimpleNamespace:
    """Every name that the page defines."""
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("howto"))
        for block in BLOCKS:
            exec(compile(block, "howto.md", "exec"), names)
    return SimpleNamespace(**names, folder=folder)


def logits(page, text: str) -> torch.Tensor:
    with torch.no_grad():
        return page.model(**page.tokenizer(text, return_tensors="pt")).logits[0]


def test_a_contrast_in_a_batch_is_the_difference_of_logits_of_each(page):
    for text, one in zip(page.texts, page.why, strict=False):
        negative, positive = logits(page, text)
        assert one.value == pytest.approx(float(positive - negative), abs=1e-4) and one.target == "positive rather than negative"
    assert [one.target for one in page.each] == page.both.names == ["positive", "negative"]


def read(page, text: str) -> tuple[list[str], torch.Tensor]:
    """The tokens of a text, and the logits of the language model after each."""
    given = page.words(text, return_tensors="pt")
    with torch.no_grad():
        return page.words.convert_ids_to_tokens(given["input_ids"][0]), page.writer(**given).logits[0]


def test_a_word_of_two_tokens_has_the_log_probability_of_both(page):
    tokens, after = read(page, "this film is charmless")
    assert tokens[-2:] == ["charm", "##less"]
    ids = page.words.convert_tokens_to_ids(tokens)
    expected = sum(float(after[i - 1].log_softmax(-1)[ids[i]]) for i in (len(ids) - 2, len(ids) - 1))
    assert page.word.value == pytest.approx(expected, abs=1e-3) and page.word.ledger.closed


def test_a_span_of_the_text_is_asked_where_its_tokens_are_predicted(page):
    tokens, after = read(page, "the plot of this film is thin")
    ids = page.words.convert_tokens_to_ids(tokens)
    expected = sum(float(after[i - 1][ids[i]]) for i in (tokens.index("is"), tokens.index("thin")))
    assert page.there.value == pytest.approx(expected, abs=1e-3)


def test_what_is_written_next_is_a_triangle_of_tokens(page):
    assert page.written.shape == (4, len(page.written.columns))
    assert [int(row.isnan().sum()) for row in page.written] == [3, 2, 1, 0]


def test_a_neuron_is_explained_as_the_model_has_it(page):
    heard = []
    down = page.writer.get_submodule("model.layers.1.mlp.down_proj")
    hook = down.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    with torch.no_grad():
        hidden = page.writer(**page.words(page.given["text"], return_tensors="pt"), output_hidden_states=True).hidden_states
    hook.remove()
    assert page.neuron.value == pytest.approx(float(heard[0][0, -1, 5]), abs=1e-5) and page.neuron.ledger.closed
    assert page.hidden.value == pytest.approx(float(hidden[2][0, -1, 5]), abs=1e-5) and page.hidden.ledger.closed


def test_through_some_heads_there_is_less(page):
    assert page.through.value == pytest.approx(page.result.value, abs=1e-5)
    assert not torch.allclose(page.through.semantic, page.result.semantic, atol=1e-3)


def test_arrays_have_the_shapes_that_are_said(page):
    T = len(page.result.tokens)
    assert page.rows.shape == (4, T) and page.heads.shape == (4, 4, T) and np.asarray(page.rows).shape == (4, T)
    assert torch.equal(page.content + page.position, page.result.relevance())


def test_a_span_is_the_sum_over_its_tokens(page):
    word = next(word for word in page.result.words() if word.text == "witty")
    assert page.span == pytest.approx(word.relevance) and page.largest in page.text


def test_relevance_at_a_module_is_that_of_its_boundary(page):
    boundary = next(b for b in page.trace.boundaries if b.name == "layer 1 mlp")
    torch.testing.assert_close(page.heard[0][0].sum(-1), boundary.relevance)


def test_a_table_over_64_texts_has_a_line_for_each(page):
    assert len(page.table) == len(page.found) == 64 and (page.table["ledger"] == "closed").all()
    assert page.matrix.shape == (64, max(len(e.tokens) for e in page.found)) and len(page.by_token) == sum(page.table["tokens"])
    assert page.means["count"].sum() == len(page.by_token)
    assert isinstance(page.surest, Explanations) and min(e.value for e in page.surest) >= page.table["value"].nlargest(6).iloc[-1]


def test_a_data_frame_gets_its_columns(page):
    assert page.frame["value"].tolist() == pytest.approx(page.table["value"][:8].tolist(), abs=1e-4) and len(page.frame) == 8


def test_a_stream_has_the_means_of_all(page):
    assert page.layers["count"].tolist() == [64] * 4
    assert page.layers["relevance"].tolist() == pytest.approx(page.found.aggregate("layer")["relevance"].tolist(), abs=1e-4)


def test_a_stream_and_a_folder_hold_the_explanations_of_the_list(page):
    assert page.surest_film.text == max(page.found, key=lambda e: e.value).text
    assert len(page.stored) == 8 and page.stored.complete and set(page.verdicts) == {"closed"}
    assert page.third.text == page.texts[3] and page.by_layer["count"].tolist() == [8] * 4
    assert page.third.relevance().tolist() == pytest.approx(page.found[3].relevance().tolist(), abs=1e-4)


def test_methods_are_rows_of_one_table(page):
    assert list(page.side_by_side.index) == ["pa-lrp", "attn-lrp", "cp-lrp"] and list(page.side_by_side.columns) == list(page.result.tokens)
    alone = explain(page.model, page.text, processor=page.tokenizer, composite="cp-lrp")
    assert page.side_by_side.loc["cp-lrp"].tolist() == pytest.approx(alone.relevance().tolist(), abs=1e-5)


def test_paper_gets_what_it_needs(page):
    assert (page.folder / "grid.pdf").read_bytes().startswith(b"%PDF")
    assert [axes.get_title() for axes in page.grid.axes] == ["positive", "negative"] and all(axes.has_data() for axes in page.grid.axes)
    assert "\\colorbox" in (page.folder / "words.tex").read_text() and page.tabular.count("\\\\") == len(page.result.tokens) + 2


def test_files_hold_all_of_it(page):
    assert page.again == page.found and all(isinstance(one, Explanation) for one in page.again)
    assert page.plain["tokens"] == list(page.result.tokens)
    told = (page.folder / "found.html").read_text()
    assert told.count("<details><summary>[") == several.WHOLE and f"and {64 - several.WHOLE} more" in told and "64 explanations" in told


def test_the_page_has_more_than_ten_answers_of_a_few_lines():
    assert len(BLOCKS) > 10 and max(len(block.splitlines()) for block in BLOCKS[1:]) <= 7
