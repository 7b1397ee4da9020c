"""What the tests of the course's sentences share: its text, its models, and its cells after they were run."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

from pelrp_nb import Options, explain, zoo
from pelrp_nb.labs import notebooks

MOON, SUN = "order sun moon ? the moon of a sun in", "order sun moon ? the sun of a moon in"
TIE = "Provides a porthole into that noble, trembling incoherence that defines us all."
AUDIT = Options(audit=True)
ENCODINGS = ("absolute", "learnable", "rotary", "relative", "alibi")


@cache
def loaded(name: str) -> Any:
    return zoo.load(name)


def found(name: str, text: str, **how: Any) -> Any:
    model, tokenizer = loaded(name)
    return explain(model, text, processor=tokenizer, **how)


def says(lab: str, *sentences: str) -> bool:
    """Whether the lab still has these sentences, however its lines are broken."""
    text = " ".join(re.sub(r"^# ?", "", notebooks.master(lab).read_text(encoding="utf-8"), flags=re.M).split())
    return all(sentence in text for sentence in sentences)


@cache
def worked(lab: str) -> dict[str, Any]:
    """The names of a lab after its cells were run with their answers, up to the quiz; cells that only print left out."""
    import jupytext
    import matplotlib

    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tensors handed to matplotlib
        for cell in jupytext.read(notebooks.master(lab)).cells:
            if cell.cell_type == "code" and not cell.source.startswith(("labs.", "show(")):
                exec(cell.source, space)
    return space
