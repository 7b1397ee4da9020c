r"""An explanation as LaTeX: words on their colours, or a table of tokens.

    \usepackage{xcolor}     % for words; \usepackage{booktabs} for a table

What a token says is shown and not obeyed: every character that LaTeX takes for a command is written as its glyph, so is a bracket at
the beginning of a row, which would be an argument of the line before.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..amounts import HYPHEN, Digits, digits, largest, signed
from ..errors import InputError
from ..views.colour import diverging, share
from ..views.data import Plain
from ..views.reading import words as read
from ..views.text import pieces

KINDS = ("words", "table")
BEYOND = 0x250  # where Latin letters end
GLYPHS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}", "_": r"\_",
    "%": r"\%", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "-": "-{}", "`": "`{}",
    "'": "'{}", ",": ",{}", "?": "?{}", "!": "!{}", '"': r"\char34{}", "[": "{[}", "*": "{*}", "\u2581": r"\textvisiblespace{}",
}  # fmt: skip


def latex(data: Plain, kind: str, reduction: str) -> str:
    """One explanation as a fragment of LaTeX; InputError for another kind."""
    if kind not in KINDS:
        raise InputError(f"kind must be {' or '.join(KINDS)}, got {kind!r}. Type to_latex('table').")
    return words(data, reduction) if kind == "words" else table(data, reduction)


def words(data: Plain, reduction: str) -> str:
    """The text as people read it, each word on the colour of its relevance; needs xcolor."""
    both = data["parts"][reduction]["both"]
    found = [(word["own"], word["before"], sum(both[t] for t in word["ids"])) for word in read(data)]
    scale = largest(amount for _, _, amount in found)
    boxes = []
    for i, (text, before, amount) in enumerate(found):
        paint = diverging(share(amount, scale))
        back, ink = paint.back[1:].upper(), paint.text[1:].upper()
        space = "\\par\n" if before == "\n" else "\\hspace{3pt}" if before else "\\hspace{0pt}"
        boxes.append(rf"{space if i else ''}\colorbox[HTML]{{{back}}}{{\textcolor[HTML]{{{ink}}}{{\strut {shown(text)}}}}}")
    wide = "".join(text for text, _, _ in found)
    engine = "" if all(ord(letter) < BEYOND for letter in wide) else "; letters beyond Latin need LuaLaTeX or XeLaTeX and a font"
    head = f"% {comment(data, reduction)}; needs \\usepackage{{xcolor}}{engine}\n"
    return head + "{\\setlength{\\fboxsep}{1.5pt}\\raggedright\n" + "%\n".join(boxes) + "\\par}\n"


def table(data: Plain, reduction: str) -> str:
    """A row per token with content, position and both, and their sums; needs booktabs."""
    parts = data["parts"][reduction]
    columns: tuple[list[float], ...] = (parts["content"], parts["position"], parts["both"])
    show = digits(largest(*columns))
    lines = [f"% {comment(data, reduction)}; needs \\usepackage{{booktabs}}", r"\begin{tabular}{lrrr}", r"\toprule"]
    lines += [r"token & content & position & both \\", r"\midrule"]
    lines += [row(shown(token), [column[t] for column in columns], show) for t, token in enumerate(data["tokens"])]
    lines += [r"\midrule", row("sum", [sum(column) for column in columns], show), r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def row(name: str, amounts: Sequence[float], show: Digits) -> str:
    """One line of a table."""
    return " & ".join([name, *(number(show(amount, HYPHEN)) for amount in amounts)]) + r" \\"


def number(text: str) -> str:
    """A number in a formula: its minus is one, and an exponent stands where exponents stand."""
    amount, _, power = text.partition("e")
    return f"${amount}$" if not power else rf"${amount} \times 10^{{{int(power)}}}$"


def comment(data: Plain, reduction: str) -> str:
    """What was explained, in one line that ends where the line ends."""
    said = f"{data['target']} {signed(data['value'], 5, HYPHEN)}, {data['model']}, {data['method']}, {reduction}"
    return "".join(piece.text for piece in pieces(said, 200))


def shown(text: str) -> str:
    """Text as LaTeX shows it; the name of a character that cannot be seen in small capitals."""
    return "".join(rf"\textsc{{{typed(piece.text.lower())}}}" if piece.chip else typed(piece.text) for piece in pieces(text))


def typed(text: str) -> str:
    """Each character written so that LaTeX takes it for itself."""
    return "".join(GLYPHS.get(letter, letter) for letter in text)
