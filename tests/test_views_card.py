"""The card of a result tells at a glance what was decided, because of what, what speaks against it, and whether the numbers add up."""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil
from made import made
from shapes import words as word_level
from rich.console import Console
from test_streams import heard, written
from test_views import fragment

from pelrp_nb import Explanation, amounts, explain, views, zoo
from pelrp_nb.ledger import Ledger
from pelrp_nb.results.serialisation import read
from pelrp_nb.views import differences, headline, reading, sheets, terminal

NAN = math.nan
QUOTE = re.compile("\u201c([^\u201d]+)\u201d")


def said(parts: list) -> str:
    return "".join(text for text, _ in parts)


def card(e: Explanation) -> dict:
    return e.sheet().data["reading"]


def weighed(tokens: tuple[str, ...], amounts: list[float], **changed) -> Explanation:
    """A result whose words carry these amounts, and nothing else the value."""
    semantic = torch.tensor(amounts, dtype=torch.float64)
    value = float(semantic.sum())
    given = {"card": {"model": "m", "method": "pa-lrp", "own": True}, "value": value, "ledger": Ledger(value, value, 0.0, scale=1.0)}
    return made(tokens, layers=0, semantic=semantic, positional=torch.zeros(0, len(tokens)), reductions={}, **{**given, **changed})


# --- ten seconds -------------------------------------------------------------------------------------------------------


def review(**asked) -> Explanation:
    model, tokenizer = zoo.load("reviews-rotary")
    return explain(model, zoo.task("reviews").examples[71].text, processor=tokenizer, **asked)


def picture() -> Explanation:
    model, processor = zoo.load("scenes-rotary")
    return explain(model, zoo.task("scenes-rotary").examples[0].image, processor=processor)


def long() -> Explanation:
    rng = torch.Generator().manual_seed(5)
    tokens = [f"word{i}" for i in range(300)]
    amounts = (0.01 * torch.randn(300, generator=rng)).tolist()
    amounts[297], amounts[290], amounts[3] = 2.0, 1.0, -1.5
    return weighed(tuple(tokens), amounts)


