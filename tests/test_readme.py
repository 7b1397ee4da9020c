"""The README is short and true: its code runs, its links lead somewhere, it says what it must in its order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
ORDER = [
    "Install",
    "Three lines",
    "For whom",
    "Beside others",
    "What it cannot do",
    "Two commands",
    "Read on",
    "Licence, and a remark on patents",
]


def test_it_has_at_most_1200_words():
    assert len(README.split()) <= 1200


def test_it_says_what_it_must_in_its_order():
    assert re.findall(r"^## (.*)$", README, re.M) == ORDER
    above = README.split("## Install")[0]
    assert "](tutorials/images/card.png)" in above and above.split("**")[1].count(".") == 1


FIRST_SCREEN = {
    "what is it?": r"^\*\*Which words of a text, .* made a transformer say what it says",
    "for whom?": r"^It is for students, teachers and researchers .*, and for engineers",
    "why not captum, inseq or LXT?": r"Why not \[captum, inseq or\sLXT\]\(#beside-others\)\? Each does .* better, .*; here positions are",
    "how does it look?": r"^!\[A review sentence explained.*\]\(tutorials/images/card\.png\)$",
    "how do I install it?": r"^pip install \. ",
}


@pytest.mark.parametrize("question", FIRST_SCREEN)
def test_what_one_asks_in_thirty_seconds_is_answered_on_the_first_screen(question):
    """What stands above the first code: a reader takes 250 words a minute, so half of it and the picture in thirty seconds."""
    first = README.split("## Three lines")[0]
    assert re.search(FIRST_SCREEN[question], first, re.M | re.S if "why" in question else re.M)
    assert len(first.splitlines()) <= 30 and len(re.sub(r"```.*?```|!\[.*?\)", "", first, flags=re.S).split()) <= 200


def test_its_first_sentence_has_no_private_word():
    private = r"sink|ledger|relevance|composite|bent|LRP|logit|keeper|boundary|contrast"
    assert not re.search(private, README.split("**")[1], re.I)


def test_the_code_runs_in_its_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "why.html").exists()


def test_the_first_example_is_three_lines():
    assert len(BLOCKS[0].strip().splitlines()) == 3


@pytest.mark.parametrize("neighbour", ["captum", "inseq", "LXT", "autoLRP", "bertviz", "circuit-tracer"])
def test_each_neighbour_is_said_to_do_something_better(neighbour):
    row = next(line for line in README.splitlines() if line.startswith(f"| [{neighbour}]"))
    better, different = row.strip("| ").split(" | ")[1:]
    assert len(better.split()) >= 5 and different


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link
