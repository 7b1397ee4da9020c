"""Live views as files: what the last state shows, and what it refuses to do without a kernel."""
# ruff: noqa: F811 (fixtures that are imported)

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MARKS, browser, number, numbers, opened, section  # noqa: F401
from hostile import TOKENS
from made import made
from playwright.sync_api import expect

from pelrp_nb import PA_LRP, live, rules, zoo
from pelrp_nb.live import workbench
from pelrp_nb.live.report import reported
from pelrp_nb.live.worker import State
from pelrp_nb.views.sheet import Sheet

pytestmark = MARKS
TEXT = "a gorgeous , witty film"


@pytest.fixture(scope="module")
def monitor() -> live.Monitor:
    """A monitor that has run."""
    shown = live.monitor("reviews-rotary")
    shown.run(TEXT, audit=True)
    return shown


@pytest.fixture(scope="module")
def breaks() -> live.Breaks:
    model, tokenizer = zoo.load("reviews-learnable")
    return live.break_it(model, TEXT, processor=tokenizer)


@pytest.fixture(scope="module")
def sheets(monitor, breaks) -> dict[str, Sheet]:
    """One of every kind."""
    failed = live.monitor("reviews-rotary")
    failed.report = reported(State("failed", error=ValueError("no reason")), 1)
    return {
        "monitor": monitor.sheet(), "failed": failed.sheet(), "card": live.card("attention"), "cards": live.card(),
        "bench": live.bench("gamma").sheet(), "choices": live.bench("identity").sheet(), "broken": breaks.sheet(),
    }  # fmt: skip


KINDS = ("monitor", "failed", "card", "bench", "choices", "broken")