TOLD: dict[str, tuple[Callable[[], Explanation], str, tuple[str, ...], tuple[str, ...]]] = {  # result, what, because of, against
    "text": (review, "Says \u201cpositive\u201d", ("enjoyable", "unabashedly"), ("schmaltzy",)),
    "contrast": (lambda: review(target="negative", contrast="positive"), "Prefers \u201cpositive\u201d to \u201cnegative\u201d",
                 ("enjoyable", "unabashedly"), ("schmaltzy",)),
    "picture": (picture, "Says \u201c3 is present\u201d", ("the top right",), ("the top left",)),
    "encoder and decoder": (lambda: explain(written("t5"), ("w7 w8 w9", "w20 w21"), processor=word_level(special=True)),
                            "Says \u201cw83\u201d at place 3", ("[PAD]", "w8"), ("[CLS]",)),
    "300 tokens": (long, "Says \u201cpositive\u201d", ("word297", "word290"), ("word3",)),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_who_reads_the_card_alone_can_answer_what_because_of_what_for_or_against_and_does_it_add_up(name):
    make, what, because, against = TOLD[name]
    found = card(e := make())
    first, second = said(found["headline"]), said(found["against"])
    assert first.startswith(what) and re.search(", most(ly| of all) because of ", first)
    assert all(word in first.split("because of")[1] for word in because)
    assert re.match("Most(ly| of all) against it: ", second) and all(word in second for word in against)
    assert found["adds_up"] == "The numbers add up (ledger closed)."
    shown = fragment(e)
    told = re.sub("<[^>]+>", "", shown[: shown.index("Every number")])
    assert first in told and second in told and "The numbers add up" in told  # without scripts too
    assert "%" not in told


def test_a_terminal_says_the_same_sentence():
    page = Console(file=io.StringIO(), width=200, color_system=None)
    e = review()
    terminal.show(e.plain(), page)
    assert f"{said(card(e)['headline'])} {said(card(e)['against'])}" in page.file.getvalue()


def test_the_words_that_are_named_are_the_largest_by_their_whole_sums():
    e = review()
    ranked = sorted(e.words(), key=lambda word: -word.relevance)
    first, second = (QUOTE.findall(said(card(e)[key])) for key in ("headline", "against"))
    assert first[1:] == [word.text for word in ranked[:2]] and second == [word.text for word in ranked[::-1][:2]]


def test_mostly_is_said_of_half_and_no_less():
    most = weighed(("a", "b", "c", "d"), [3.0, 2.0, 2.5, 1.0])
    assert "mostly because of \u201ca\u201d and \u201cc\u201d" in said(headline.headline(most.plain()))
    many = weighed(tuple(f"w{i}" for i in range(9)), [1.0] * 9)
    assert "most of all because of" in said(headline.headline(many.plain()))


def test_the_two_numbers_of_a_contrast_name_whom_they_speak_for():
    towards, away = (weighed(("a", "b"), x, target="yes rather than no", card={}) for x in ([2.0, -1.0], [-2.0, 1.0]))
    assert said(card(towards)["headline"]) == "Prefers \u201cyes\u201d to \u201cno\u201d, mostly because of \u201ca\u201d."
    assert said(card(away)["headline"]) == "Prefers \u201cno\u201d to \u201cyes\u201d, mostly because of \u201ca\u201d."
    assert card(towards)["sides"] == card(away)["sides"] == ("for \u201cno\u201d", "for \u201cyes\u201d")


def test_what_was_asked_for_is_not_what_the_model_says():
    assert said(card(review(target="negative"))["headline"]).startswith("\u201cnegative\u201d is \u2212")
    assert said(card(review(target="positive"))["headline"]).startswith("\u201cpositive\u201d is +")
    assert "lowered mostly by" in said(card(review(target="negative"))["headline"])


def test_the_terms_are_the_ledger_without_what_is_zero_and_add_up_to_the_value():
    e = made()
    found = card(e)["terms"]
    assert [name for name, *_ in found] == ["tokens", "positions", "constants", "softmax"]
    assert sum(amount for _, _, amount, _ in found) == pytest.approx(e.value)
    off = made(ledger=Ledger(1.0, 0.5, 0.25, scale=1.0, layers={"layer 2": 0.25}))
    assert [name for name, *_ in card(off)["terms"]] == ["tokens", "positions", "gap"]
    assert card(off)["adds_up"] == "The numbers do not add up: +0.250 is missing (ledger open at layer 2)."


def test_a_value_that_lies_in_no_word_is_said():
    e = weighed(("a", "b"), [0.3, 0.1], value=4.0, ledger=Ledger(4.0, 0.4, 0.0, {"bias": 3.6}, scale=1.0))
    assert card(e)["outside"] == "Over half of the value lies elsewhere: see the bar."
    assert card(weighed(("a", "b"), [0.3, 0.1]))["outside"] == ""


# --- as people read it -------------------------------------------------------------------------------------------------


def test_the_running_text_is_the_text_that_was_given():
    e = review()
    found = reading.words(e.plain())
    own = [t for word in found for t in word["ids"]]
    assert own == list(range(len(e.tokens)))
    inner = [word for word in found if not word["special"]]
    assert "".join(word["before"] * (i > 0) + word["own"] for i, word in enumerate(inner)) == e.text.strip()


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (("\u0120The", "\u0120film", "s", ",", "\u0120no"), "The films, no"),
        (("\u2581The", "\u2581film", "s", "."), "The films."),
        (("The", "film", "##s", ",", "(", "no", ")"), "The films, (no)"),
    ],
    ids=["byte-level", "sentencepiece", "wordpiece"],
)
def test_tokens_without_places_become_words_with_the_spaces_people_write(tokens, told):
    found = reading.words(made(tokens).plain())
    assert "".join(word["before"] + word["own"] for word in found) == told


