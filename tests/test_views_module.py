"""The module that draws is written by hand in parts: each is small, none takes another's names, and all together are one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pelrp_nb.views import module

PARTS = sorted((Path(module.__file__).parent / "js").glob("*.js"))
NAMES = re.compile(r"^(?:const|let|function|async function|class) (?:\[([^\]]+)\]|\{([^}]+)\}|(\w+))", re.MULTILINE)


def names(path: Path) -> list[str]:
    found = NAMES.findall(path.read_text(encoding="utf-8"))
    return [name.strip() for groups in found for group in groups if group for name in group.split(",")]


def test_no_part_takes_a_name_of_another():
    seen: dict[str, str] = {}
    for path in PARTS:
        for name in names(path):
            assert name not in seen, f"{name} stands in {seen[name]} and in {path.name}"
            seen[name] = path.name


def test_every_part_is_used_by_some_kind_and_every_kind_has_its_parts():
    used = {*module.BASE, *(part for parts in module.KINDS.values() for part in parts)}
    assert used == {path.stem for path in PARTS}
    for kind, parts in module.KINDS.items():
        text = "".join((path.read_text(encoding="utf-8")) for path in PARTS if path.stem in parts)
        assert f"kinds.{kind} = " in text


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_a_part_can_be_read(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 400 and lines[0].startswith("// ")
    assert max(map(len, lines)) <= 132
    forbidden = r"(inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function|\bimport\b|\bfetch\("
    assert not re.search(forbidden, "\n".join(lines))


def test_joining_changes_nothing_but_comments_and_indentation():
    for path in PARTS:
        text = path.read_text(encoding="utf-8")
        assert text.count("`") % 2 == 0
        for line in text.splitlines():  # no text runs over lines, or its indentation would be lost
            assert re.sub(r"\\.", "", line).count("`") % 2 == 0, line
    joined = module.script()
    assert joined.count("kinds.") >= len(module.KINDS) and not re.search(r"^\s*//|^\s+\S", joined, re.MULTILINE)
    whole = "".join(path.read_text(encoding="utf-8") for path in PARTS[0].parent.parent.glob("*.css"))
    style = module.style()
    assert not re.search(r"^/\*|^[ \t]", style, re.MULTILINE) and style.count("{") > whole.count("{") > 300
    assert all(rule.strip() in style for rule in re.findall(r"(?m)^[^/\n]+\{[^{}\n]+\}$", whole))


def test_a_page_carries_the_parts_it_needs_and_no_other():
    assert "kinds.compare" not in module.script("explanation") and "kinds.compare" in module.script("compare")
    assert len(module.script("inspector")) < len(module.script())
    for kind in ("compare", "flow", "xray"):  # none of them is stepped through
        assert not {"stepper", "predict", "math"} & set(module.parts(kind))


# --- what a kind reaches, its page has ---------------------------------------------------------------------------------

DECLARED = re.compile(
    r"(?:const|let) (\{[^}=]*\}|\[[^\]=]*\]|\w+)|\(([^()]*)\) =>|(\w+) =>|function \w*\(([^)]*)\)|for \(const (\[[^\]]*\]|\w+)"
)
USED = re.compile(r"(?<![\w.$])(?:\w+(?=\()|[A-Z][A-Z_]+\b(?!\s*:))")  # what is called, and constants


def pieces(text: str) -> list[str]:
    """The text of a part, cut before each of its top-level names, without comments and what stands in quotes."""
    bare = re.sub(r"^\s*//.*$| // .*$", "", re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text), flags=re.MULTILINE)
    return re.split(r"^(?=(?:const|let|function|async function|class|kinds\.)[ \w])", bare, flags=re.MULTILINE)


def needs(piece: str) -> set[str]:
    """The names that a top-level piece uses and does not declare itself."""
    first, _, body = piece.partition("\n")
    given = re.findall(r"^(?:async )?function \w+\(([^)]*)\)", first)
    own = re.findall(r"\w+", " ".join([*given, *(" ".join(groups) for groups in DECLARED.findall(body or first))]))
    return set(USED.findall(piece)) - set(own)


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[str, set[str]]]:
    """Each top-level name, and each kind as `kinds.name`: its part, and the names that it needs."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in PARTS:
        for piece in pieces(path.read_text(encoding="utf-8")):
            drawn = re.match(r"kinds\.(\w+) =", piece)
            groups = NAMES.match(piece)
            several = [n.strip() for g in groups.groups() if g for n in g.split(",")] if groups else []
            for name in [f"kinds.{drawn[1]}"] if drawn else several:
                found[name] = (path.stem, needs(piece))
    return found


def reached(kind: str, known: dict[str, tuple[str, set[str]]]) -> set[str]:
    """The parts that hold what drawing this kind can come to."""
    names, open_ = {f"kinds.{kind}", "render"}, [f"kinds.{kind}", "render"]
    while open_:
        more = (known[open_.pop()][1] & known.keys()) - names
        names |= more
        open_ += more
    return {known[name][0] for name in names}


@pytest.mark.parametrize("kind", module.KINDS)
def test_a_kind_has_every_part_that_drawing_it_can_come_to(kind, known):
    assert reached(kind, known) - set(module.parts(kind)) == set()


@pytest.mark.parametrize("kind", ["compare", "exchange", "maps", "stepper", "monitor"])
def test_a_part_that_is_left_out_is_missed(kind, known):
    assert "running" in reached(kind, known)


# --- what a kind wears, its style sheet has ----------------------------------------------------------------------------


def worn(kind: str) -> set[str]:
    """The classes that the parts of this kind give to nodes."""
    text = "".join((Path(module.__file__).parent / "js" / f"{part}.js").read_text(encoding="utf-8") for part in module.parts(kind))
    return {name for found in re.findall(r"class: [^,}\n]*|className = [^;\n]*", text) for name in re.findall(r"[\w-]+", found)}


def selectors(style: str) -> dict[str, set[str]]:
    """Each selector with the classes that it asks for."""
    found = re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL))
    each = [one.strip() for several in found for one in several.split(",") if not several.strip().startswith("@")]
    each = [one for one in each if " svg " not in one]  # of a drawing: `against` is a line there, a sentence elsewhere
    return {one: set(re.findall(r"\.([a-zA-Z][\w-]*)", one)) - {"pelrp"} for one in each}


@pytest.mark.parametrize("kind", module.KINDS)
def test_a_kind_has_the_style_of_every_class_that_it_gives(kind):
    given, own = worn(kind), selectors(module.style(kind))
    needed = {one for one, classes in selectors(module.style()).items() if classes and classes <= given}
    assert needed - own.keys() == set() and len(needed) > 20


def test_a_page_carries_no_style_sheet_of_another_kind():
    assert ".card h1" in module.style("compare") and ".card h1" not in module.style("inspector")
    assert ".tile " in module.style("several") and ".tile " not in module.style("explanation")
    assert ".routes" in module.style("heads") and ".routes" not in module.style("monitor") and ".meter" in module.style("monitor")
