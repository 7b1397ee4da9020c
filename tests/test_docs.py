"""The documentation is true: the code of every page runs, and what it says to be there is there."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pelrp_nb
from pelrp_nb import errors, rules
from pelrp_nb.rules import pages
from pelrp_nb.zoo.commands import accuracy
from pelrp_nb.zoo.seeds import trained
from pelrp_nb.zoo.shelf import PACKAGE

ROOT = Path(__file__).resolve().parent.parent
DOCS, HOWTO = ROOT / "docs", ROOT / "tutorials" / "howto.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.S)
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md")) if "made" not in path.parts
}
WITH_CODE = [name for name, text in PAGES.items() if BLOCK.search(text)]
KINDS = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.PelrpError)]


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs_in_its_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in BLOCK.findall(PAGES[page]):
        exec(compile(block, f"docs/{page}", "exec"), names)


def questions() -> list[tuple[str, str]]:
    """What the list of how-tos asks, and where it says the answer stands."""
    return re.findall(r"^- \[(.+?)\]\((.+?)\)$", PAGES["howto/index.md"], re.M)


def section(anchor: str) -> str:
    """A section of the page of short answers, by the anchor that its heading makes."""
    for found in re.finditer(r"^### (.+?)\n(.*?)(?=^##|\Z)", HOWTO.read_text(encoding="utf-8"), re.S | re.M):
        if re.sub(r"[^\w\- ]", "", found[1].lower()).replace(" ", "-") == anchor:
            return found[2]
    raise AssertionError(f"no section {anchor}")


def test_more_than_forty_questions_are_answered_and_none_twice():
    asked = questions()
    assert len(asked) > 40 and len({link for _, link in asked}) == len(asked)


@pytest.mark.parametrize("link", [link for _, link in questions()])
def test_every_answer_has_code_that_is_run(link):
    page, _, anchor = link.partition("#")
    text = section(anchor) if anchor else PAGES[f"howto/{page}"]
    assert "```python" in text or anchor == "more-than-one-process-more-than-one-machine"  # that one needs a cluster


def test_no_how_to_is_left_out_of_the_list():
    listed = {link for _, link in questions()}
    assert {name.removeprefix("howto/") for name in PAGES if name.startswith("howto/") and not name.endswith("index.md")} <= listed


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_names_its_page_and_the_page_says_what_to_type(kind):
    raised = getattr(errors, kind)("said")
    assert str(raised) == "said" and raised.__notes__ == [f"In the documentation: errors/{kind}"]
    page = PAGES[f"errors/{kind}.md"]
    assert page.startswith(f"# {kind}\n") and f"({kind}.md)" in PAGES["errors/index.md"] + f"({errors.PelrpError.__name__}.md)"
    assert all(part in page for part in ("**What happened.**", "**Why.**", "**What to type"))


@pytest.fixture(scope="module")
def said():
    """`docs/messages.py`: what the errors say, read from the syntax trees of the package."""
    sys.path.insert(0, str(DOCS))
    try:
        return import_module("messages")
    finally:
        sys.path.remove(str(DOCS))


def sections(kind: str) -> list[str]:
    return re.findall(r"^## (.+)$", PAGES[f"errors/{kind}.md"], re.M)


def test_every_message_has_its_section(said):
    """What an error says belongs to one section of its kind's page, which says why and what to type; a new message must find its own."""
    assert len(said.messages()) > 500
    assert not [(one.kind, one.file, one.line, one.words) for one in said.messages() if one.section is None]
    assert {one.kind for one in said.messages()} == set(KINDS) - {"PelrpError"}


def test_every_section_has_messages_and_every_claim_holds(said):
    for kind, claims in said.claims().items():
        assert {title for title, *_ in claims} == set(sections(kind))
        for title, room, words in claims:
            assert any(one.kind == kind and one.section == title and one.fits(room, words) for one in said.messages()), (kind, room, words)


@pytest.mark.parametrize(
    "written", ['raise InputError("x must be 1.")', 'return errors.InputError(f"x must be {y}.")', "raise InputError(told(x))"]
)
def test_a_message_is_read_however_it_is_raised(said, written):
    """And one in a room that nothing claims is missed by name."""
    (found,) = said.read(written, "nowhere/at_all")
    assert (found.kind, found.section) == ("InputError", None) and found.words in ("x must be 1.", "x must be ….", "")


