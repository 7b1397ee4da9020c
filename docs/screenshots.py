"""Pictures of every view, for docs/gallery: `PYTHONPATH=. python docs/screenshots.py [NAME ...]` shoots them and writes its pages.

Each view is opened in a real browser at 1280 and at 400 pixels, in light and in dark, and as it is printed.  What is asked of it, and
the answers, stand in `gallery/questions.toml`: look at the pictures before you answer.
"""

from __future__ import annotations

import base64
import io
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import pelrp_nb
from pelrp_nb import Options, labs, live, rules, views, zoo
from pelrp_nb.environment import chromium
from pelrp_nb.views.page import HEAD

HERE = Path(__file__).parent / "gallery"
ASKED = "questions.toml"
TEXT = "a gorgeous , witty , seductive movie , but the ending is dull"
STORY = " ".join([TEXT, "and far too long , and nothing that is told in the second hour is worth the wait ."] * 3)
SHOTS = {  # name -> width, colour scheme, medium
    "wide": (1280, "light", "screen"), "wide-dark": (1280, "dark", "screen"), "narrow": (400, "light", "screen"),
    "narrow-dark": (400, "dark", "screen"), "printed": (800, "light", "print"),
}  # fmt: skip
TALL = {1280: 1500, 400: 1100, 800: 1100}  # pixels of a picture's height, of what may be a long page


def reviewed(text: str = TEXT, **given: Any) -> Any:
    """An explanation of a review by a small model with rotary positions."""
    model, tokenizer = zoo.load("reviews-rotary")
    return pelrp_nb.explain(model, text, processor=tokenizer, **given)


def pictured() -> Any:
    """An explanation of a picture."""
    model, processor = zoo.load("scenes-learnable")
    scene = zoo.task("scenes-learnable").examples[0].image
    return pelrp_nb.explain(model, [scene], processor=processor, composite=pelrp_nb.PA_LRP_VISION)[0]


def stepped(sheet: Any) -> Any:
    """The same view with all that stands behind its card."""
    return replace(sheet, state={**sheet.state, "through": True})


