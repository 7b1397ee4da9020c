"""How long a lab takes a student. Nobody has been timed: it is reckoned, by one rule for all labs."""

from __future__ import annotations

import re
from math import ceil
from typing import Any

from .course import questions
from .notebooks import build

WORDS, LINES = 100, 15  # read in a minute: of text, slowly, and of code
FOLD = re.compile(r"<details><summary>(?!An answer).*?</details>", re.DOTALL)
EXERCISE = re.compile(r"^#+ Exercise \d+ .*?(\d+) minutes$", re.MULTILINE)


def minutes(lab: str) -> int:
    """The minutes that a lab takes by the rule, rounded up to five.

    What each exercise says of itself, the text and the code read at `WORDS` and `LINES` a minute (hints left out), and a
    minute for each prediction and each question of the quiz.
    """
    cells = build(lab, "student").cells
    text = FOLD.sub("", _sources(cells, "markdown"))
    code = [line for line in _sources(cells, "code").splitlines() if line.strip()]
    asked = len(re.findall(r"\*\*Predict", text)) + len(questions(lab))
    worked = sum(int(each) for each in EXERCISE.findall(text))
    return 5 * ceil((worked + asked + len(text.split()) / WORDS + len(code) / LINES) / 5)


def _sources(cells: list[Any], kind: str) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == kind)
