"""Heat maps in a real browser: what was written is stepped through, what patching does is chosen by kind of site."""

from browsing import MARKS, browser, opened  # noqa: F401

from pelrp_nb import explain, patch, target, zoo

pytestmark = MARKS


def test_a_step_shows_what_one_written_token_could_see(browser, tmp_path):  # noqa: F811
    model, tokenizer = zoo.load("reviews-lm-rotary")
    steps = explain(model, "a film that is very", processor=tokenizer, target=target.generated(3))
    with opened(browser, steps.written(), tmp_path, through=False) as page:
        turn = page.get_by_role("slider", name="The token written")
        assert page.locator("p[role=status]").first.inner_text().startswith(steps.names[0])
        turn.press("ArrowRight")
        said = page.locator("p[role=status]").first.inner_text()
        assert said.startswith(steps.names[1]) and "nan" not in page.locator("body").inner_text()
        page.get_by_label("Show").select_option(label="position")
        assert "most of all by" in page.locator("p[role=status]").first.inner_text()


def test_each_kind_of_site_has_its_map(browser, tmp_path):  # noqa: F811
    model, tokenizer = zoo.load("induction-rotary")
    line, other = "ann sun moon star bob cat sun", "ann tree moon star bob cat sun"
    found = patch(model, line, other, processor=tokenizer, metric=("moon", "fish"), sites=["heads", "keys"])
    with opened(browser, found.sheet(), tmp_path, through=False) as page:
        canvas = page.locator("canvas")
        assert "heads, by relevance" in canvas.get_attribute("aria-label")
        page.get_by_label("Show").select_option(label="keys, by the plain gradient")
        assert "keys, by the plain gradient" in canvas.get_attribute("aria-label")
