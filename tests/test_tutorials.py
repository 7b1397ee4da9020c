"""The course: one master for all versions, stubs that fail, solutions that pass, a shape that students can rely on."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
import pytest

import pelrp_nb
from pelrp_nb import labs, rules
from pelrp_nb.errors import InputError
from pelrp_nb.labs import course, notebooks, pack, worksheets
from pelrp_nb.labs.command import main
from pelrp_nb.labs.minutes import LINES, WORDS, minutes

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "tutorials"
LABS = [lab for lab in course.LABS if list(TUTORIALS.glob(f"{lab}_*.py"))]


def sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def checked(notebook) -> list[str]:
    return [name for cell in notebook.cells if cell.cell_type == "code" for name in notebooks.CHECK.findall(cell.source)]


def prose(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_the_course_is_whole():
    assert LABS == list(course.LABS) == list(notebooks.masters())
    carried = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"tutorials" = "pelrp_nb/labs/masters"' in carried


@pytest.mark.parametrize("lab", LABS)
def test_the_notebook_is_built_from_its_master(lab):
    """Type `python -m pelrp_nb labs build` after a change."""
    kept = nbformat.read(notebooks.master(lab).with_suffix(".ipynb"), as_version=4)
    assert sources(kept) == sources(notebooks.build(lab))
    assert all(cell.outputs for cell in kept.cells if "labs.check(" in cell.source or "labs.quiz(" in cell.source)


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_has_its_parts(lab):
    notebook = notebooks.build(lab)
    text, code = prose(notebook), [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(text.split()) <= (2100 if lab == "09" else 1800) and len(code) <= 22  # 09 is the whole of it
    for part in ("inutes", "**Predict first.**", "**What if**", "## Quiz", "## Recap", "**Next", "Hint 1", "Hint 2", "Solution"):
        assert part in text, part
    exercises = course.of_lab(lab)
    assert text.count("Exercise ") >= len(exercises) and text.count("●") >= len(exercises)
    assert text.count("**What if**") >= len(exercises)
    assert len(checked(notebook)) == len(exercises)
    assert set(checked(notebook)) == {exercise.name for exercise in exercises}
    assert any("teachers" in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert f"/v{pelrp_nb.__version__}" in notebook.cells[0].source
    assert "%pip install -q pelrp_nb==" in code[0].source


@pytest.mark.parametrize("lab", LABS)
def test_what_a_picture_shows_stands_right_below_it(lab):
    cells = notebooks.build(lab).cells
    draws = re.compile(r"plt\.show\(\)|\.(figure|overlay|sheet)\(")
    for cell, below in pairwise(cells):
        drawn = cell.cell_type == "code" and draws.search(cell.source.replace("plt.figure(", ""))
        assert not drawn or "*What to see:*" in below.source.split("\n\n")[0], cell.source


@pytest.mark.parametrize("lab", LABS)
def test_every_what_if_has_an_answer(lab):
    for asked in re.split(r"\*\*What if\*\*", prose(notebooks.build(lab)))[1:]:
        assert "<summary>An answer</summary>" in re.split(r"^#", asked, maxsplit=1, flags=re.M)[0], asked[:100]


def test_the_course_says_how_hard_each_exercise_is():
    """As each exercise says itself, counted in the table of the page; and the course ends in open projects."""
    page = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    found = {}
    for lab in LABS:
        marks = re.findall(r"^#+ Exercise \d+ · .*?([●○]{3})", prose(notebooks.build(lab)), re.M)
        assert len(marks) == len(course.of_lab(lab))
        found[lab] = tuple(marks.count(mark) for mark in ("●○○", "●●○", "●●●"))
    rows = re.findall(r"^\| (\d\d)[^|]*\| (\d*) \| (\d*) \| (\d*) \| ([^|]*) \|$", page, re.M)
    assert {lab: tuple(int(n or 0) for n in counts) for lab, *counts, _ in rows} == found
    projects = {lab for lab in LABS if "## Open project" in prose(notebooks.build(lab))}
    assert {lab for lab, *_, project in rows if project.strip()} == projects and len(projects) >= 3
    assert found["00"] == (3, 0, 0) and all(sum(found[lab][1:]) for lab in LABS[1:])


def test_minutes_are_reckoned_by_one_rule():
    """In each lab, in the table of the course, and in its plans."""
    page = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| \[(\d\d) [^|]*\| (\d+) \|", page, re.M))
    for lab in LABS:
        said = re.search(r"^\*About (\d+) minutes", prose(notebooks.build(lab)), re.M)[1]
        assert said == table[lab] == str(minutes(lab)), lab
    assert "nobody has been timed" in page and f"{WORDS} words a minute" in page and f"{LINES} lines" in page
    afternoon = re.findall(r"(\d\d) \((\d+)\)", page.split("**One afternoon")[1].split("\n\n")[0])
    assert len(afternoon) == 5 and dict(afternoon).items() <= table.items() and sum(int(n) for _, n in afternoon) <= 240
    for session in re.findall(r"^\| [123] \| ([^|]*) \|", page, re.M):
        assert sum(int(table[lab]) for lab in re.findall(r"\d\d", session)) <= (120 if "up to" not in session else 125), session


def cells_of(lab: str, filled: bool):
    """The answer cells and checks of a master, in order."""
    for cell in jupytext.read(notebooks.master(lab)).cells:
        if cell.cell_type == "code":
            answer = "# BEGIN SOLUTION" in cell.source
            source = cell.source if filled or not answer else notebooks.stub(cell.source)
            yield answer, notebooks.CHECK.search(cell.source), source


def verdicts(lab: str, filled: bool) -> dict[str, labs.Verdict]:
    """What the checks say of a master's solutions, or of its stubs."""
    needs_all = any(exercise.kind == "value" for exercise in course.of_lab(lab))
    space: dict = {"labs": labs}
    found = {}
    for number, (answer, check, source) in enumerate(cells_of(lab, filled)):
        if check:
            found[check[1]] = eval(source, space)
        elif answer or number == 0 or (needs_all and "plt" not in source and "print(rules" not in source):
            exec(source, space)
    return found


