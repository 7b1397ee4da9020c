"""The result as one interactive page: a file that needs no network, no kernel and no library.

`page.js` draws it; the same module can run under a notebook widget, for all it asks is `render({ model, el })`.  The policy in the
page's head forbids every request and every script but that one, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from .colour import STEPS, palette
from .data import Plain, as_json
from .table import table
from .text import MINUS, pieces, state, visible

SHIM = """
const values = { explanation: JSON.parse(document.getElementById("explanation").textContent) };
render({ model: { get: (name) => values[name], on() {}, off() {} }, el: document.getElementById("view") });
"""


def page(data: Plain) -> str:
    """A whole HTML document."""
    code = script() + SHIM
    allowed = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    name = html.escape(f"{visible(data['target'], 60)}, {visible(data['model'], 60)}")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{name}</title>\n<style>\n{style()}</style>\n</head>",
            '<body class="pelrp-page">\n<main>\n<div id="view"></div>',
            f'<noscript><div class="pelrp">{table(data)}</div></noscript>\n</main>',
            f'<script type="application/json" id="explanation">{as_json(payload(data))}</script>',
            f'<script type="module">{code}</script>\n</body>\n</html>\n',
        ]
    )


def payload(data: Plain) -> dict[str, Any]:
    """What `page.js` reads: the numbers as they are, their sums, and every text already made visible."""
    ledger, parts = data["ledger"], data["parts"]
    return {
        "steps": STEPS,
        "tokens": [_label(token) for token in data["tokens"]],
        "special": data["special"],
        "target": visible(data["target"], 120),
        "value": data["value"],
        "facts": [visible(data["model"]), visible(data["method"], 120)],
        "share": data["positional_share"],
        "parts": parts,
        "sums": {name: {part: _sum(column) for part, column in columns.items()} for name, columns in parts.items()},
        "sinks": [
            {"name": visible(name), "kind": visible(kind), "relevance": row, "total": _sum(row)}
            for name, kind, row in zip(data["sinks"], data["sink_kinds"], data["positional"], strict=True)
        ],
        "boundaries": [{**boundary, "name": visible(boundary["name"])} for boundary in data["boundaries"]],
        "ledger": {
            "rows": ledger["rows"],
            "closed": ledger["closed"],
            "state": state(data, MINUS),
            "keepers": {"constants": _ordered(ledger["constants"]), "softmax": _ordered(ledger["softmax"])},
            "layers": [[visible(name), gap] for name, gap in ledger["layers"].items()],
        },
        "card": [[visible(key), _told(value)] for key, value in data["card"].items()],
        "streams": {visible(name): payload(stream) for name, stream in data["streams"].items()},
    }


@cache
def script() -> str:
    """The module that draws."""
    return files(__package__).joinpath("page.js").read_text(encoding="utf-8")


@cache
def style() -> str:
    """The style sheet, with a class for each shade, `p-20` to `p20`, in light and in dark."""
    shades = {dark: "\n".join(_shades(dark)) for dark in (False, True)}
    night = f"@media (prefers-color-scheme: dark) {{\n{shades[True]}\n}}\n"
    return f"{files(__package__).joinpath('page.css').read_text(encoding='utf-8')}\n{shades[False]}\n{night}"


def _shades(dark: bool) -> list[str]:
    return [
        f".pelrp .p{step} {{ background: {paint.back}; color: {paint.text}; }}"
        for step, paint in enumerate(palette(dark), start=-STEPS)
    ]


def _label(token: str) -> str | list[list[Any]]:
    """A token as text, or as pieces [text, whether it is a name for something unseen]."""
    cut = pieces(token)
    return cut[0].text if len(cut) == 1 and not cut[0].chip else [[piece.text, piece.chip] for piece in cut]


def _ordered(amounts: Mapping[str, float]) -> list[list[Any]]:
    order = sorted(amounts.items(), key=lambda item: (not math.isnan(item[1]), -abs(item[1]), item[0]))
    return [[visible(name, 120), amount] for name, amount in order]


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text, 4000)


def _sum(column: list[float]) -> float:
    return math.fsum(column) if all(map(math.isfinite, column)) else sum(column)
