"""What people look at shows the numbers, all of them, and obeys no token."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import SCRIPTS, SEEN, TOKENS, UNSEEN
from made import REVIEW, made
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pelrp_nb import ATTN_LRP, CP_LRP, DELTA_LRP, PA_LRP, Explanation, explain, plan, zoo
from pelrp_nb.errors import InputError
from pelrp_nb.ledger import Ledger
from pelrp_nb.views import colour, data, figure, html_card, module, table, text

VIEWS = Path(text.__file__).parent
NAN, INF = math.nan, math.inf
LONG = made([f"token{i}" for i in range(5000)], layers=12)
ODD = {
    "no token": made(()),
    "one token": made(("only",)),
    "no sink, no layer": made(layers=0),
    "zeros": made(semantic=torch.zeros(10), positional=torch.zeros(4, 10), reductions={}, ledger=Ledger(0.0, 0.0, 0.0), value=0.0),
    "nan": made(semantic=torch.full((10,), NAN), value=NAN, ledger=Ledger(NAN, NAN, 0.0)),
    "infinite": made(("a", "b"), layers=0, semantic=torch.tensor([INF, -INF]), value=INF, ledger=Ledger(INF, 0.0, 0.0)),
    "tiny": made(("a", "b"), layers=0, semantic=torch.tensor([1e-30, -1e-31]), value=1e-30, ledger=Ledger(1e-30, 1e-30, 0.0)),
    "huge": made(("a", "b"), layers=0, semantic=torch.tensor([1e30, -1e29]), value=1e30, ledger=Ledger(1e30, 1e30, 0.0)),
    "other length": made(boundaries=[replace(made().boundaries[0], relevance=torch.zeros(3))]),
    "streams": made(streams={"text": made(), "<image>": made(("y", "z"))}),
    "hostile": made(
        TOKENS, target=TOKENS[0], card={"model": TOKENS[1], "method": TOKENS[2], TOKENS[3]: TOKENS[4]}, sinks=None,
        ledger=Ledger(1.0, 0.0, 0.0, dict.fromkeys(TOKENS, 0.1), dict.fromkeys(TOKENS, 0.2), unknown=TOKENS[:9]),
    ),
}  # fmt: skip
odd = pytest.mark.parametrize("e", ODD.values(), ids=ODD)
hostile = pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))


def everywhere(token: str) -> Explanation:
    """A hostile text in each place that a view prints."""
    plain = made((token, "b"), layers=1)
    names = {"name": token, "relevance": plain.semantic}
    return made(
        (token, "b"), layers=1, target=token, card={"model": token, "method": token, token: token}, sinks=1,
        boundaries=[replace(b, **names) for b in plain.boundaries],
        ledger=Ledger(1.0, 0.0, 0.0, {token: 1.0}, {token: 0.5}, layers={token: 1.0}, scale=1.0, unknown=(token,)),
        streams={token: made((token,))},
    )  # fmt: skip


def fragment(e: Explanation) -> str:
    """What shows where no scripts run."""
    return html_card.fallback(e.plain())


def number(shown: str) -> float:
    return float(shown.replace("\u2212", "-"))


# --- colour and text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_text_on_every_shade_has_a_contrast_of_four_and_a_half(dark):
    assert min(colour.contrast(paint.back, paint.text) for paint in colour.palette(dark)) >= 4.5
    assert colour.contrast(*colour.diverging(NAN)) >= 4.5
    assert colour.contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("dark", [False, True])
def test_shades_are_symmetric_about_zero_and_ordered(dark):
    shades = colour.palette(dark)
    ground = shades[colour.STEPS].back
    assert len({ground[1:3], ground[3:5], ground[5:7]}) == 1  # zero has no hue
    away = [colour.contrast(paint.back, ground) for paint in shades]
    for side in (away[: colour.STEPS + 1], away[: colour.STEPS - 1 : -1]):
        assert side == sorted(side, reverse=True)
    for minus, plus in zip(shades[: colour.STEPS], shades[: colour.STEPS : -1], strict=True):
        assert colour.contrast(minus.back, plus.back) < 1.35  # the same amount is about as dark on both sides
        red, blue = int(plus.back[1:3], 16), int(plus.back[5:7], 16)
        assert red > blue and int(minus.back[5:7], 16) > int(minus.back[1:3], 16)


@pytest.mark.parametrize(("ground", "ink"), [("#ffffff", "#212121"), ("#111111", "#e0e0e0"), ("#1e1e1e", "#ffffff")])
def test_where_the_ground_is_not_known_the_pages_own_ink_reads_on_every_colour_and_more_is_further_from_the_ground(ground, ink):
    def seen(part: float) -> str:
        *back, alpha = (float(x) for x in re.findall(r"[\d.]+", colour.over(part)))
        under = [int(ground[i : i + 2], 16) for i in (1, 3, 5)]
        return "#" + "".join(f"{round(alpha * b + (1 - alpha) * u):02x}" for b, u in zip(back, under, strict=True))

    for sign in (-1, 1):
        shades = [seen(sign * step / colour.STEPS) for step in range(colour.STEPS + 1)]
        assert min(colour.contrast(shade, ink) for shade in shades) >= 4.5
        away = [colour.contrast(shade, ground) for shade in shades]
        assert shades[0] == ground and away == sorted(away) and away[-1] > 2.5


def test_a_share_keeps_its_sign_and_its_bounds():
    assert colour.share(-2.0, 4.0) == -0.5 and colour.share(9.0, 4.0) == 1 and colour.share(1.0, 0.0) == 0
    assert colour.share(-INF, 4.0) == -1 and math.isnan(colour.share(NAN, 4.0))


@hostile
def test_what_cannot_be_seen_gets_a_name(token):
    shown = text.visible(token)
    assert shown and len(shown) < 260
    for at, letter in enumerate(shown):
        kind = unicodedata.category(letter)
        assert kind[0] != "C" or (letter == "\u200d" and unicodedata.category(shown[at + 1]) == "So"), f"{letter!r} is invisible"
        assert kind not in ("Zl", "Zp") and letter not in "\u3164\u115f\u2800\u034f"
    shown.encode("utf-8")


def test_every_character_of_unicode_is_seen_or_named():
    for point in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(point))
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or (kind in ("Cn", "Co") and point % 101 == 0):
            assert "\u27e8" in text.visible(f"a{chr(point)}b"), hex(point)


def test_what_can_be_seen_stays_as_it_is():
    for token in (*SEEN[:-1], "plain", "caf\u00e9", "a b", "don't", "3\ufe0f\u20e3"):
        assert text.visible(token) == token
    assert text.visible("a\u202eb") == "a\u27e8U+202E\u27e9b" and text.visible("\n") == "\u27e8\\n\u27e9"
    assert text.visible(" ") == "\u27e8space\u27e9" and text.visible("") == "\u27e8empty\u27e9"
    assert text.visible("W" * 100, 10) == "W" * 10 + "\u27e890 more characters\u27e9"


def test_a_joiner_is_left_alone_between_emoji_only():
    faces = "\U0001f468{}\U0001f469"
    assert text.visible(faces.format("\u200d")) == faces.format("\u200d")
    assert text.visible(faces.format("\u202e")) == faces.format("\u27e8U+202E\u27e9")
    assert text.visible("a\u200db") == "a\u27e8U+200D\u27e9b"


def test_numbers_carry_their_sign_and_four_figures():
    show = text.digits(12.3)
    assert [show(x, "-") for x in (1.5, -1.5, 0.0, -0.0001)] == ["+1.50", "-1.50", "0.00", "0.00"]
    assert text.digits(0.05)(0.0123, "-") == "+0.01230" and text.digits(1e-9)(-1e-9, "-") == "-1.000e-09"
    assert show(NAN) == "nan" and text.digits(NAN)(1.0, "-") == "+1.000" and text.digits(1e9)(INF, "-") == "+inf"


def test_the_screen_shows_each_token_and_whole_sums():
    lines = str(made()).splitlines()
    assert [line.split()[0] for line in lines[3:13]] == list(REVIEW)
    assert [float(x) for x in lines[13].split()[1:]] == pytest.approx(
        [float(x.sum()) for x in (*made().parts(), made().relevance())], abs=1e-3
    )
    many = str(LONG).splitlines()
    sums = next(line for line in many if line.startswith("sum "))
    assert len(many) < 55 and float(sums.split()[-1]) == pytest.approx(float(LONG.relevance().sum()), abs=1e-2)


@odd
def test_text_is_drawn_whatever_the_numbers(e):
    assert repr(e).startswith("Explanation(") and "ledger" in str(e)


def test_views_do_not_know_torch():
    for source in VIEWS.glob("*.py"):
        assert not re.search(r"^\s*(import|from) (torch|transformers)", source.read_text(), re.MULTILINE), source.name


# --- the table ---------------------------------------------------------------------------------------------------------

KEPT = {"div", "span", "details", "summary", "table", "tr", "td"}
STYLES = {
    "background-color", "border", "border-bottom", "border-collapse", "border-radius", "border-right", "border-top", "color",
    "display",
    "font-family", "font-size", "font-style", "font-weight", "height", "line-height", "margin", "max-width", "opacity", "overflow",
    "overflow-x", "padding", "text-align", "white-space", "width",
}  # fmt: skip


class Read(HTMLParser):
    """Cells, text and nesting of a fragment; what a notebook host would remove is an error."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.rows, self.words, self.titles = [], [], [], []
        self.feed(fragment)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in KEPT, f"<{tag}> does not survive"
        for name, value in attrs:
            assert name in ("style", "title", "open"), f"{name} does not survive"
            if name == "style":
                assert {part.split(":")[0].strip() for part in value.split(";")} <= STYLES and "url" not in value
            if name == "title":
                self.titles.append(value)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if "td" in self.open:
            self.rows[-1][-1] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment does not survive: {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def test_the_table_prints_every_number_with_its_sign():
    e = made()
    rows = Read(fragment(e)).rows
    content, position = e.parts()
    for t, token in enumerate(REVIEW):
        assert rows[t + 1][:2] == [str(t), token]
        shown = [number(x) for x in rows[t + 1][2:]]
        assert shown == pytest.approx([float(content[t]), float(position[t]), float(e.relevance()[t])], abs=5.1e-4)
        assert all(x[0] in "+\u2212" or number(x) == 0 for x in rows[t + 1][2:])
    assert [number(x) for x in rows[11][2:]] == pytest.approx(
        [float(content.sum()), float(position.sum()), float(e.relevance().sum())], abs=5.1e-4
    )
    ledger = {row[0]: row[1] for row in rows[12:19]}
    assert ledger.pop("gap") == "rounding"
    wanted = {name: amount for name, amount in e.ledger.rows() if name != "gap"}
    assert {name: number(amount) for name, amount in ledger.items()} == pytest.approx(wanted, abs=5.1e-4)


def test_the_card_stands_first_and_every_number_behind_a_fold():
    e = made(card={"model": "m", "method": "pa-lrp", "own": True})
    shown = "".join(Read(fragment(e)).words)
    parts = ("Says \u201cpositive\u201d", "gorgeous", "constants of the model", "The numbers add up", "pa-lrp", "Every number",
             "Ledger closed", "constants by name", "softmax by name")  # fmt: skip
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


def test_an_open_ledger_says_where():
    e = made(ledger=Ledger(1.0, 0.0, 0.0, scale=1.0, layers={"layer 2": 0.5}))
    assert "Ledger open at layer 2" in "".join(Read(fragment(e)).words)


@hostile
def test_the_table_shows_a_hostile_text_and_obeys_nothing(token):
    read = Read(fragment(everywhere(token)))
    plain = "".join(piece.text for piece in text.pieces(token, 40))
    assert read.rows[1][1] == plain
    assert sum(word.count(plain[:20]) for word in ["".join(read.words)]) >= 5


@odd
def test_the_table_is_drawn_whatever_the_numbers(e):
    Read(fragment(e))


def test_a_long_input_is_folded_and_its_sums_stay_whole():
    shown = fragment(LONG)
    assert len(shown) < 400_000
    read = Read(shown)
    shown = [row for row in read.rows if re.fullmatch("token[0-9]+", row[1] if len(row) > 1 else "")]
    assert len(shown) == table.ROWS and [int(row[0]) for row in shown] == sorted(int(row[0]) for row in shown)
    sums, rest = (next(row for row in read.rows if len(row) > 1 and start in row[1]) for start in ("sum", "4,920 tokens not shown"))
    R = LONG.relevance()
    assert number(sums[-1]) == pytest.approx(float(R.sum()), abs=1e-2)
    assert number(rest[-1]) == pytest.approx(float(R.sum() - R[[int(row[0]) for row in shown]].sum()), abs=1e-2)
    assert min(abs(number(row[-1])) for row in shown) >= float(R.abs().sort().values[-table.ROWS - 1]) - 1e-2
    assert "and 4,600 more words" in "".join(read.words)


def test_the_display_is_the_same_each_time():
    assert made()._repr_html_() == made()._repr_html_() and made().to_html() == made().to_html()


def test_streams_are_shown_with_their_own_tables():
    words = "".join(Read(fragment(ODD["streams"])).words)
    assert "stream text" in words and "stream <image>" in words


# --- the page ----------------------------------------------------------------------------------------------------------


def embedded(document: str) -> dict:
    """The data in a page, as a browser would find it: up to the first closing tag."""
    return json.loads(re.search(r'<script type="application/json" id="view-data">(.*?)</script', document, re.DOTALL)[1])["data"]


def unpacked(box: dict) -> list[float]:
    return np.frombuffer(base64.b64decode(box["f32"]), "<f4").astype(float).tolist()


def test_the_page_carries_the_numbers():
    e = made()
    held = embedded(e.to_html())
    for name in e.offered:
        assert held["parts"][name]["both"] == pytest.approx(e.relevance(name).tolist(), rel=1e-7)
        assert held["sums"][name]["both"] == pytest.approx(float(e.relevance(name).sum()), rel=1e-6)
    wanted = [pytest.approx(b.relevance.tolist(), rel=1e-6) for b in e.boundaries]
    assert [unpacked(b["relevance"]) for b in held["boundaries"]] == wanted
    assert [unpacked(s["relevance"]) for s in held["sinks"]] == [pytest.approx(row, rel=1e-6) for row in e.positional.tolist()]
    assert dict(held["ledger"]["rows"]) == pytest.approx(dict(e.ledger.rows()), rel=1e-7)


def test_the_page_needs_and_allows_no_network():
    document = made().to_html()
    policy = re.search('Content-Security-Policy" content="([^"]*)"', document)[1]
    assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy and "http" not in policy
    assert policy.count("unsafe-inline") == 1 and "style-src 'unsafe-inline'" in policy
    script = re.search(r'<script type="module">(.*?)</script>', document, re.DOTALL)[1]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    shell = re.sub(r'<script type="application/json".*?</script>', "", document, flags=re.DOTALL)
    for namespace in ("http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"):  # names, fetched by nobody
        shell = shell.replace(namespace, "")
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|importScripts|\bimport\b", shell)
    assert not re.search(r"(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", script)
    assert document.count("<script") == 2


@hostile
def test_the_page_holds_a_hostile_text_as_data(token):
    document = everywhere(token).to_html()
    document.encode("utf-8")
    assert document.count("<script") == 2 and document.count("</script") == 2 and document.count("<noscript") == 1
    block = re.search(r'id="view-data">(.*?)</script', document, re.DOTALL)[1]
    assert not set(block) & set("<>&\u2028\u2029") and block.isascii()
    label = embedded(document)["tokens"][0]
    assert ("".join(part for part, _ in label) if isinstance(label, list) else label) == "".join(p.text for p in text.pieces(token))
    assert html.unescape(re.search("<title>(.*?)</title>", document)[1]).startswith(text.visible(token, 40)[:40])
    rules, shown = re.search('<noscript><div class="pelrp"><style>(.*?)</style>(.*)</div></noscript>', document, re.DOTALL).groups()
    styles = dict(re.findall(r"\.pelrp \.(f\d+)\{(.*?)\}", rules))
    inline = re.sub(r' class="(f\d+)"', lambda found: f' style="{styles[found[1]]}"', shown)
    assert inline == everywhere(token).sheet().table
    Read(inline)


@odd
def test_the_page_is_written_whatever_the_numbers(e, tmp_path):
    assert e.to_html(tmp_path / "e.html") is None
    assert (tmp_path / "e.html").read_bytes().decode() == e.to_html()
    embedded(e.to_html())


def test_numbers_json_does_not_know_are_named():
    assert json.loads(data.as_json([NAN, INF, -INF, 1.0, None, True])) == ["NaN", "Infinity", "-Infinity", 1.0, None, True]


def test_the_style_sheet_has_each_shade_in_light_and_dark():
    sheet = module.style()
    for dark in (False, True):
        where = '.pelrp[data-theme="dark"]' if dark else ".pelrp"
        for step, paint in enumerate(colour.palette(dark), start=-colour.STEPS):
            assert f"\n{where} .p{step} {{ background: {paint.back}; color: {paint.text}; fill: {paint.back}; }}" in sheet


# --- the figure --------------------------------------------------------------------------------------------------------


def png(picture) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(picture)
    picture.savefig(file, format="png", dpi=50)
    return file.getvalue()


@pytest.mark.filterwarnings("error")
@odd
def test_the_figure_is_drawn_whatever_the_numbers(e):
    assert png(e.figure()).startswith(b"\x89PNG")


def test_the_bars_of_the_figure_are_the_numbers():
    e = made()
    axes = e.figure().axes
    heights = [bar.get_height() for bar in axes[0].patches]
    assert heights == pytest.approx([*e.parts()[0].tolist(), *e.parts()[1].tolist()])
    layers = axes[1].images[0].get_array()
    wanted = [b.relevance.tolist() for b in e.boundaries if b.kind in ("layer", "embeddings")]
    assert layers[::-1].tolist() == [pytest.approx(row) for row in wanted]
    norm = axes[1].images[0].norm
    assert norm.vmin == -norm.vmax
    assert [bar.get_width() for bar in axes[-1].patches] == pytest.approx([amount for _, amount in e.ledger.rows()])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["tokens", "layers", "ledger"])
