"""One printable page for each rule: numbers to fill in by hand, the answers on the back; and a glossary."""

from __future__ import annotations

import inspect
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ..errors import InputError
from ..rules import Rule
from ..views.table import coded

STYLE = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.4 Georgia, serif; color: #000; background: #fff; max-width: 174mm; margin: 0 auto }
section { break-after: page } section:last-child { break-after: auto }
pre { font: 8.5pt/1.25 ui-monospace, monospace; white-space: pre-wrap }
.beside { display: flex; flex-wrap: wrap; gap: 1mm 7mm }
table { border-collapse: collapse; margin: 1mm 0 2mm }
td { border: .3mm solid #000; padding: .5mm 1.5mm; text-align: right; min-width: 9mm; height: 4.5mm; font-size: 9pt }
h1 { font-size: 15pt; margin: 0 } h2 { font-size: 10pt; margin: 1mm 0 0 }
"""
TERMS = {
    "activation": "A function applied to each number on its own, such as ReLU or SiLU.",
    "attention": "The step in which each token looks at others: query, key and value.",
    "AttnLRP": "LRP for transformers: identity at activations, half to each factor, a rule for the softmax (2024).",
    "audit": "Measuring every softmax, so that no entry of the ledger is a difference.",
    "bent gradient": "The ordinary gradient with other slopes in a few places; value times bent gradient is relevance.",
    "bias": "A number that a layer adds by itself.",
    "boundary": "The border between two layers, where relevance is recorded.",
    "carry": "To depend on an input. Only what carries receives relevance; the rest is a constant.",
    "causal": "Reading from left to right: no token sees what comes after it.",
    "circuit": "A few edges from word to word that keep an answer when all else is corrupted.",
    "composite": "Which rule serves which kind of operation.",
    "conserve": "To hand on all of what came in.",
    "contrast": "Explaining one answer rather than another: the difference of two logits.",
    "CP-LRP": "LRP that takes attention weights and gates as constants (2022).",
    "edge": "What one head hands from one word to one word.",
    "embedding": "The vector that a model looks up for a token.",
    "epsilon": "A small number that keeps a denominator away from zero.",
    "exchange": "Asking what an answer would lose if two tokens exchanged their positions.",
    "gap": "What is left of the value when every entry of the ledger has been named.",
    "gate": "A product of an activation and another vector.",
    "head": "One of several attentions that a layer computes side by side.",
    "induction head": "A head that finds what stood behind the last time of a word, and copies it.",
    "leave-one-out": "Taking one token away and looking at the answer, for each in turn.",
    "ledger": "The account of where every unit of the explained number went.",
    "logit": "The number behind an answer, before it is made a probability.",
    "LRP": "Layer-wise relevance propagation: sharing out an answer backwards through a model, layer by layer (2015).",
    "PA-LRP": "AttnLRP with an account for positions (2025).",
    "MLP": "Two linear layers with an activation, often a gate, between them.",
    "mask": "What hides tokens from others: those that come later, or padding.",
    "norm": "A step that brings a vector to one size.",
    "patch": "A square of a picture, which an image model reads as a token.",
    "patching": "Putting a part of one run into another, to see whether the answer moves.",
    "position": "Where a token stands; an input beside the token itself.",
    "reduction": "How the accounts of all layers become one number for each token: with signs, by size, or else.",
    "register": "A token that some image models add to take notes on; the same for every picture.",
    "relevance": "The part of the explained number that something deserves, with a sign: for or against.",
    "residual sum": "What a layer computed, added to what it was given.",
    "rotary": "Positions that turn pairs of numbers of queries and keys.",
    "rule": "How one kind of operation hands relevance back.",
    "score": "How well a query and a key fit.",
    "share": "The part of an output that one input made: its contribution over the total.",
    "sink": "A place where positions enter; it receives relevance and passes nothing on.",
    "softmax": "The step that turns scores into positive weights that add up to 1.",
    "standard error": "How far a mean may be off by chance: the spread over the root of how many.",
    "target": "The number that is explained.",
    "tokenizer": "What cuts a text into tokens, and marks its beginning and end.",
    "token": "A word or a piece of a word, as the model reads it.",
}


def write(folder: Path) -> list[Path]:
    """Write `NAME.html` for each rule and `glossary.html`; the files written. Print them on both sides."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pages = {rule.name: sheet(rule) for rule in rules.ALL} | {"glossary": glossary()}
        for name, page in pages.items():
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Worksheets must be written to {folder}; that fails: {error.strerror}. Type another folder.") from error
    return [folder / f"{name}.html" for name in pages]


def sheet(rule: Rule) -> str:
    """The worksheet of one rule: its page, a small case with room for the answer; the answer behind it."""
    R, inputs, constants = case(rule)
    paid, called = rule.relevance(R, *inputs, **constants), names(rule, len(inputs))
    given: list[tuple[str, Any]] = [("R, what comes in", R), *zip(called, inputs)]
    given += [(name, value) for name, value in constants.items() if value is not None]
    said = side_by_side([(name, shown(value)) for name, value in given])
    empty = side_by_side([(f"R({name})", shown(x, fill=False)) for name, x in zip(called, paid)])
    filled = side_by_side([(f"R({name})", shown(x)) for name, x in zip(called, paid)])
    total = sum(float(x.sum()) for x in paid)
    kept = round(float(R.sum()) - total, 3) + 0.0  # what is rounding has no sign
    sums = f"<p>Sum in {float(R.sum()):.3f}, sum out {total:.3f}, kept {kept:.3f}. {coded(escape(rule.conserves))}.</p>"
    room = "<p>Sum in ________ sum out ________ kept ________</p>"
    front = f"<h1>{escape(rule.name)}</h1><pre>{coded(escape(rule.doc.strip()))}</pre>{said}<p><b>Fill in:</b></p>{empty}{room}"
    return document(rule.name, f"<section>{front}</section><section><h1>{escape(rule.name)}: answers</h1>{filled}{sums}</section>")


def names(rule: Rule, count: int) -> list[str]:
    """What the page calls the inputs of a rule."""
    parameters = list(inspect.signature(rule.relevance).parameters.values())[1:]
    plain = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    several = ["cos", "sin"] if rule.name == "rotary" else ["factor 1", "factor 2"]
    return (plain + several)[:count]


def case(rule: Rule) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Any]]:
    """The rule's own small case, its numbers rounded to one digit; one row of a batch that all inputs share."""
    R, inputs, constants = rule.example(torch.Generator().manual_seed(7))
    rows = {len(x) for x in (R, *inputs)}
    if rule.name == "attention":  # one head of two tokens is enough by hand
        bias, mask = inputs[3][:1, :2, :2], constants["mask"][:2, :2]
        R, inputs, constants = R[:, :1, :2], (*(x[:, :1, :2] for x in inputs[:3]), bias), {"mask": mask}
    elif rule.name == "delta":  # one head; two tokens see no third one
        (v, moved), still = inputs, constants["still"]
        R, inputs, constants = R[:1, :2], (v[:1, :2], moved[:1, :2, :2]), {"still": still[:1, :2, :2]}
    elif len(rows) == 1 and not any(isinstance(value, Tensor) and len(value) == len(R) for value in constants.values()):
        R, inputs = R[:1], tuple(x[:1] for x in inputs)
    R, constants = _rounded(R), {name: _rounded(value) for name, value in constants.items()}
    return R, tuple(torch.where(x == 0, 0.5, x) for x in map(_rounded, inputs)), constants  # no 0/0 by hand