def test_a_text_from_right_to_left_is_laid_out_so_whatever_its_special_tokens():
    assert card(made(("[CLS]", "\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd", "[SEP]")))["streams"][0]["turned"]
    mixed = made(("\u0645\u0631\u062d\u0628\u0627", "hello", "dear", "friends"))
    assert not card(mixed)["streams"][0]["turned"] and not card(made())["streams"][0]["turned"]


def test_sound_is_told_in_seconds():
    tokens = tuple(f"frame {i}" for i in range(50))
    e = weighed(tokens, [0.0] * 20 + [1.0] + [0.0] * 29, text="50 frames of 0.02 seconds")
    assert said(card(e)["headline"]).endswith("because of 0.40 to 0.44 seconds.")
    assert len(card(e)["streams"][0]["words"]) == headline.STRETCHES
    assert card(explain(written("whisper"), heard(), processor=word_level(special=True)))["streams"][0]["kind"] == "sound"


# --- bad input ---------------------------------------------------------------------------------------------------------


def pixel(size: tuple[int, int]) -> Explanation:
    """A picture of one patch, or of many pixels."""
    both = torch.full(size, 1.0 / (size[0] * size[1]))
    seen = torch.zeros(min(size[0], 320), min(size[1], 320), 3, dtype=torch.uint8)
    e = weighed(("patch 0,0",), [1.0])
    return replace(e, map=both, maps={"content": both, "position": torch.zeros(size)}, picture=seen)


BAD = {
    "all zero": (weighed(("a", "b"), [0.0, 0.0]), "Says \u201cpositive\u201d; no word has a part in it."),
    "nothing for it": (weighed(("a", "b"), [-1.0, -2.0]), "Says \u201cpositive\u201d; no word speaks for it."),
    "one token": (weighed(("only",), [1.0]), "Says \u201cpositive\u201d, mostly because of \u201conly\u201d."),
    "no token": (weighed((), []), "Says \u201cpositive\u201d; no word has a part in it."),
    "all special": (weighed(("[CLS]", "[SEP]"), [2.0, 1.0], special=(True, True)),
                    "Says \u201cpositive\u201d, mostly because of \u201c[CLS]\u201d and \u201c[SEP]\u201d."),
    "nan": (weighed(("a", "b"), [NAN, 1.0]), "Says \u201cpositive\u201d. Some of its numbers are not finite, so no word is named."),
    "long label": (weighed(("a",), [1.0], target="L" * 200),
                   "Says \u201c" + "L" * 48 + "\u27e8152 more characters\u27e9\u201d, mostly because of \u201ca\u201d."),
    "right to left": (weighed(("\u05e9\u05dc\u05d5\u05dd", "b"), [2.0, 0.1]),
                      "Says \u201cpositive\u201d, mostly because of \u201c\u05e9\u05dc\u05d5\u05dd\u201d."),
    "mixed scripts": (weighed(("\u4e2d\u6587", "\u0645\u0631"), [2.0, 1.0]),
                      "Says \u201cpositive\u201d, mostly because of \u201c\u4e2d\u6587\u201d and \u201c\u0645\u0631\u201d."),
    "one pixel": (pixel((1, 1)), "Says \u201cpositive\u201d, mostly because of the middle."),
    "a large picture": (pixel((3000, 4000)), "Says \u201cpositive\u201d, mostly because of the middle."),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_card_is_told_of_any_result(name):
    e, told = BAD[name]
    assert said(card(e)["headline"]) == told
    json.dumps(card(e))
    assert len(fragment(e)) < 60_000 and len(e.to_html()) < 900_000


def test_of_a_value_that_is_no_number_no_part_is_said_to_lie_elsewhere():
    assert card(BAD["nan"][0])["outside"] == ""


def seen(width: int, height: int) -> Explanation:
    """A picture of this size, through the processor of a small random vision transformer."""
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8)
    down, across = np.linspace(0, 255, height)[:, None] * np.ones(width), np.linspace(0, 255, width) * np.ones((height, 1))
    shown = Image.fromarray(np.stack([down, across, abs(down - across)], -1).astype(np.uint8))
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    return explain(ViTForImageClassification(config).eval(), shown, processor=processor)


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (1, 1)])
def test_a_picture_of_any_size_goes_through_a_model_and_is_told(width, height):
    e = seen(width, height)
    assert tuple(e.map.shape) == (height, width) and max(e.picture.shape) <= 320
    assert float(e.map.sum()) == pytest.approx(float(e.relevance()[1:].sum()), rel=1e-3, abs=1e-5)
    assert said(card(e)["headline"]).startswith("Says \u201cLABEL_")
    assert len(e.to_html()) < 1_000_000