def test_each_panel_stands_alone_with_the_same_numbers(kind):
    e = made()
    picture = e.figure(kind)
    assert png(picture).startswith(b"\x89PNG")
    if kind == "tokens":
        heights = [bar.get_height() for bar in picture.axes[0].patches]
        assert heights == pytest.approx([*e.semantic.tolist(), *e.parts()[1].tolist()])
    if kind == "ledger":
        assert [bar.get_width() for bar in picture.axes[0].patches] == pytest.approx([amount for _, amount in e.ledger.rows()])
    if kind == "layers":
        assert picture.axes[0].images[0].get_array()[-1].tolist() == pytest.approx(e.boundaries[0].relevance.tolist())


def test_the_spectrum_draws_each_frequency_and_says_what_to_type_without():
    relevance = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {"relevance": relevance, "wavelength": torch.tensor([6.3, 60.0, 600.0, INF])}
    picture = made(detail={"frequencies": {"layer 0 rotary": found}}).figure("spectrum")
    assert [bar.get_height() for bar in picture.axes[0].patches] == pytest.approx(relevance.sum(0).tolist())
    assert [label.get_text() for label in picture.axes[0].get_xticklabels()] == ["6", "60", "600", "inf"]
    with pytest.raises(InputError, match="Options"):
        made().figure("spectrum")
    with pytest.raises(InputError, match="kind must be"):
        made().figure("pie")
    with pytest.raises(InputError, match="no boundary"):
        made(layers=0, boundaries=()).figure("layers")