def _rounded(value: Any) -> Any:
    return (value * 10).round() / 10 + 0.0 if isinstance(value, Tensor) and value.is_floating_point() else value


def shown(value: Any, fill: bool = True) -> str:
    """A value as a table; empty boxes where it is to be filled in."""
    if not isinstance(value, Tensor):
        return f"<p>{escape(getattr(value, '__name__', str(value)))}</p>"
    rows = value.reshape(-1, value.shape[-1]) if value.dim() else value.reshape(1, 1)
    cells = ("".join(f"<td>{_number(x) if fill else ''}</td>" for x in row) for row in rows.tolist())
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _number(x: Any) -> str:
    return str(x) if isinstance(x, bool | int) else f"{x:.1f}" if round(x, 1) == round(x, 6) else f"{x:.3f}"


def side_by_side(blocks: list[tuple[str, str]]) -> str:
    """Named tables beside each other, as many as fit."""
    return '<div class="beside">' + "".join(f"<div><h2>{escape(name)}</h2>{table}</div>" for name, table in blocks) + "</div>"


def glossary() -> str:
    """All words of the course, one line each."""
    rows = "".join(f"<dt><b>{escape(term)}</b></dt><dd>{coded(escape(text))}</dd>" for term, text in sorted(TERMS.items()))
    return document("Glossary", f"<h1>Glossary</h1><dl>{rows}</dl>")


def glossary_markdown() -> str:
    """The same for the course's page."""
    return "\n".join(f"- **{term}**: {text}" for term, text in sorted(TERMS.items()))


def document(title: str, body: str) -> str:
    """A self-contained page that prints on A4."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'
