"""The gallery has a page for each view, ten questions with their answers, and pictures that exist and are small."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

GALLERY = Path(__file__).resolve().parent.parent / "docs" / "gallery"
ASKED = tomllib.loads((GALLERY / "questions.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ASKED)
def test_every_view_is_asked_ten_questions_and_answers_yes_or_no(name):
    asked = ASKED[name]["asked"]
    page = (GALLERY / f"{name}.md").read_text(encoding="utf-8")
    assert len({question for question, _ in asked}) == 10
    assert all(question.endswith("?") and re.match(r"(yes|no)\b", answer) for question, answer in asked)
    assert [tuple(one) for one in asked] == re.findall(r"^1\. (.*?) \*\*(.*)\*\*$", page, re.MULTILINE)


def test_every_picture_is_there_and_all_together_are_small():
    shown = {link for page in GALLERY.glob("*.md") for link in re.findall(r"\]\(([\w-]+\.webp)\)", page.read_text(encoding="utf-8"))}
    files = {path.name: path.stat().st_size for path in GALLERY.glob("*.webp")}
    assert set(files) == shown and len(shown) == 5 * len(ASKED) and sum(files.values()) < 3_000_000
