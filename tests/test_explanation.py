"""What an Explanation says, adds up, and keeps on disk."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import TOKENS
from hypothesis import given, settings
from hypothesis import strategies as some
from made import REVIEW, made
from safetensors.torch import save as safe_bytes

from pelrp_nb.engine.trace import Boundary
from pelrp_nb.errors import FileError, InputError
from pelrp_nb.ledger import Ledger
from pelrp_nb.results import serialisation
from pelrp_nb.results.explanation import REDUCTIONS, Explanation

SUFFIXES = (".npz", ".safetensors")


# --- reductions --------------------------------------------------------------------------------------------------------


def test_each_reduction_is_its_formula():
    e = made()
    r = e.reductions
    assert torch.equal(e.relevance(), e.semantic + e.positional.sum(0))
    assert torch.equal(e.relevance("absolute"), e.semantic + r["positional.absolute"].sum(0))
    assert torch.equal(e.relevance("positive"), r["semantic.positive"] + r["positional.positive"].sum(0))
    assert torch.equal(e.relevance("l2"), r["semantic.l2"] + r["positional.l2"].sum(0))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_content_and_position_add_up_to_relevance(reduction):
    content, position = made().parts(reduction)
    assert torch.equal(content + position, made().relevance(reduction))


def test_normalised_relevance_has_a_largest_of_one_and_keeps_signs():
    e = made()
    R = e.relevance("absolute", normalise=True)
    assert R.abs().max() == 1
    torch.testing.assert_close(R * e.relevance("absolute").abs().max(), e.relevance("absolute"))


@pytest.mark.parametrize("e", [made(()), made(semantic=torch.zeros(10), positional=torch.zeros(4, 10))], ids=["no tokens", "zeros"])
def test_normalising_nothing_gives_nothing(e):
    assert torch.equal(e.relevance(normalise=True), torch.zeros(len(e.tokens)).to(e.semantic.dtype))


def test_an_unknown_reduction_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"signed, absolute, positive, l2; got 'max'.*Type"):
        made().relevance("max")


def test_a_reduction_the_engine_did_not_keep_is_refused_by_name():
    e = made(reductions={"semantic.l2": torch.zeros(10)})
    assert e.offered == ("signed",)
    with pytest.raises(InputError, match=r"needs 'positional.l2'.*Type one of signed"):
        e.relevance("l2")


def test_without_positions_the_signed_and_absolute_reductions_are_the_content():
    e = made(sinks=0, reductions={})
    assert e.offered == ("signed", "absolute")
    assert torch.equal(e.relevance("absolute"), e.semantic) and e.positional_share == 0


def test_the_positional_share_sums_sinks_before_it_takes_sizes():
    e = made(("a", "b"), layers=0, sinks=2, semantic=torch.tensor([1.0, -2.0]), positional=torch.tensor([[3.0, 1.0], [-2.0, 1.0]]))
    assert e.positional_share == pytest.approx((1 + 2) / (1 + 2 + 1 + 2))


# --- words -------------------------------------------------------------------------------------------------------------


def spans(text: str, *parts: str) -> list[tuple[int, int]]:
    """Where the parts stand in the text, one after the other."""
    found, at = [], 0
    for part in parts:
        at = text.index(part, at)
        found.append((at, at + len(part)))
        at += len(part)
    return found


def test_word_ids_merge_subwords_and_keep_punctuation_apart():
    text = "gorgeously made."
    where = [None, *spans(text, "gorgeous", "ly", "made", "."), None]
    e = made(("[CLS]", "gorgeous", "ly", "made", ".", "[SEP]"), text=text, offsets=where, word_ids=[None, 0, 0, 1, 2, None])
    words = e.words()
    assert [w.text for w in words] == ["[CLS]", "gorgeously", "made", ".", "[SEP]"]
    assert [(w.start, w.end) for w in words] == [(None, None), (0, 10), (11, 15), (15, 16), (None, None)]
    assert words[1].tokens == (1, 2)


def test_a_tokenizer_that_calls_a_sentence_one_word_is_cut_at_white_space():
    text = "a witty film"
    where = [(0, 1), (1, 5), (5, 7), (7, 12)]
    e = made(("a", "wit", "ty", "film"), text=text, offsets=where, word_ids=[0, 0, 0, 0])
    assert [w.text for w in e.words()] == ["a", "witty", "film"]
    assert [(w.start, w.end) for w in e.words()] == [(0, 1), (2, 7), (8, 12)]


def test_without_word_ids_touching_offsets_make_a_word():
    text = "gorgeously made"
    e = made(("gorgeous", "ly", "made"), text=text, offsets=spans(text, "gorgeous", "ly", "made"))
    assert [w.text for w in e.words()] == ["gorgeously", "made"]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("gorgeous", "##ly", "made"), ["gorgeously", "made"]),
        (("\u2581gor", "geous", "\u2581film"), ["gorgeous", "film"]),
        (("gor", "geous", "\u0120film"), ["gorgeous", "film"]),
        (("one", "two"), ["one", "two"]),
        (("\u2581",), ["\u2581"]),
    ],
)
def test_without_offsets_the_marks_of_the_tokenizer_tell(tokens, words):
    assert [w.text for w in made(tokens).words()] == words


def test_a_special_token_is_a_word_of_its_own():
    e = made(("<s>", "\u2581gor", "geous", "</s>"), special=(True, False, False, True))
    assert [w.tokens for w in e.words()] == [(0,), (1, 2), (3,)]
    e = made(("<s>", "gor", "</s>"), special=(True, False, True), text="gor", offsets=[(0, 0), (0, 3), (3, 3)], word_ids=[0, 0, 0])
    assert [w.tokens for w in e.words()] == [(0,), (1,), (2,)]


def test_one_character_cut_into_bytes_is_one_word():
    text = "\U0001f600"
    e = made(("<0xF0>", "<0x9F>", "<0x98>"), text=text, offsets=[(0, 1)] * 3)
    assert [(w.text, w.tokens) for w in e.words()] == [(text, (0, 1, 2))]


@settings(max_examples=60, deadline=None)
@given(some.lists(some.tuples(some.sampled_from(TOKENS[-30:]), some.booleans(), some.one_of(some.none(), some.integers(0, 3))), max_size=9))
def test_sums_over_words_are_sums_over_tokens(drawn):
    e = made([t for t, _, _ in drawn], special=tuple(s for _, s, _ in drawn), word_ids=tuple(i for *_, i in drawn))
    words = e.words("absolute")
    assert [i for w in words for i in w.tokens] == list(range(len(drawn)))
    assert math.isclose(sum(w.semantic for w in words), float(e.semantic.sum()), abs_tol=1e-9)
    assert math.isclose(sum(w.positional for w in words), float(e.positional.sum()), abs_tol=1e-9)
    assert math.isclose(sum(w.relevance for w in words), float(e.relevance("absolute").sum()), abs_tol=1e-9)


# --- values ------------------------------------------------------------------------------------------------------------


def test_the_frame_has_a_row_per_token_and_the_same_numbers():
    e = made(offsets=[None, *[(i, i + 1) for i in range(8)], None])
    frame = e.to_frame()
    assert list(frame) == ["token", "start", "end", "special", "semantic", "positional", *REDUCTIONS]
    assert frame["token"].tolist() == list(REVIEW) and frame["special"].sum() == 2
    assert frame["start"].isna().sum() == 2 and frame["end"].iloc[1] == 1
    for name in REDUCTIONS:
        np.testing.assert_array_equal(frame[name], e.relevance(name).numpy())
    np.testing.assert_array_equal(frame["semantic"] + frame["positional"], frame["signed"])


def test_a_frame_of_no_tokens_has_no_rows():
    assert made(()).to_frame().shape == (0, 10)


def test_plain_data_holds_the_same_numbers_and_no_tensor():
    e = made(dtype=torch.float32)
    data = e.plain()
    assert data["parts"]["l2"]["both"] == e.relevance("l2").tolist()
    assert data["ledger"]["gap"] == e.ledger.gap and data["boundaries"][3]["total"] == e.boundaries[3].total
    json.dumps(data)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"semantic": torch.zeros(9)}, "semantic must have shape"),
        ({"positional": torch.zeros(10)}, "positional must have shape"),
        ({"semantic": torch.zeros(10, dtype=torch.bfloat16)}, r"float16, float32 or float64.*Type"),
        ({"semantic": torch.zeros(10, requires_grad=True)}, "without gradient"),
        ({"reductions": {"semantic.l2": torch.zeros(4, 10)}}, "semantic.l2"),
        ({"special": (True,)}, "special must have one entry per token"),
        ({"offsets": [(0, 1)]}, "offsets must have one entry per token"),
        ({"sink_kinds": ()}, "sink_kinds must have one entry per sink"),
        ({"card": {"model": object()}}, "card must be JSON"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed, says):
    with pytest.raises(InputError, match=says):
        made(**changed)


def test_an_explanation_equals_another_of_the_same_values():
    assert made() == made() and made() != made(seed=1) and made() != "text"
    odd = {"semantic": torch.full((10,), math.nan, dtype=torch.float64), "value": math.nan}
    assert made(**odd) == made(**odd)


OTHER = {
    "tokens": ("x",) * 10, "target": "negative", "value": 0.5, "semantic": torch.ones(10, dtype=torch.float64),
    "positional": torch.ones(4, 10, dtype=torch.float64), "sinks": tuple("abcd"), "sink_kinds": ("x",) * 4, "boundaries": (),
    "ledger": Ledger(1.0, 0.0, 0.0), "card": {"model": "other"}, "reductions": {}, "offsets": ((0, 1),) * 10, "text": "other",
    "special": (True,) * 10, "word_ids": (0,) * 10, "map": torch.ones(2, 2), "maps": {"content": torch.ones(2, 2)},
    "streams": {"text": made()}, "detail": {"heads": torch.ones(3)}, "picture": torch.ones(2, 2, 3, dtype=torch.uint8),
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in fields(Explanation)])
def test_a_difference_in_any_field_makes_a_difference(name):
    assert replace(made(), **{name: OTHER[name]}) != made()


def test_the_repr_is_one_line_with_what_matters():
    text = repr(made())
    assert "\n" not in text and "reviews-rotary" in text and "positive" in text and "gorgeous" in text
    assert "positions 42%" in text and "ledger closed" in text
    assert "ledger open" in repr(made(ledger=Ledger(1.0, 0.0, 0.0, scale=1.0)))


@pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))
def test_no_token_can_break_the_repr_or_the_terminal(token):
    e = made((token, "b"), target=token, card={"model": token, "method": token}, ledger=Ledger(1.0, 0.0, 0.0, unknown=(token,)))
    for text in (repr(e), str(e)):
        assert all(c == "\n" or c.isprintable() or c in "\u200d" for c in text)
        text.encode()
    assert "\n" not in repr(e) and max(map(len, str(e).splitlines())) < 700


def test_importing_the_module_loads_no_library_of_views():
    code = (
        "import sys, pelrp_nb.explanation; heavy = {'matplotlib', 'pandas', 'IPython', 'transformers', 'ipywidgets', 'anywidget'};"
        "sys.exit(f'loaded: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr


# --- on disk -----------------------------------------------------------------------------------------------------------


def full() -> Explanation:
    """Everything an Explanation can hold, hostile text included."""
    inner = made(("x", "y"), dtype=torch.float32)
    return made(
        TOKENS, target="\ud800 \0 \u202e", text="".join(TOKENS), offsets=[None] + [(3, 4)] * (len(TOKENS) - 1),
        word_ids=[None, *range(len(TOKENS) - 1)], value=math.nan, map=torch.rand(3, 5), maps={"content": torch.rand(3, 5)},
        streams={"text": inner, "a/../b": replace(inner, streams={"deep": inner})},
        detail={"heads": torch.rand(2, 3), "he ads": torch.arange(3), "he_ads": torch.tensor([True]), "../x": torch.rand(0, 4)},
        card={"model": "m", "tensor": "semantic", "nested": [1, {"tensor": "semantic"}]},
    )  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "e", [made(), made(()), made(layers=0), made(dtype=torch.float32), full()], ids=["plain", "empty", "bare", "f32", "full"]
)
def test_what_is_loaded_is_what_was_saved(e, suffix, tmp_path):
    path = tmp_path / f"e{suffix}"
    e.save(path)
    back = Explanation.load(path)
    assert back == e and type(back.ledger) is Ledger and back.ledger == e.ledger
    assert all(type(b) is Boundary for b in back.boundaries) and back.tokens == e.tokens


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_explanations_make_equal_files(suffix, tmp_path):
    made().save(tmp_path / f"a{suffix}")
    made().save(str(tmp_path / f"b{suffix.upper()}"))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix.upper()}").read_bytes()


def test_numpy_reads_the_file_without_us(tmp_path):
    made().save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["semantic"], made().semantic.numpy())


def refused(path: Path | str, says: str) -> None:
    with pytest.raises(FileError, match=says) as caught:
        Explanation.load(path)
    assert any(word in str(caught.value) for word in ("Type ", "Save ", "Write ", "Load ", "Check "))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_anywhere_is_refused(suffix, tmp_path):
    path = tmp_path / f"e{suffix}"
    made(("a", "b"), layers=1).save(path)
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, *range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(FileError):
            Explanation.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_is_found_or_means_nothing(suffix, tmp_path):
    path, e = tmp_path / f"e{suffix}", made(("a", "b"), layers=1)
    e.save(path)
    whole, refusals = path.read_bytes(), 0
    places = range(0, len(whole), max(1, len(whole) // 250))
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            assert Explanation.load(path) == e
        except FileError:
            refusals += 1
    assert refusals > 0.5 * len(places)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["PELRP_BOMB"],)


def test_a_pickle_in_the_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PELRP_BOMB", str(tmp_path / "exploded"))
    np.savez(tmp_path / "e.npz", pelrp_nb=np.array([Bomb()], dtype=object))
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "p.safetensors").write_bytes(pickle.dumps(Bomb()))
    for name in ("e.npz", "p.npz", "p.safetensors"):
        refused(tmp_path / name, "cannot be read as one")
    assert not (tmp_path / "exploded").exists()


def test_a_foreign_file_is_refused_as_such(tmp_path):
    np.savez(tmp_path / "e.npz", weights=np.zeros(3))
    (tmp_path / "e.safetensors").write_bytes(safe_bytes({"weights": torch.zeros(3)}, metadata={"format": "pt"}))
    np.savez(tmp_path / "j.npz", pelrp_nb=np.array(json.dumps({"format": "another", "version": 1})))
    np.savez(tmp_path / "l.npz", pelrp_nb=np.array("[1, 2]"))
    for name in ("e.npz", "e.safetensors", "j.npz"):
        refused(tmp_path / name, "holds something else")
    refused(tmp_path / "l.npz", "header is damaged")
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", "cannot be read as one")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_a_newer_format_names_the_way_out(suffix, tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(serialisation, "VERSION", 2)
        made().save(tmp_path / f"e{suffix}")
    refused(tmp_path / f"e{suffix}", "is of format 2.*pip install --upgrade")


@pytest.mark.parametrize(
    "change", [{"semantic": torch.zeros(3)}, {"ledger": {"unknown": []}}, {"boundaries": 3}, {"extra": 1}, {"card": "{"}]
)
def test_a_whole_file_with_parts_that_do_not_fit_is_refused(change, tmp_path):
    serialisation.write(tmp_path / "e.npz", {**made()._tree(), **change})
    refused(tmp_path / "e.npz", "a part of it does not fit")


def test_paths_that_are_no_such_file_are_refused(tmp_path):
    refused(tmp_path / "e.npz", "there is none")
    refused(tmp_path / "e.pkl", r"must end in .npz or .safetensors.*Type e.npz")
    refused(tmp_path / "e", "has no ending")
    (tmp_path / "folder.npz").mkdir()
    refused(tmp_path / "folder.npz", "is a folder")
    with pytest.raises(FileError, match="is a folder"):
        made().save(tmp_path / "folder.npz")
    with pytest.raises(FileError, match=r"must exist.*mkdir -p"):
        made().save(tmp_path / "nowhere" / "e.npz")
    with pytest.raises(FileError, match="must end in"):
        made().save(tmp_path / "e.json")
    with pytest.raises(FileError, match=r"numpy has.*Type a path in .safetensors"):
        made(detail={"x": torch.zeros(2, dtype=torch.bfloat16)}).save(tmp_path / "e.npz")


@pytest.mark.parametrize("write", [lambda e, path: e.save(path), lambda e, path: e.to_html(path)], ids=["save", "to_html"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(write, tmp_path, monkeypatch):
    path = tmp_path / "e.npz"
    write(made(), path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(FileError, match="No space left on device"):
        write(made(seed=1), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["e.npz"]


def test_saving_follows_a_link_and_keeps_it(tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / "e.npz")
    made().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and Explanation.load(tmp_path / "e.npz") == made()


def test_a_bfloat16_detail_survives_in_safetensors(tmp_path):
    e = made(detail={"x": torch.ones(2, dtype=torch.bfloat16)})
    e.save(tmp_path / "e.safetensors")
    assert Explanation.load(tmp_path / "e.safetensors") == e


def test_a_loaded_explanation_owns_its_memory(tmp_path):
    e = made()
    e.save(tmp_path / "e.npz")
    back = Explanation.load(tmp_path / "e.npz")
    (tmp_path / "e.npz").write_bytes(io.BytesIO().getvalue())
    back.semantic.add_(1)
    torch.testing.assert_close(back.semantic, e.semantic + 1)
