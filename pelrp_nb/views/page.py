"""A view as one interactive page: a file that needs no network, no kernel and no library, or the same inside a notebook cell.

The policy in the page's head forbids every request and every script but its own, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from typing import Any

from .data import as_json
from .module import parts, script, style
from .text import visible

SHIM = """
const values = JSON.parse(document.getElementById("view-data").textContent), heard = {};
render({ el: document.getElementById("view"), model: { get: (name) => values[name],
on: (event, hear) => (heard[event] ??= []).push(hear), off() {}, save_changes() {},
set(name, value) { values[name] = value; heard[`change:${name}`]?.forEach((hear) => hear()); } } });
"""
FRAMED = """
const fit = () => { frameElement.style.height = `${document.body.offsetHeight + 1}px`; };
if (window.frameElement) new ResizeObserver(fit).observe(document.body);
"""
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
"""
PAGE = (
    HEAD
    + """<body class="pelrp-page{frame}">
<main>
<div id="view"></div>
{aside}</main>
<script type="application/json" id="view-data">{values}</script>
<script type="module">{code}{tail}</script>
</body>
</html>
"""
)
ASIDE = '<noscript><div class="pelrp">{fallback}</div></noscript>\n'
LARGEST = 2_000_000  # characters of a page that is put into a notebook's cell


def document(
    kind: str, data: Mapping[str, Any], *, title: str = "", fallback: str = "", more: Mapping[str, Any] | None = None,
    framed: bool = False, **state: Any,
) -> str:  # fmt: skip
    """A whole HTML document of one view.

    title:    of the window; fallback: what shows where scripts do not run, an HTML fragment
    more:     large parts by name, all of them in the file
    framed:   it will stand in a cell: no margins, and the frame takes the height of what is in it
    state:    where the view stands: step, token, anything else that a reader can set
    """
    linked = {"step": int(state.pop("step", 0)), "token": int(state.pop("token", -1))}
    values = {"kind": kind, "data": data, "state": state, **linked, "more": more or {}, "wanted": [], "asks": False}
    code, tail = script(kind), SHIM + (FRAMED if framed else "")
    return PAGE.format(
        policy=policy(code + tail), title=html.escape(visible(title, 120)), style=style(kind), frame=" pelrp-frame" if framed else "",
        aside=ASIDE.format(fallback=classed(fallback)) if fallback else "", values=as_json(values), code=code, tail=tail,
    )  # fmt: skip


def classed(fragment: str) -> str:
    """The same with a class for each inline style: one that stands on a hundred cells is written once."""
    styles: dict[str, int] = {}
    text = re.sub(r' style="([^"]*)"', lambda found: f' class="f{styles.setdefault(found[1], len(styles))}"', fragment)
    rules = "".join(f".pelrp .f{number}{{{inline}}}" for inline, number in styles.items())
    return f"<style>{rules}</style>{text}"


def policy(code: str) -> str:
    """No request, and no script but this one."""
    allowed = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{allowed}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def shell(kind: str) -> dict[str, Any]:
    """What `js/keep.js` needs to write a live view of this kind as a page.

    page:  lacks policy, title, style, fallback, values and code, each in braces
    kinds: kind of view -> {"parts": of the module, "policy": that allows them}
    """
    page = PAGE
    for name, text in {"frame": "", "aside": ASIDE, "tail": SHIM}.items():
        page = page.replace(f"{{{name}}}", text)
    return {"page": page, "kinds": {kind: {"parts": parts(kind), "policy": policy(script(kind) + SHIM)}}}


def duo(table: str, page: str, title: str) -> str:
    """A table and a page in one output: where scripts are trusted the page shows, elsewhere the table.

    A page that is too large for a cell is left out, and a line says what to type instead.
    """
    if len(page) > LARGEST:
        return f"{table}<div>Too large for a cell: type .explore() for the live view, or .to_html(path) for a page.</div>"
    name = f"pelrp-{hashlib.sha256(table.encode()).hexdigest()[:12]}"
    framed = page.replace("&", "&amp;").replace("'", "&#39;")
    return (
        f"<style>.{name}{{display:none}}</style><div class='{name}'>{table}</div>"
        f"<iframe title='{html.escape(visible(title, 120))}' style='width:100%;height:640px;border:0' srcdoc='{framed}'></iframe>"
    )