@pytest.mark.parametrize("lab", LABS)
def test_every_solution_passes(lab):
    found = verdicts(lab, filled=True)
    assert len(found) == len(course.of_lab(lab))
    assert all(found.values()), [verdict for verdict in found.values() if not verdict]


@pytest.mark.parametrize("lab", LABS)
def test_every_stub_fails(lab):
    found = verdicts(lab, filled=False)
    assert len(found) == len(course.of_lab(lab))
    assert not any(found.values()) and not any(verdict.tried for verdict in found.values())


@pytest.mark.parametrize("lab", LABS)
def test_students_get_no_solutions(lab):
    student, solution, instructor = (notebooks.build(lab, kind) for kind in ("student", "solution", "instructor"))
    for exercise in course.of_lab(lab):
        answer = notebooks.solution(exercise, notebooks.master(lab))
        assert answer not in sources(student) and answer in sources(solution) and answer in sources(instructor)
        assert f"**{exercise.mistakes[0].name}**" in prose(instructor)
    assert "Solution" not in prose(student) and "For teachers" not in prose(student) + prose(solution)
    assert "For teachers" in prose(instructor)
    for notebook in (student, solution, instructor):
        nbformat.validate(notebook)
        assert not any("BEGIN SOLUTION" in source for source in sources(notebook))