def framed(fragment: str) -> str:
    """A fragment of HTML as a page without scripts: what a notebook shows that nobody trusts."""
    style = (
        "body { font-family: sans-serif; margin: 16px; } @media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } }\n"
    )
    head = HEAD.format(policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:", title="pelrp_nb", style=style)
    return f"{head}<body>{fragment}</body></html>"


def figures() -> str:
    """The panels for papers."""
    e = reviewed()
    pngs = (base64.b64encode(e.figure(kind)._repr_png_()).decode() for kind in ("text", "waterfall", "tokens", "layers"))
    return framed("".join(f'<p><img alt="" style="max-width:100%" src="data:image/png;base64,{png}"></p>' for png in pngs))


def compared() -> Any:
    """One text by three methods."""
    return views.compare([reviewed(composite=name) for name in ("pa-lrp", "attn-lrp", "cp-lrp")])


def listed() -> Any:
    """Several results as a cell shows them."""
    model, tokenizer = zoo.load("reviews-rotary")
    texts = [
        TEXT,
        "dull and far too long",
        "a film of rare beauty",
        "nothing works here",
        "witty , warm and wise",
        "a good film , not a bad one",
    ]
    return pelrp_nb.explain(model, texts, processor=tokenizer).sheet()


def shown(what: Callable[..., Any]) -> Any:
    """The view of what a function says of the small model and the review."""
    model, tokenizer = zoo.load("reviews-rotary")
    return what(model, TEXT, processor=tokenizer).sheet()


def watched() -> Any:
    """The monitor after a run, and another with one word changed."""
    model, tokenizer = zoo.load("reviews-rotary")
    monitor = live.monitor(model, tokenizer)
    monitor.run(TEXT)
    monitor.change("gorgeous", "clumsy")
    return monitor.sheet()


def heard() -> Any:
    """A tone that rises, for a small model of sound with random weights."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    config = t.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16), conv_kernel=(10, 8),
        conv_stride=(20, 10), num_feat_extract_layers=2, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        classifier_proj_size=16, id2label={0: "falling", 1: "rising"},
    )  # fmt: skip
    s = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * (300 + 1500 * s) * s) * (1 - s)
    model = t.Wav2Vec2ForSequenceClassification(config).eval()
    return pelrp_nb.explain(model, tone.astype(np.float32), processor=t.Wav2Vec2FeatureExtractor(sampling_rate=16_000))


def chosen() -> str:
    """A quiz with its first question answered rightly, its second wrongly."""
    first, *others = labs.quiz("01")._repr_html_().split('<div class="asked">')[1:]
    head = labs.quiz("01")._repr_html_().split('<div class="asked">')[0]
    answered = [first.replace('<details class="right"', '<details open class="right"'), others[0].replace("<details", "<details open", 1)]
    return framed(head + "".join(f'<div class="asked">{part}' for part in [*answered, *others[1:]]))


def patched() -> Any:
    """What each head of the induction model does for an answer."""
    model, tokenizer = zoo.load("induction-rotary")
    clean, corrupt = "ann sun moon star bob cat sun", "ann sun fish star bob cat sun"
    return pelrp_nb.patch(model, clean, corrupt, processor=tokenizer, metric=("moon", "fish"))


MADE: dict[str, Callable[[], Any]] = {
    "result": lambda: reviewed().sheet(),
    "long-text": lambda: reviewed(STORY).sheet(),
    "steps": lambda: stepped(reviewed(options=Options(detail={"heads"})).sheet()),
    "picture": lambda: pictured().sheet(),
    "sound": lambda: heard().sheet(),
    "untrusted": lambda: framed(reviewed().sheet().table),
    "compare": compared,
    "list": listed,
    "inspector": lambda: shown(pelrp_nb.plan),
    "x-ray": lambda: reviewed(options=Options(detail={"query_key", "heads", "frequencies"})).sheet("xray"),
    "routes": lambda: reviewed(options=Options(detail={"routes"})).sheet("routes"),
    "heads": lambda: reviewed(options=Options(detail={"routes"})).sheet("heads"),
    "patch": lambda: patched().sheet(),
    "circuit": lambda: patched().circuit(5).sheet(),
    "exchange": lambda: shown(pelrp_nb.exchange),
    "shift": lambda: shown(live.shift),
    "monitor": watched,
    "break-it": lambda: shown(live.break_it),
    "bench": lambda: live.bench(rules.epsilon).sheet(),
    "rule-card": lambda: live.card(rules.rotary),
    "quiz": chosen,
    "figures": figures,
}


def shoot(browser: Browser, name: str, shown: Any) -> Iterator[tuple[str, bytes]]:
    """Every picture of one view: its file's name, and the file."""
    text = shown if isinstance(shown, str) else shown.to_html()
    for shot, (width, scheme, medium) in SHOTS.items():
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_content(text)
        page.emulate_media(media=medium, color_scheme=scheme)
        page.wait_for_timeout(500)
        yield f"{name}-{shot}.webp", pressed(page, width)
        page.close()


def pressed(page: Page, width: int) -> bytes:
    """The page as a small picture: at most so high, without the empty ground under it."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, TALL[width])))
    pixels = np.asarray(picture, dtype=int)
    used = np.flatnonzero(np.abs(pixels - pixels[-1, -1]).sum(-1).max(-1))
    picture = picture.crop((0, 0, picture.width, min(picture.height, int(used[-1]) + 16 if len(used) else picture.height)))
    if width > 400:
        picture = picture.resize((picture.width * 5 // 8, picture.height * 5 // 8), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "webp", quality=55, method=6)
    return file.getvalue()


def written(name: str, asked: dict[str, Any]) -> str:
    """The page of one view: its picture, what was asked, the answers, and the other pictures."""
    lines = [f"# {asked['title']}", "", asked["told"], "", f"```python\n{asked['typed']}\n```", ""]
    lines += [f"![{asked['title']} at 1280 pixels, light]({name}-wide.webp)", "", "## Ten questions", ""]
    lines += [f"1. {question} **{answer}**" for question, answer in asked["asked"]]
    lines += ["", f"What was changed because of its pictures: {asked['changed']}", "", "## Narrow, dark, printed", ""]
    lines += [f"![{asked['title']}, {shot.replace('-', ', ')}]({name}-{shot}.webp)\n" for shot in SHOTS if shot != "wide"]
    return "\n".join(lines)


def main(names: list[str], out: Path = HERE) -> None:
    """Shoot these views, or all; write the page of each that is asked about."""
    asked = tomllib.loads((HERE / ASKED).read_text(encoding="utf-8")) if (HERE / ASKED).exists() else {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name in names or MADE:
            for file, content in shoot(browser, name, MADE[name]()):
                (out / file).write_bytes(content)
            if name in asked:
                (out / f"{name}.md").write_text(written(name, asked[name]), encoding="utf-8")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