# --- as files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_view_passes_axe(browser, sheets, kind, scheme, tmp_path):
    with opened(browser, sheets[kind], tmp_path, color_scheme=scheme) as page:
        for fold in page.locator("summary").all():
            fold.click()
        bad = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not bad, [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in bad]


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_fits_any_width(browser, sheets, kind, tmp_path):
    with opened(browser, sheets[kind], tmp_path) as page:
        for width in (320, 480, 760, 1100, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_monitors_page_shows_the_last_run(browser, monitor, tmp_path):
    e = monitor.result
    with opened(browser, monitor.sheet(), tmp_path) as page:
        assert numbers(page.locator(".found .strip .token small")) == pytest.approx(e.relevance().tolist(), abs=5.1e-4)
        rows = page.locator("table.live tbody tr")
        names = [b.name for b in reversed(e.boundaries) if b.kind in ("layer", "embeddings")]
        assert rows.locator("th").all_text_contents() == names
        for row, name in zip(rows.all(), names, strict=True):
            found = next(b for b in e.boundaries if b.name == name)
            assert row.locator(".check").text_content() == "\u2713 closed"
            total, *cells = numbers(row.locator("td:not(.check)"))
            assert cells == pytest.approx(found.relevance.tolist(), abs=5.1e-4) and total == pytest.approx(found.total, abs=5.1e-4)
        book = section(page, "Ledger").locator("tr")
        shown = {row.locator("th").text_content(): number(row.locator("td").first.text_content()) for row in book.all()}
        assert shown == pytest.approx(dict(e.ledger.rows()), abs=5.1e-4)


def test_without_a_kernel_nothing_can_be_set_and_the_page_says_why(browser, sheets, tmp_path):
    with opened(browser, sheets["monitor"], tmp_path) as page:
        expect(page.get_by_text("This is the last state, saved.")).to_be_visible()
        assert page.get_by_role("textbox", name="Text").is_disabled()
        assert page.get_by_role("button", name="Run").get_attribute("aria-disabled") == "true"
    with opened(browser, sheets["bench"], tmp_path) as page:
        expect(page.get_by_text("This is the last state, saved.")).to_be_visible()
        first = page.get_by_role("slider", name="x 1")
        assert first.get_attribute("aria-disabled") == "true"
        before = first.get_attribute("aria-valuenow")
        first.focus()
        page.keyboard.press("ArrowRight")
        assert first.get_attribute("aria-valuenow") == before


def test_a_failed_run_says_what_happened(browser, sheets, tmp_path):
    with opened(browser, sheets["failed"], tmp_path) as page:
        assert "The model broke off with ValueError." in page.get_by_role("alert").text_content()
        assert page.locator("table.live").count() == 0


def test_a_card_shows_the_page_and_its_numbers(browser, sheets, tmp_path):
    with opened(browser, sheets["cards"], tmp_path) as page:
        page.get_by_label("Rule", exact=True).select_option("gamma")
        card = next(c for c in sheets["cards"].data["cards"] if c["name"] == "gamma")
        page.get_by_text("The page as it is written").click()
        assert page.locator("pre.formula").first.text_content() == card["about"][0]["text"]
        assert page.get_by_role("region", name="source of relevance").text_content() == card["relevance"]
        paid = [x for row in card["example"]["inputs"][0]["relevance"] for x in row]
        assert numbers(page.get_by_role("region", name="R(x)").locator("td")) == pytest.approx(paid, abs=5.1e-4)
        assert "kept +1.887" in section(page, "Its example, computed").text_content()


def test_the_bench_shows_shares_and_leak(browser, sheets, tmp_path):
    found = workbench.compute(rules.gamma)
    with opened(browser, sheets["bench"], tmp_path) as page:
        paid = page.get_by_role("table", name="what every input received").locator("tbody tr")
        assert paid.locator("th").all_text_contents() == ["x 1", "x 2", "x 3", "received", "kept", "handed back"]
        wanted = [*(x["relevance"] for x in found["inputs"]), *(found["sums"][k] for k in ("out", "kept", "in"))]
        assert numbers(paid.locator("td:nth-of-type(2)")) == pytest.approx(wanted, abs=5.1e-4)
        told = page.locator(".paid [role=status]")
        assert "\u22120.308 was kept" in told.text_content() and "by design: the rule conserves all but" in told.text_content()
        assert told.get_attribute("class") == "quiet"


def test_the_switch_breaks_a_rule_and_the_ledger_shows_where(browser, breaks, tmp_path):
    with opened(browser, breaks.sheet(), tmp_path) as page:
        verdict = page.get_by_role("status").first
        expect(page.get_by_role("radio", name="no bias share")).to_be_checked()  # it opens on a mistake that bites
        expect(verdict).to_contain_text("no longer at")
        page.get_by_role("radio", name="right").check()
        expect(verdict).to_contain_text("The ledger is closed")
        for name, (variant, e) in breaks.wrong.items():
            page.get_by_role("radio", name=name.replace("-", " ")).check()
            expect(page.locator(".lead")).to_have_text(variant.mistake)
            rows = page.get_by_role("table", name="the account on the way back").locator("tbody tr")
            gaps = [0.0, *e.ledger.layers.values(), e.ledger.gap]
            assert numbers(rows.locator("td:nth-of-type(2)")) == pytest.approx(gaps, abs=5.1e-4)
            checks = [text == "\u2713 closed" for text in rows.locator(".check").all_text_contents()]
            allowed = e.ledger.tolerance * e.ledger.scale
            assert checks == [abs(gap) <= allowed for gap in gaps]
            opens = {"input": "the inputs"}.get(e.ledger.opened, e.ledger.opened)
            assert page.locator("tr.leak th").text_content() == opens
            expect(verdict).to_contain_text(f"no longer at {opens}")


def test_the_switch_steps_to_the_place_and_works_by_keyboard(browser, breaks, tmp_path):
    with opened(browser, breaks.sheet(), tmp_path) as page:
        page.get_by_role("radio", name="right").check()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name="no bias share")).to_be_checked()
        opens = breaks["no-bias-share"].ledger.opened
        expect(page.get_by_role("slider", name="Step")).to_have_attribute("aria-valuetext", re.compile(f", {opens}, "))
        expect(page.get_by_role("radio", name="no bias share")).to_be_focused()
        page.get_by_text("The mistake, as it is written").click()
        expect(page.get_by_role("region", name="source of ForgetsBiases")).to_contain_text("nobody books it")


def test_hostile_text_is_shown_and_not_obeyed(browser, tmp_path):
    """Over ninety payloads as tokens, texts to pick, names of models and methods, settings, labels, and the words of an error."""
    e = made(TOKENS, target="".join(TOKENS[:20]))
    pair = zoo.load("reviews-rotary")
    composites = dict.fromkeys(TOKENS, PA_LRP)
    shown = live.monitor({name: pair for name in TOKENS if name.strip()}, texts=TOKENS, composites=composites)
    shown.set({"text": "".join(TOKENS[:60]).replace("\ud800", ""), "target": TOKENS[0], "contrast": TOKENS[1]})
    shown.report = reported(State("done", e.tokens, e.special, e.boundaries, {"total": 1.0}, (1, TOKENS[2]), e), 1, TOKENS)
    with opened(browser, shown.sheet(), tmp_path) as page:
        assert page.locator(".found .strip .token").count() == min(len(TOKENS), 120)
        assert all(page.locator("select").nth(i).locator("option").count() > 80 for i in range(3))
        assert page.locator("script").count() == 2 and page.locator("iframe, img, object, embed, svg, style").count() == 1
    shown.report = reported(State("failed", e.tokens, e.special, error=ValueError("".join(TOKENS))), 2)
    with opened(browser, shown.sheet(), tmp_path) as page:
        assert "<script>window.hit=1</script>" in page.get_by_role("alert").text_content()