def test_an_error_of_another_room_names_the_nearest_page():
    class OwnError(errors.ModelError):
        """A kind that stands elsewhere."""

    assert OwnError("said").__notes__ == ["In the documentation: errors/ModelError"]


def test_every_rule_has_a_formula_and_there_is_none_without_a_rule():
    assert list(pages.formulas()) == [rule.name for rule in rules.ALL]
    assert all(pages.latex(rule) for rule in rules.ALL) and pages.latex(rules.gamma(0.1)) == pages.latex(rules.gamma)
    assert pages.latex(rules.make("epsilon", rules.epsilon.forward, rules.epsilon.relevance)) == []


def between(page: str, name: str) -> str:
    """What stands between two marks of a page."""
    found = re.search(rf"<!-- {name}[^>]*-->\n(.*?)<!-- /{name} -->", PAGES[page], re.S)
    assert found, name
    return found.group(1).strip()


def test_the_table_of_rules_is_generated_from_the_rules():
    assert between("rules.md", "rules") == rules.table().strip()


def test_every_rule_is_reached_in_reading_order():
    assert re.findall(r"^made/rules/(\w+)$", PAGES["rules.md"], re.M) == [rule.name for rule in rules.ALL]


def test_the_table_of_models_is_generated_from_the_cards():
    assert between("facts/zoo.md", "zoo") == zoo_table()


def zoo_table() -> str:
    lines = ["| model | architecture | positions | held-out accuracy | size |", "|---|---|---|---|---|"]
    for name in pelrp_nb.zoo.names():
        card = pelrp_nb.zoo.card(name)
        cells = (f"`{name}`", card["architecture"], card["positions"], accuracy(card), f"{card['bytes'] / 1e6:.1f} MB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_of_seeds_is_generated_from_the_cards():
    lines = ["| model | seeds | questions answered, seed by seed |", "|---|---|---|"]
    for name in (one for one in pelrp_nb.zoo.names() if one.startswith("tasks-")):
        there = [0, *trained(PACKAGE, name)]
        each = [pelrp_nb.zoo.card(name, seed)["accuracy"] for seed in there]
        lines.append(f"| `{name}` | {len(there)} | {', '.join(f'{x:.1%}' for x in each)} |")
    assert between("facts/zoo.md", "seeds") == "\n".join(lines)


def test_the_number_of_methods_is_that_of_the_list():
    assert len(pelrp_nb.faithfulness.METHODS) == 19
    assert "judges nineteen methods" in PAGES["facts/methods.md"] and "Nineteen methods are there" in PAGES["howto/judge.md"]


def test_what_is_said_of_methods_over_seeds_is_what_their_table_says():
    table = (ROOT / "tutorials" / "faithfulness.md").read_text(encoding="utf-8").split("## Over all seeds")[1].split("###")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| hangs on places |")]
    found = {(measure, against): rest for _, measure, method, against, *rest in rows if method == "pa-lrp-signed"}
    gain, size, positive = (found[measure, "attn-lrp"] for measure in ("symmetric-relevance-gain", "truth-mass-by-size", "truth-mass"))
    sinks, halves = (found["position-move-correlation", control] for control in ("random-sinks", "uniform-half"))
    said = " ".join(PAGES["facts/methods.md"].split())
    assert {sum(map(int, row[:3])) for row in found.values()} == {20} and {row[3] for row in found.values()} == {"0 better, 0 worse"}
    assert f"is worse than AttnLRP's in {gain[1]} and better in none" in said and gain[0] == "0"
    assert f"by size in {size[0]} (less in {size[1]}) and by what is positive in {positive[0]} (less in {positive[1]})" in said
    assert f"random sinks in {sinks[0]} (worse in {sinks[1]}) and than uniform halves in {halves[0]} (worse in {halves[1]})" in said


def test_the_rooms_that_are_listed_are_there():
    listed = re.findall(r"^        (\w+(?:\.py|/)) ", PAGES["explanation/rooms.md"], re.M)
    assert len(listed) > 15 and all((ROOT / "pelrp_nb" / name).exists() for name in listed)


def test_links_of_the_pages_lead_to_files():
    for name, text in PAGES.items():
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", BLOCK.sub("", text)):
            assert "made/" in link or (DOCS / name).parent.joinpath(link).exists(), f"{name}: {link}"
