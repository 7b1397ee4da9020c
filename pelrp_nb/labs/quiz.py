"""`labs.quiz(lab)`: a few questions, each choice folded over its own explanation; needs no script.

A style sheet makes a test of it: the first choice that is opened is locked, told right or wrong by a mark and by colour, and
counted.  Where a notebook is not trusted the style is taken away, and what is left are the folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from zlib import crc32

from ..views.table import coded
from .course import questions

LETTERS = "abcdef"
# a summary that is not visible takes neither pointer nor key, and the words in it are shown all the same: so a choice is locked
STYLE = (
    ".pelrp-quiz{counter-reset:right}"
    ".pelrp-quiz details{border:1px solid #8886;border-left-width:5px;border-radius:6px;padding:3px 10px}"
    ".pelrp-quiz summary{cursor:pointer;list-style:none}.pelrp-quiz summary::-webkit-details-marker{display:none}"
    ".pelrp-quiz details:not([open])>summary:hover{text-decoration:underline}"
    ".pelrp-quiz .asked:has(details[open]) summary{visibility:hidden;pointer-events:none}"
    ".pelrp-quiz .asked:has(details[open]) summary span{visibility:visible}"
    ".pelrp-quiz .right[open]{counter-increment:right}"
    ".pelrp-quiz .asked:has(details[open]) .right{border-color:#2e8b57;background:#2e8b5722}"
    ".pelrp-quiz .wrong[open]{border-color:#c0392b;background:#c0392b1c}"
    ".pelrp-quiz .asked:has(details[open]) .right:not([open]) span::after{content:' \\2713  this is right'}"
    ".pelrp-quiz .score::after{content:'Right at the first try: ' counter(right) attr(data-of) '.'}"
)


@dataclass(frozen=True)
class Choice:
    """One choice and why it is right or wrong."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with its choices, one of them right."""

    text: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Quiz:
    """The questions of one lab; shows itself folded in a notebook, and as text elsewhere."""

    lab: str
    questions: tuple[Question, ...]

    def choose(self, number: int, letter: str) -> str:
        """What there is to say about a choice: `quiz.choose(1, "b")`."""
        known = f"There are questions 1 to {len(self.questions)}, each with choices a, b, c."
        if not (isinstance(number, int) and 0 < number <= len(self.questions)):
            return known
        choices = self.questions[number - 1].choices
        at = LETTERS.find(str(letter).casefold()[:1]) if str(letter) else -1
        if not 0 <= at < len(choices):
            return known
        return f"{'Right' if choices[at].right else 'No'}. {choices[at].why}"

    def __repr__(self) -> str:
        lines = [f"quiz {self.lab}: choose with .choose(1, 'a')"]
        for number, question in enumerate(self.questions, 1):
            lines += [f"{number}. {question.text}", *(f"   {x}) {c.text}" for x, c in zip(LETTERS, question.choices))]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        blocks = []
        for number, question in enumerate(self.questions, 1):
            folded = "".join(_folded(letter, choice) for letter, choice in zip(LETTERS, question.choices))
            asked = f'<p style="margin:12px 0 4px"><b>{number}. {coded(escape(question.text))}</b></p>'
            blocks.append(f'<div class="asked">{asked}{folded}</div>')
        score = f'<p class="score" data-of=" of {len(self.questions)}"></p>'
        return f'<style>{STYLE}</style><div class="pelrp-quiz" style="max-width:46em">{"".join(blocks)}{score}</div>'


def _folded(letter: str, choice: Choice) -> str:
    mark = "\u2713 Right" if choice.right else "\u2717 No"
    said = f"<b>{mark}.</b> {coded(escape(choice.why))}"
    shown = f"<summary><span>{letter}) {coded(escape(choice.text))}</span></summary>"
    kind = "right" if choice.right else "wrong"
    return f'<details class="{kind}" style="margin:2px 0 2px 16px">{shown}<p style="margin:4px 0 4px 24px">{said}</p></details>'


def quiz(lab: str) -> Quiz:
    """The quiz of a lab, "01" to "14"; each choice says why it is right or wrong."""
    asked = questions(str(lab))
    return Quiz(
        str(lab),
        tuple(Question(text, tuple(Choice(c, why, right=i == 0) for i, (c, why) in _mixed(choices))) for text, *choices in asked),
    )


def _mixed(choices: list[tuple[str, str]]) -> list[tuple[int, tuple[str, str]]]:
    """The choices in an order that does not give the right one away: by a checksum of their text."""
    return sorted(enumerate(choices), key=lambda item: crc32(item[1][0].encode()))
