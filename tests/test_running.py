"""Figures "text" and "waterfall", and coloured text in LaTeX: the words in order, on the colours of the screen, within their room."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hostile import TOKENS
from made import REVIEW, made
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from test_views import everywhere

from pelrp_nb.errors import InputError
from pelrp_nb.views.colour import diverging, share
from pelrp_nb.views.headline import terms

LONG = made(tuple(f"word{t}" for t in range(2000)))


def words(picture) -> list:
    """The texts of the words, in the order in which they are read; the key is smaller."""
    (axes,) = picture.axes
    most = max(text.get_fontsize() for text in axes.texts)
    return [text for text in axes.texts if text.get_fontsize() > 0.95 * most]


def test_the_words_stand_in_their_order_on_the_colours_of_the_screen():
    e = made()
    picture = e.figure("text")
    assert [text.get_text() for text in words(picture)] == list(REVIEW)
    both = e.relevance().tolist()
    scale = max(map(abs, both))
    backs = [colors.to_hex(patch.get_facecolor()) for patch in picture.axes[0].patches[: len(REVIEW)]]
    wanted = [diverging(share(x, scale)).back for x in both]
    for one, other in zip(backs, wanted, strict=True):
        apart = [abs(int(one[i : i + 2], 16) - int(other[i : i + 2], 16)) for i in (1, 3, 5)]
        assert max(apart) <= 12  # two shades of 41 that touch


@pytest.mark.parametrize(
    "e", [made(), LONG, made(TOKENS), everywhere("$\\frac{1}{2$" + "W" * 10_000)], ids=["short", "long", "hostile", "wide"]
)
@pytest.mark.parametrize("size", [None, (3.0, 2.0)])
def test_the_text_stays_inside_its_axes_and_says_where_it_goes_on(e, size):
    picture = e.figure("text", size=size)
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    (axes,) = picture.axes
    room = axes.get_window_extent().padded(8)
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert all(room.contains(box.x0, box.y0) and box.y1 <= room.y1 for box in boxes)
    if e is LONG:
        assert any(text.get_text() == "the text goes on" for text in axes.texts) and 20 < len(words(picture)) < len(e.tokens)


def test_a_text_from_right_to_left_runs_so():
    picture = made(("يحب", "الفيلم", "جدا")).figure("text")
    lefts = [text.get_position()[0] for text in words(picture)]
    assert lefts == sorted(lefts, reverse=True)


def test_where_there_is_no_text_none_is_drawn():
    with pytest.raises(InputError, match=r"There is no text to draw. Type figure\('tokens'\)"):
        made(("patch 0,0", "patch 0,1")).figure("text")


def test_each_term_of_the_waterfall_begins_where_the_one_before_it_ends():
    e = made()
    (axes,) = e.figure("waterfall").axes
    bars = axes.patches
    told = terms(e.plain())
    assert [text.get_text() for text in axes.get_yticklabels()] == [*(called for _, called, _, _ in told), "value"]
    assert [bar.get_width() for bar in bars] == pytest.approx([*(amount for _, _, amount, _ in told), e.value])
    for one, other in pairwise(bars[:-1]):
        assert other.get_x() == pytest.approx(one.get_x() + one.get_width())
    assert bars[-2].get_x() + bars[-2].get_width() == pytest.approx(e.value, abs=1e-6) and bars[-1].get_x() == 0


@pytest.mark.parametrize("kind", ["text", "waterfall"])
def test_both_are_drawn_into_axes_of_ones_own_with_ones_own_colours(kind):
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert made().figure(kind, ax=axes[0], colours={"plus": "tab:green", "minus": "tab:red"}) is figure
    assert axes[0].patches and not axes[1].patches
    plus = max(axes[0].patches[:-1], key=lambda patch: patch.get_facecolor()[1] - patch.get_facecolor()[0])
    assert plus.get_facecolor()[1] > plus.get_facecolor()[0]


def test_no_half_of_the_axes_is_empty():
    e = made()
    raised = made(semantic=e.semantic.abs(), positional=e.positional.abs())
    (bars,) = raised.figure("tokens").axes
    assert bars.get_ylim()[0] == 0 and e.figure("tokens").axes[0].get_ylim()[0] < 0
    amounts = [amount for _, amount in e.ledger.rows()]
    (ledger,) = e.figure("ledger").axes
    low, high = ledger.get_xlim()
    assert low <= min(0, *amounts) and high >= max(0, *amounts) and high - low <= 1.7 * (max(0, *amounts) - min(0, *amounts))


def test_latex_sets_the_words_as_people_read_them():
    text = made(("un", "##believ", "##able", ",", "is", "it", "?")).to_latex("words")
    boxes = re.findall(
        r"(\\hspace\{\d+pt\})?\\colorbox\[HTML\]\{[0-9A-F]{6}\}\{\\textcolor\[HTML\]\{[0-9A-F]{6}\}\{\\strut (.*?)\}\}(?!\})", text
    )
    said = "".join((" " if space == "\\hspace{3pt}" else "") + re.sub(r"[{}]", "", word) for space, word in boxes)
    assert said == "unbelievable, is it?"
    depth = 0
    for mark in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if mark == "{" else -1
        assert depth >= 0
    assert depth == 0 and "LuaLaTeX" not in text and "LuaLaTeX" in made(("映画", "film")).to_latex("words").splitlines()[0]