def test_the_figure_names_tokens_under_their_bars():
    picture = made().figure()
    png(picture)
    axes = picture.axes
    assert [label.get_text() for label in axes[1].get_xticklabels()] == list(REVIEW)
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_position().intervalx == pytest.approx(axes[1].get_position().intervalx)


@pytest.mark.filterwarnings("error")
def test_hostile_and_long_labels_stay_inside_the_figure():
    picture = everywhere("$\\frac{1}{2$" + "W" * 10_000).figure()
    assert len(png(picture)) > 1000
    box = picture.get_tightbbox(FigureCanvasAgg(picture).get_renderer())
    assert box.x0 > -0.1 and box.x1 < picture.get_figwidth() + 0.1 and box.y0 > -0.1 and box.y1 < picture.get_figheight() + 0.1
    assert picture.axes[1].get_xticklabels()[0].get_text().startswith("$\\frac{1}{2$WWW")


def test_a_long_input_names_only_its_largest_tokens():
    picture = LONG.figure()
    names = [label.get_text() for label in picture.axes[2].get_xticklabels()]
    assert 5 < len(names) <= figure.NAMED // 2
    assert f"token{int(LONG.relevance().abs().argmax())}" in names


def test_the_figure_shows_itself_and_leaves_pyplot_alone():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from made import made; f = made().figure(); "
        "assert f._repr_png_().startswith(b'\\x89PNG'); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=VIEWS.parents[1]).returncode == 0