def test_two_hundred_classes_can_be_contrasted_with_one():
    others = [f"class {i}" for i in range(200)]
    found = [weighed(("a", "b"), [2.0, -1.0], target=f"first rather than {other}", card={}) for other in others]
    for other, e in zip(others, found, strict=True):
        assert said(card(e)["headline"]).startswith(f"Prefers \u201cfirst\u201d to \u201c{other}\u201d")
    assert len(views.compare(found, others).html()) < 1_000_000


def test_a_result_of_version_0_1_shows_its_card(tmp_path):
    """Such a file knows no picture, and its recipe does not say whose choice the target was."""
    path = tmp_path / "old.npz"
    made().save(path)
    assert "picture" not in read(path) and "own" not in made().card
    old = Explanation.load(path)
    assert said(card(old)["headline"]).startswith("\u201cpositive\u201d is \u22120.185, lowered mostly by \u201cgorgeous\u201d")
    assert old == made() and old._repr_html_()


def test_a_large_picture_is_drawn_from_sums_of_squares_and_loses_nothing():
    field = np.random.default_rng(0).normal(size=(701, 1000))
    shown = sheets._summed(field)
    assert max(shown.shape) <= 320 and shown.sum() == pytest.approx(field.sum())


# --- side by side, in words first --------------------------------------------------------------------------------------


def told(*amounts: list[float], names: tuple[str, ...] = ("one", "two", "three")) -> str:
    found = [weighed(("not", "good"), each) for each in amounts]
    sentence = said(differences.differing(names[: len(found)], [e.plain() for e in found]))
    assert sentence in re.sub("<[^>]+>", "", views.compare(found, names[: len(found)]).table)
    return sentence


def test_results_beside_each_other_say_first_which_word_one_gives_more():
    assert told([1.0, 0.5], [2.0, 0.5]) == "\u201ctwo\u201d gives \u201cnot\u201d twice as much as \u201cone\u201d (+2.00 against +1.00)."
    assert (
        told([-3.0, 0.5], [1.0, 0.5])
        == "\u201cone\u201d counts \u201cnot\u201d against it and \u201ctwo\u201d for it (\u22123.00 against +1.00)."
    )
    assert told([1.0, 0.0], [1.0, 0.9]) == "\u201ctwo\u201d gives \u201cgood\u201d more than \u201cone\u201d (+0.90 against 0.00)."
    assert told([1.0, 0.5], [1.0, 0.5]) == "Both give every word the same."
    assert told([1.0, 0.5], [1.0, 0.5], [1.0, 4.0]).startswith(
        "\u201cthree\u201d gives \u201cgood\u201d 8.0 times as much as \u201cone\u201d"
    )
    assert told([NAN, 1.0], [NAN, 1.0]) == "Both give every word the same."


def test_nothing_is_said_of_texts_of_different_words():
    assert differences.differing(("a", "b"), [made().plain(), made(("other", "words")).plain()]) == []


def test_the_row_of_the_softmax_says_what_it_is_wherever_one_keeps_more_than_rounding():
    shown = re.sub("<[^>]+>", "", views.compare([made(), made(seed=1)], ["a", "b"]).table)
    assert html.unescape(shown).count(amounts.KEPT) == 1
    assert "how much the scores were" not in views.compare([weighed(("a", "b"), [1.0, 0.5])] * 2, ["a", "b"]).table


def test_a_review_is_one_file_of_less_than_220_kilobytes():
    assert len(review().to_html().encode()) < 220_000
