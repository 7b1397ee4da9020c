"""What a course shows: formulas set as mathematics, a case drawn as a neuron, the shift said first, predictions, the quiz."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from browsing import MARKS, browser, number, opened, section, slider, unfold  # noqa: F401
from made import made
from pelrp_nb.live import cards, workbench
from playwright.sync_api import Page, expect
from test_browser_kinds import inspected

from pelrp_nb import PA_LRP, labs, live, rules, zoo
from pelrp_nb.rules.pages import latex, page_of

pytestmark = MARKS
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "top": "⊤"}
TEXT = "a gorgeous , witty film"


# --- formulas --------------------------------------------------------------------------------------------------------


def symbols(text: str) -> Counter[str]:
    """Letters and digits, how many of each."""
    return Counter(c for c in text if c.isalnum() or c == "⊤")


def spelt(line: str) -> str:
    """A line of LaTeX without its commands: the letters that must be seen."""
    return re.sub(r"\\([a-zA-Z]+)", lambda m: GREEK.get(m[1], m[1] if m[1] in ("sin", "cos", "log", "exp", "max", "min") else " "), line)


def test_every_formula_is_set_as_mathematics_and_no_symbol_is_lost(browser, tmp_path):
    with opened(browser, live.card(), tmp_path) as page:
        for rule in rules.ALL:
            page.get_by_label("Rule", exact=True).select_option(rule.name)
            lines = page.get_by_role("region", name=f"formula of {rule.name}").locator(".line")
            assert lines.count() == len(latex(rule))
            for line, written in zip(lines.all(), latex(rule), strict=True):
                assert symbols(line.text_content()) == symbols(spelt(written)), written
                box = line.bounding_box()
                assert box["height"] >= 9 and box["width"] > 20


def test_a_fraction_stands_over_its_denominator(browser, tmp_path):
    with opened(browser, live.card("epsilon"), tmp_path) as page:
        over, under = (page.locator("mfrac > *").nth(i).bounding_box() for i in (0, 1))
        assert over["y"] + over["height"] <= under["y"] + 2
        base, index = (page.locator("msub > *").nth(i) for i in (0, 1))
        assert index.bounding_box()["y"] + index.bounding_box()["height"] > base.bounding_box()["y"] + base.bounding_box()["height"]
        sizes = [float(x.evaluate("x => getComputedStyle(x).fontSize").removesuffix("px")) for x in (base, index)]
        assert sizes[1] < 0.8 * sizes[0]


def test_an_index_stands_a_little_lower_than_its_letter_and_a_prime_pushes_it_no_further(browser, tmp_path):
    depth = (
        "all => all.filter(one => /^[xyR]?(cos|sin)?.$/u.test(one.textContent)).map(one => one.children).map(([base, index]) => {"
        " const bottom = node => { const spot = document.createRange(); spot.selectNodeContents(node);"
        " return spot.getBoundingClientRect().bottom; };"
        " return (bottom(index) - bottom(base)) / parseFloat(getComputedStyle(base).fontSize); })"
    )
    with opened(browser, live.card("rotary"), tmp_path) as page:
        plain, primed = (page.locator("msub", has_text=text).first.bounding_box()["height"] for text in ("sini", "sini\u2032"))
        below = page.eval_on_selector_all(".formula.set msub", depth)
    assert primed == pytest.approx(plain, abs=1)
    assert len(below) > 5 and all(0.02 < x < 0.2 for x in below)


def test_the_panels_of_rules_set_their_formulas_too(browser, tmp_path):
    with opened(browser, made(card={"composite": repr(PA_LRP), "model": "m", "method": "pa-lrp"}), tmp_path) as page:
        slider(page).press("PageDown")
        expect(section(page, "Rule").locator("math").first).to_be_visible()


def test_a_rule_of_ones_own_shows_its_letters(browser, tmp_path):
    own = rules.make(
        "epsilon", rules.epsilon.forward, rules.epsilon.relevance, example=rules.epsilon.example, doc="Mine.\n\n    z = W x + b"
    )
    with opened(browser, live.card(own), tmp_path) as page:
        assert page.locator("pre.formula").first.text_content() == page_of(own)["formula"]
        assert page.locator("math, svg.neuron").count() == 0


# --- code in prose ----------------------------------------------------------------------------------------------------

RAW = "all => all.filter(one => { one = one.cloneNode(true); one.querySelectorAll('.source, [aria-label=Card]').forEach(x => x.remove());"
RAW += " return one.textContent.includes('`'); }).length"  # but in source, and in the record of a run


def test_no_rule_card_shows_a_back_tick_and_what_stood_between_is_code(browser, tmp_path):
    with opened(browser, live.card(), tmp_path) as page:
        for rule in rules.ALL:
            page.get_by_label("Rule", exact=True).select_option(rule.name)
            assert page.eval_on_selector_all("article", RAW) == 0, rule.name
            said = [code for one in cards.about(rule.doc) if one["kind"] == "text" for code in re.findall("`([^`]+)`", one["text"])]
            assert set(said) <= set(page.locator("article p code").all_text_contents())
    assert "`" not in live.card().table


MINE = "Pays `x` alone.\n\nAs ``epsilon`` does.\n\n    z = W x + b\n\nConserves: all but `b`.  (mine, `page 3`)"


def test_code_in_the_page_of_ones_own_rule_is_code_in_every_view_of_it(browser, tmp_path):
    own = rules.make("mine", rules.epsilon.forward, rules.epsilon.relevance, example=rules.epsilon.example, doc=MINE)
    shown = {
        "card": live.card(own),
        "inspector": inspected(pages={"epsilon": page_of(own)}, refusals=["No rule for `aten::foo`."], notes=["`x`"]),
        "steps": made(card={"composite": repr(replace(PA_LRP, linear=own)), "model": "m", "method": "mine", "notes": ["see `x`"]}),
    }  # fmt: skip
    for name, sheet in shown.items():
        with opened(browser, sheet, tmp_path) as page:
            unfold(page)
            assert page.eval_on_selector_all("#view", RAW) == 0, name
            assert page.locator("code", has_text=re.compile("^(x|b|epsilon|page 3|aten::foo)$")).count() > 0, name
        assert "`" not in re.sub("(?s)<pre.*?</pre>", "", sheet.table if name != "steps" else sheet.sheet().table)


def test_what_a_check_says_of_code_is_code():
    found = labs.Verdict("x", False, "Write `share * R` & run", hint="`<b>`")
    assert "Write <code>share * R</code> &amp; run" in found._repr_html_() and "<code>&lt;b&gt;</code>" in found._repr_html_()


# --- a mistake -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "beside"), [(1280, True), (400, False)])
def test_the_tokens_difference_stands_beside_the_account_and_under_it_where_there_is_no_room(width, beside, browser, tmp_path):
    breaks = live.break_it(*zoo.load("reviews-rotary")[:1], TEXT, processor=zoo.load("reviews-rotary")[1])
    with opened(browser, breaks.sheet(), tmp_path, width) as page:
        account, tokens = (section(page, name).first.bounding_box() for name in ("The account on the way back", "Tokens"))
        assert (tokens["y"] < account["y"] + account["height"]) == beside
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_label("weights as factors").check()
        right, wrong = breaks["right"].relevance(), breaks["weights-as-factors"].relevance()
        rows = [row.locator("td").all_text_contents() for row in section(page, "Tokens").first.locator("tbody tr").all()]
        assert [[number(x) for x in row] for row in rows] == [
            pytest.approx([float(a), float(b), float(b - a)], abs=1e-3) for a, b in zip(right, wrong, strict=True)
        ]


# --- the case, drawn -------------------------------------------------------------------------------------------------


def drawn(page: Page) -> str:
    return page.locator("svg.neuron").get_attribute("aria-label")


@pytest.mark.parametrize("rule", rules.ALL, ids=repr)
def test_a_card_draws_what_each_input_received(rule, browser, tmp_path):
    found = workbench.compute(rule)
    with opened(browser, live.card(rule), tmp_path) as page:
        said = dict(re.findall(r"([^,:]+) received (\S+?)(?:,|$)", drawn(page)))
        assert [name.strip() for name in said] and {n.strip() for n in said} == {x["name"] for x in found["inputs"]}
        largest = max(1e-9, *(abs(x["relevance"]) for x in found["inputs"]), abs(found["sums"]["in"]), abs(found["sums"]["kept"]))
        shown = {name.strip(): number(amount) for name, amount in said.items()}
        assert shown == pytest.approx({x["name"]: x["relevance"] for x in found["inputs"]}, abs=6e-3 * largest)
        assert ("kept" in drawn(page)) == (abs(found["sums"]["kept"]) > 1e-9)


def test_attention_is_drawn_as_two_ways_back_which_add_up(browser, tmp_path):
    found = workbench.compute(rules.attention)
    paid = {name: sum(x["relevance"] for x in found["inputs"] if x["of"] in name) for name in ("v", "qk")}
    with opened(browser, live.card("attention"), tmp_path) as page:
        values, scores = (number(re.search(f"through the {way} (\\S+?),", drawn(page))[1]) for way in ("values", "scores"))
    assert values == pytest.approx(paid["v"], abs=6e-3)
    assert scores == pytest.approx(paid["qk"] + found["sums"]["kept"], abs=1.2e-2)


def test_what_a_bias_keeps_by_design_is_neutral_and_a_leak_is_not(browser, tmp_path):
    with opened(browser, live.bench("epsilon").sheet(), tmp_path) as page:
        kept = page.locator("svg.neuron .band.stays")
        neutral = kept.evaluate("x => getComputedStyle(x).fill")
        assert neutral not in page.locator("svg.neuron .band:not(.stays)").evaluate_all("all => all.map(x => getComputedStyle(x).fill)")
        row = page.locator("table.shares tr", has_text="kept")
        assert row.locator(".bar i").evaluate("x => getComputedStyle(x).backgroundColor") == neutral
        expect(page.locator("svg.neuron")).to_contain_text("kept, by design")


# --- the shift -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shifts() -> dict[str, live.Shifts]:
    given = {name: zoo.load(f"reviews-{name}") for name in ("rotary", "learnable")}
    return {name: live.shift(model, TEXT, processor=tokenizer, shifts=(0, 4, 8)) for name, (model, tokenizer) in given.items()}


def test_a_shift_says_first_what_it_did(shifts, browser, tmp_path):
    with opened(browser, shifts["rotary"].sheet(), tmp_path) as page:
        assert page.get_by_role("heading").first.text_content() == "With all positions up to 8 later, the answer stays."
    with opened(browser, shifts["learnable"].sheet(), tmp_path) as page:
        said = page.get_by_role("heading").first.text_content()
        low, high = map(number, re.search(r"the answer runs from (\S+) to (\S+?)\.$", said).groups())
        values = shifts["learnable"].plain()["value"]
        assert (low, high) == pytest.approx((min(values), max(values)), rel=1e-3)


def test_the_dial_plays_and_stands_still_where_motion_is_not_wanted(shifts, browser, tmp_path):
    def hand(page: Page) -> str:
        return page.locator(".clock .hand").get_attribute("style")

    with opened(browser, shifts["rotary"].sheet(), tmp_path) as page:
        dial = page.get_by_role("slider", name="All positions later by")
        dial.press("Home")
        first = hand(page)
        page.get_by_role("button", name="play").click()
        expect(dial).to_have_attribute("aria-valuetext", "8")
        assert hand(page) != first
    with opened(browser, shifts["rotary"].sheet(), tmp_path, reduced_motion="reduce") as page:
        dial = page.get_by_role("slider", name="All positions later by")
        page.get_by_role("button", name="one step on, without motion").click()
        page.wait_for_timeout(1500)
        assert dial.get_attribute("aria-valuetext") == "4"
        assert page.locator(".clock .hand").evaluate("x => getComputedStyle(x).transitionDuration") == "0s"


# --- predict, then step ----------------------------------------------------------------------------------------------


def test_only_what_was_predicted_is_scored(browser, tmp_path):
    e = made()
    with opened(browser, e, tmp_path) as page:
        slider(page).press("Home")
        page.get_by_label("predict, then step").check()
        step = page.get_by_role("button", name="Step, and score it")
        score = section(page, "Predict").get_by_role("status")
        step.click()
        assert score.text_content() == "Nothing was predicted, so nothing is scored."
        bars = page.get_by_role("slider", name="prediction for")
        assert {bar.get_attribute("aria-valuetext") for bar in bars.all()} == {"not predicted"}
        after = e.boundaries[-1].relevance if len(e.boundaries) > 1 else e.relevance()
        most = int(after.abs().argmax())
        bars.nth(most).press("ArrowUp" if float(after[most]) > 0 else "ArrowDown")
        assert [bar.get_attribute("aria-valuetext") != "not predicted" for bar in bars.all()].count(True) == 1
        step.click()
        assert score.text_content().startswith(f"1 of {len(e.tokens)} tokens predicted. ") and "Agreement" not in score.text_content()


# --- the quiz --------------------------------------------------------------------------------------------------------

PAGE = "<!doctype html><html lang='en'><title>quiz</title><body>{}</body></html>"


def test_a_quiz_locks_the_first_choice_and_tells_right_from_wrong_not_by_colour_alone(browser, tmp_path):
    quiz = labs.quiz("01")
    with opened(browser, PAGE.format(quiz._repr_html_()), tmp_path) as page:
        asked = page.locator(".asked")
        right = [[c.right for c in q.choices].index(True) for q in quiz.questions]
        asked.nth(0).locator("summary").nth(right[0]).click()
        wrong = (right[1] + 1) % 3
        asked.nth(1).locator("summary").nth(wrong).focus()
        page.keyboard.press("Enter")
        expect(asked.nth(0).locator("details[open] p")).to_contain_text("\u2713 Right")
        expect(asked.nth(1).locator("details[open] p")).to_contain_text("\u2717 No")

        assert "this is right" in asked.nth(1).locator("details.right span").evaluate("x => getComputedStyle(x, '::after').content")
        colours = [asked.nth(i).locator("details[open]").evaluate("x => getComputedStyle(x).borderLeftColor") for i in (0, 1)]
        assert colours[0] != colours[1]
        for i in (0, 1):  # locked, for the pointer and for keys
            assert (
                asked.nth(i).locator("summary").evaluate_all("all => all.map(x => (x.focus(), document.activeElement === x))")
                == [False] * 3
            )
            asked.nth(i).locator("summary span").nth((right[i] + 2) % 3).click(force=True)
            assert asked.nth(i).locator("details[open]").count() == 1
        words = page.locator(".asked summary span").all()
        assert all(word.is_visible() for word in words)


def test_a_quiz_without_its_style_is_its_folds(browser, tmp_path):
    bare = re.sub(r"<style>.*?</style>", "", labs.quiz("01")._repr_html_())
    with opened(browser, PAGE.format(bare), tmp_path) as page:
        page.locator("summary").nth(0).click()
        page.locator("summary").nth(1).click()
        assert page.locator("details[open]").count() == 2