# --- forty hostile texts and more --------------------------------------------------------------------------------------


def test_there_are_enough_hostile_texts():
    assert len(set(TOKENS)) == len(TOKENS) >= 40 and len(SCRIPTS) >= 20 and len(UNSEEN) >= 20


def test_a_method_that_books_no_positions_says_so_and_a_model_without_any_too():
    model, tokenizer = zoo.load("reviews-rotary")
    e = explain(model, "a dull film", processor=tokenizer, composite=ATTN_LRP)
    said = "this method books no positions"
    assert said in text.positions(e.plain()) and said in e._repr_html_() and not e.sinks
    assert said in str(plan(model, "a dull film", processor=tokenizer, composite=ATTN_LRP))
    none, tokenizer = zoo.load("tasks-none")
    e = explain(none, zoo.task("tasks-none").examples[0].text, processor=tokenizer)
    assert text.positions(e.plain()) == "no positions found in this model (a causal mask, where there is one, still tells order)"


CONVENTION, MEANT = "half of the query-key path by convention", "depends on how much the scores were, not on which token they chose"


def test_a_positional_share_is_shown_with_what_it_is():
    model, tokenizer = zoo.load("reviews-rotary")
    pa, delta, cp = (explain(model, "a dull film", processor=tokenizer, composite=c) for c in (PA_LRP, DELTA_LRP, CP_LRP))
    assert all(
        CONVENTION in shown
        for shown in (repr(pa), str(pa), str(pa.sheet().data["share_means"]), pa.figure().get_suptitle().replace("\n", " "))
    )
    assert CONVENTION in pa._repr_html_().split("Every number")[0] and CONVENTION not in delta._repr_html_()
    assert not any(CONVENTION in shown for shown in (repr(delta), str(delta), delta.sheet().data["share_means"]))
    assert cp.positional_share == 0
    assert all(
        "a causal mask, where there is one, still tells order" in shown for shown in (repr(cp), str(cp), cp.sheet().data["share_means"])
    )
    learnt, tokenizer = zoo.load("reviews-learnable")
    assert CONVENTION not in str(explain(learnt, "a dull film", processor=tokenizer))


def test_a_ledger_says_what_is_kept_by_a_softmax_where_one_keeps_something():
    model, tokenizer = zoo.load("reviews-rotary")
    pa, delta = (explain(model, "a dull film", processor=tokenizer, composite=c) for c in (PA_LRP, DELTA_LRP))
    shown = [[str(e), str(e.ledger), e._repr_html_(), e.sheet().data["ledger"]["state"]] for e in (pa, delta)]
    assert all(MEANT in one for one in shown[0]) and not any(MEANT in one for one in shown[1])