def test_a_pack_is_whole_and_overwrites_nothing(tmp_path, capsys):
    folder = tmp_path / "nächste Woche"
    assert main(["new", str(folder), "--labs", "1,7", "--seed-per-student"]) == 0
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    each = {f"{kind}/lab_{lab}.ipynb" for kind in ("student", "solution", "instructor") for lab in ("01", "07")}
    graders = {f"{place}/lab_{lab}/lab_{lab}.ipynb" for place in ("nbgrader/source", "otter") for lab in ("01", "07")}
    assert there == each | graders | {"rubric.md", "README.md"}
    assert "labs.student(" in (folder / "student" / "lab_01.ipynb").read_text(encoding="utf-8")
    assert "missing bias" in (folder / "rubric.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="new or empty folder"):
        main(["new", str(folder)])
    with pytest.raises(InputError, match="'77'"):
        main(["new", str(tmp_path / "x"), "--labs", "77"])
    with pytest.raises(InputError, match="at least one"):
        main(["new", str(tmp_path / "x"), "--labs", ","])


@pytest.mark.parametrize("lab", LABS)
def test_other_graders_find_their_marks(lab):
    """nbgrader: a solution cell and a locked test with points for each exercise; otter: a question around each."""
    exercises = course.of_lab(lab)
    graded = [cell for cell in pack.for_nbgrader(lab).cells if "nbgrader" in cell.metadata]
    tests = {cell.metadata.nbgrader.grade_id: cell for cell in graded if cell.metadata.nbgrader.grade}
    answers = [cell for cell in graded if cell.metadata.nbgrader.solution]
    assert {e.name: e.points for e in exercises} == {name: cell.metadata.nbgrader.points for name, cell in tests.items()}
    assert len(answers) == len(exercises) and all("# BEGIN SOLUTION" in c.source and "# END SOLUTION" in c.source for c in answers)
    assert all("assert verdict, verdict" in cell.source for cell in tests.values())
    for notebook in (pack.for_nbgrader(lab), pack.for_otter(lab)):  # what these graders hand on to students as it is
        assert "For teachers" not in prose(notebook) and "mistakes that are named" not in prose(notebook)
        assert notebook.metadata.pelrp.kind == "student" and "Hint 1" in prose(notebook)
    raw = [cell.source for cell in pack.for_otter(lab).cells if cell.cell_type == "raw"]
    for mark in ("# BEGIN QUESTION", "# BEGIN SOLUTION", "# END SOLUTION", "# BEGIN TESTS", "# END TESTS", "# END QUESTION"):
        assert sum(source.startswith(mark) for source in raw) == len(exercises)


def test_a_check_of_another_grader_raises_its_message():
    space = {"labs": labs, "shares": lambda x, weight: x * weight}
    with pytest.raises(AssertionError, match="A share is a contribution divided"):
        exec(pack.asserted('labs.check("shares", shares)'), space)


def test_a_worksheet_has_room_and_answers(tmp_path):
    written = worksheets.write(tmp_path / "sheets")
    assert [path.stem for path in written] == [rule.name for rule in rules.ALL] + ["glossary"]
    for rule in rules.ALL:
        page = worksheets.sheet(rule)
        R, inputs, constants = worksheets.case(rule)
        paid = rule.relevance(R, *inputs, **constants)
        boxes = sum(x.numel() for x in paid)
        assert page.count("<td></td>") == boxes and page.count("<section>") == 2
        assert all(worksheets._number(value) in page for value in paid[0].flatten().tolist())
        assert not re.search(r"-0\.0+\b", page)  # the sign of what is rounding
        assert "nan" not in page.casefold().replace("nance", "")
    with pytest.raises(InputError, match="must be written"):
        worksheets.write(written[0])


@pytest.mark.browser
def test_a_worksheet_is_a_sheet(tmp_path, chromium):
    """A page and its back, on A4."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        for path in worksheets.write(tmp_path)[:-1]:
            page.goto(path.as_uri())
            printed = page.pdf(prefer_css_page_size=True)
            assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) == 2, path.stem
        browser.close()


def test_the_words_of_the_course_are_explained():
    """The page of the course carries the glossary as it is, in order."""
    page = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    assert worksheets.glossary_markdown() in page
    assert re.findall(r"^- \*\*(.+?)\*\*: ", page.split("## Glossary")[1], re.M) == sorted(worksheets.TERMS)
