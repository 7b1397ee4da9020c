"""The result as one self-contained page: what can be said, table, curves, examples where methods disagree, configuration."""

from __future__ import annotations

import base64
import html
import platform
from typing import Any

import torch
from torch import nn

from ..amounts import as_drawn, signed
from ..composites import ATTN_LRP, PA_LRP, title
from ..explain import explain_one
from ..views.colour import diverging, share
from ..views.table import escaped
from .curves import svg
from .findings import leading, positions, verdict
from .records import Record
from .result import Result
from .settings import lines

EXAMPLES = 3  # of the greatest disagreement
TOKENS = 120  # of an example that are shown in strips
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; } th { border-bottom: 1px solid; }
figure { margin: 1rem 0; background: #fff; } figure img { max-width: 100%; }
.strip { margin: 2px 0; } .strip b { display: inline-block; min-width: 11rem; font-weight: 500; }
.strip span { display: inline-block; padding: 0 4px; margin: 1px; border-radius: 3px; }
iframe { width: 100%; height: 620px; border: 1px solid #8884; border-radius: 6px; }
details { margin: .6rem 0; } .quiet { opacity: .75; }
"""


def page(result: Result, model: nn.Module | None = None, processor: Any = None) -> str:
    """A whole HTML document that needs no network; with the model, the examples can be stepped through."""
    c = result.configuration
    name = f"Faithfulness: {c.model} on {c.data}, {len(result.records)} examples"
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p>{html.escape(verdict(result))}</p>",
        _listed("Who leads", [as_drawn(said) for said in leading(result)]),
        f"<h2>All measures</h2>{result.table().html() if result.measures else '<p>Nothing could be measured.</p>'}",
        _listed("With positions against without", [as_drawn(str(d)) for d in positions(result)], fold=True),
        _curves(result),
        _examples(result, model, processor),
        _errors(result),
        _settings(result),
    ]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *filter(None, parts),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _listed(head: str, items: list[str], fold: bool = False) -> str:
    if not items:
        return ""
    points = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    if fold:
        return f"<details><summary>{html.escape(head)} ({len(items)})</summary><ul>{points}</ul></details>"
    return f"<h2>{html.escape(head)}</h2><ul>{points}</ul>"


def _curves(result: Result) -> str:
    """Every curve as a picture, with its name as the text for those who do not see it."""
    figures: list[str] = []
    for name in result.curves:
        data = base64.b64encode(svg(result, name, result.methods).encode()).decode()
        label = html.escape(f"{name}, mean over examples with {result.configuration.statistics.level:.0%} bands")
        picture = f'<figure><img alt="{label}" src="data:image/svg+xml;base64,{data}"></figure>'
        figures.append(f"<details{' open' if not figures else ''}><summary>{label}</summary>{picture}</details>")
    return f"<h2>Curves</h2>{''.join(figures)}" if figures else ""


def _examples(result: Result, model: nn.Module | None, processor: Any) -> str:
    """The texts on which methods are least alike: a strip for each method, and the steps of two of them."""
    found = []
    for record in result.disagreement(EXAMPLES):
        strips = "".join(_strip(record, method) for method in result.methods if method in record["relevance"])
        steps = "" if model is None else "".join(_steps(record, composite, model, processor) for composite in (PA_LRP, ATTN_LRP))
        text = escaped(record["text"] or f"example {record['index']}", 400)
        found.append(f"<h3>Example {record['index']}: {text}</h3>{strips}{steps}")
    return f"<h2>Where methods disagree most</h2>{''.join(found)}" if found else ""


def _strip(record: Record, method: str) -> str:
    """The tokens on the colours of one method's relevance; the number of each is its title."""
    R = record["relevance"][method][:TOKENS]
    scale = max((abs(x) for x in R), default=0.0)
    spans = []
    for token, x in zip(record["tokens"], R, strict=False):
        paint = diverging(share(x, scale))
        spans.append(f'<span style="background:{paint.back};color:{paint.text}" title="{signed(x)}">{escaped(token, 30)}</span>')
    return f'<div class="strip"><b>{html.escape(method)}</b>{"".join(spans)}</div>'


def _steps(record: Record, composite: Any, model: nn.Module, processor: Any) -> str:
    """The interactive page of one explanation, in a frame."""
    if record["text"] is None:
        return ""
    try:
        found = explain_one(model, record["text"], processor=processor, target=record["target"], composite=composite).to_html()
    except Exception as error:  # the report is worth having without it
        return f'<p class="quiet">{html.escape(f"{title(composite)}: {error}")}</p>'
    name = html.escape(f"{title(composite)}, step by step")
    frame = f'<iframe title="{name}" sandbox="allow-scripts" loading="lazy" srcdoc="{html.escape(str(found))}"></iframe>'
    return f"<details><summary>{name}</summary>{frame}</details>"


def _errors(result: Result) -> str:
    items = [
        f"{where}: {len(reasons)} of {len(result.records)} examples, first {reasons[0][0]}: {reasons[0][1]}"
        for where, reasons in result.errors.items()
    ]
    return _listed("What failed", items)


def _settings(result: Result) -> str:
    import numpy
    import transformers

    from ..version import __version__

    versions = {
        "pelrp_nb": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "transformers": transformers.__version__, "numpy": numpy.__version__,
    }  # fmt: skip
    rows = [("fingerprint", result.configuration.fingerprint), *lines(result.configuration.plain()), *versions.items()]
    body = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(str(b))}</td></tr>" for a, b in rows)
    return f"<h2>Configuration and versions</h2><table>{body}</table>"
