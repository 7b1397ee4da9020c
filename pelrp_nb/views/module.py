"""The one ES module and the style sheets that draw every view.

The module is written by hand in parts, `js/*.js`, joined here in order; each part may use what stands before it.  Nothing in it is
fetched, built or minified: only comments on lines of their own and the indentation are left out.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from .colour import STEPS, palette

BASE = ("base", "controls", "face", "pieces", "keep", "pens", "marks")
STEPPER = ("strip", "running", "scene", "charts", "heat", "walker", "predict", "math", "formulas", "stepper")
XRAY = ("dial", "spectrum", "worth", "xray")
ROUTES = ("strip", "running", "charts", "heat", "edges", "graph", "matrix", "taken", "heads")
WHOLE = (*STEPPER, "flow", *XRAY, "account", "export", "patches", "card", "explanation")
KINDS: dict[str, tuple[str, ...]] = {  # kind of view -> the parts that draw it, beside the base
    "stepper": (*STEPPER, "export"),
    "flow": ("strip", "scene", "charts", "flow", "export"),
    "xray": ("strip", "running", "scene", "charts", "heat", "walker", *XRAY, "export"),
    "explanation": WHOLE,
    "image": (*WHOLE, "image"),
    "routes": (*ROUTES, "routes"),
    "heads": ROUTES,
    "circuit": (*ROUTES, "routes", "circuit"),
    "exchange": ("strip", "running", "charts", "heat", "worth"),
    "maps": ("strip", "running", "charts", "heat", "maps"),
    "several": ("strip", "running", "scene", "charts", "patches", "card", "several"),
    "compare": ("strip", "running", "scene", "charts", "compare"),
    "inspector": ("math", "formulas", "inspector"),
    "monitor": (*STEPPER, "alive", "changed", "report", "monitor"),
    "rule": ("math", "formulas", "neuron", "rule"),
    "bench": ("math", "formulas", "neuron", "alive", "bench"),
    "broken": (*STEPPER, "broken"),
}
SHEETS = {  # style sheet -> the parts that need it, in the order in which a later one has the last word; all have "view"
    "card": ("running", "card"),
    "walk": ("charts",),
    "tree": ("inspector",),
    "view": BASE,
    "live": ("monitor", "rule", "bench", "broken"),
    "routes": ("graph",),
    "several": ("several",),
}
EXPORT = "export default { render };\n"


@cache
def script(*kinds: str) -> str:
    """The module without its export line, with the parts that these kinds need; with no kind named, all of them."""
    return "".join(f"/*{part}*/\n{_part(part)}" for part in parts(*kinds))


def parts(*kinds: str) -> list[str]:
    """The names of the parts that these kinds need, in order; each stands behind its name, so that a page can be cut out."""
    found = dict.fromkeys(BASE)
    for kind in kinds or KINDS:
        found |= dict.fromkeys(KINDS[kind])
    return list(found)


def _part(name: str) -> str:
    return re.sub(r"^(?:\s*//.*\n)+|^\s+", "", _read(f"js/{name}.js"), flags=re.MULTILINE)


@cache
def style(*kinds: str) -> str:
    """The style sheet of these kinds, or of all; where they colour, a class for each shade, `p-20` to `p20`, in light and in dark."""
    sheets = [name for name, of in SHEETS.items() if set(of) & set(parts(*kinds))]
    shades = [*_shades(False), "@media screen {", *_shades(True), "}\n"] if {"charts", "neuron"} & set(parts(*kinds)) else []
    return "\n".join([*(_sheet(name) for name in sheets), *shades])


def _sheet(name: str) -> str:
    return re.sub(r"^\s*/\*.*\*/\n|^\s+", "", _read(f"{name}.css"), flags=re.MULTILINE)


def _shades(dark: bool) -> list[str]:
    where = '.pelrp[data-theme="dark"]' if dark else ".pelrp"
    return [
        f"{where} .p{step} {{ background: {paint.back}; color: {paint.text}; fill: {paint.back}; }}"
        for step, paint in enumerate(palette(dark), start=-STEPS)
    ]


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
