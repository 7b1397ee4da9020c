"""The atlas as a page: counts, then a line for each architecture."""

from __future__ import annotations

from typing import Any

from ..amounts import unless_rounding
from .expected import CHANGED
from .names import MAIN
from .verdict import LEGEND, TOLERANCE, VERDICTS, allowed, counts, verdict

HEADER = ("name", "class", "input", "verdict", "positions found", "forward", "gap float64", "gap float32", "as before", "seconds")


def page(rows: list[dict[str, Any]], versions: dict[str, str], method: str = "pa-lrp") -> str:
    """The whole page, in Markdown; the rows were explained by the composite of that name."""
    main = [row for row in rows if row["kind"] in MAIN and not row["option"]]
    extra = [row for row in rows if row["kind"] not in MAIN and not row["option"]]
    asked = [row for row in rows if row["option"]]
    by, other = ("PA-LRP", "") if method == "pa-lrp" else (method, f" --method {method}")
    made = f"Made with {', '.join(f'{k} {v}' for k, v in versions.items())} by"
    typed = f"    python -m pelrp_nb atlas{other} --out tutorials/atlas.md"
    lines = ["# The atlas", "", INTRODUCTION.replace("PA-LRP", by), "", made, "", typed, "", *summary(main), ""]
    for kind in MAIN:
        lines += section(kind, [row for row in main if row["kind"] == kind])
    for kind in dict.fromkeys(row["kind"] for row in extra):
        lines += section(f"{kind} (extra, in no count above)", [row for row in extra if row["kind"] == kind])
    lines += section("Positions that are there only if asked for (extra, in no count above)", asked)
    return "\n".join([*lines, *otherwise(rows)]) + "\n"


def otherwise(rows: list[dict[str, Any]]) -> list[str]:
    """Positions that version 0.1 found otherwise, and why."""
    listed = dict.fromkeys(f"{row['kind']}/{row['name']}" for row in rows if not row["option"])
    known = [(name, CHANGED[name]) for name in listed if name in CHANGED]
    if not known:
        return []
    told = [f"- `{name.partition('/')[2]}` ({name.partition('/')[0]}): {why}" for name, why in known]
    return ["## Positions found otherwise than by version 0.1", "", *told, ""]


INTRODUCTION = """\
Every architecture that transformers lists under its auto classes for causal and masked language models, sequence to sequence and
image classification: built tiny from its default configuration with random weights and biases, given one random input, explained by
PA-LRP with an audited ledger, in float64 and again in float32. No code per model: neither here nor in the engine.

`input` is what the one random input holds: models of text and pictures or sound are given text alone where they answer to it, and
the towers that did not run are not judged. `forward` is the largest difference between the logits under the rules and the plain
model's, as a part of the largest logit; `gap` is what the ledger cannot explain, as a part of its scale. Both are rounding up to 1e-6
in float64 and 1e-3 in float32; a model that computes parts in float32 whatever its precision may have as much more as the ledger has
measured there (`Ledger.allowed`)."""


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """The counts, by kind and altogether."""
    kinds = [kind for kind in MAIN if any(row["kind"] == kind for row in rows)]
    columns = [counts([row for row in rows if row["kind"] == kind]) for kind in kinds] + [counts(rows)]
    lines = ["| | " + " | ".join([*kinds, "all"]) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(str(c[name]) for c in columns) + " |" for name in ("listed", "built", *VERDICTS)]
    return [*lines, "", *(f"- **{name}**: {LEGEND[name]}" for name in VERDICTS)]


def section(title: str, rows: list[dict[str, Any]]) -> list[str]:
    """One table, and under it the reasons of those that are not closed."""
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: row["name"])
    lines = [f"## {title}", "", "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|", *map(line, rows), ""]
    reasons = [(row, *verdict(row)) for row in rows]
    lines += [f"- `{called(row)}` ({row['model']}) {said}: {escape(why)}" for row, said, why in reasons if said != "closed"]
    lines += [f"- `{row['name']}` in float32 only, since the plain model cannot run in float64: {escape(row['single_only'])}"
              for row in rows if row["single_only"]]  # fmt: skip
    return [*lines, ""]


def line(row: dict[str, Any]) -> str:
    """One architecture."""
    runs = row["runs"]
    first = next(iter(runs.values()), None)
    sinks = ", ".join(f"{kind} x {n}" for kind, n in (first or {}).get("sinks", {}).items())
    none = "none" if first and first["outcome"] == "explained" else ""
    forward = "" if not first or first["difference"] is None else moved(first["difference"], TOLERANCE[next(iter(runs))])
    before = "" if not first else "yes" if not any(run["changed"] for run in runs.values()) else "no"
    gaps = [gap(runs.get(dtype), TOLERANCE[dtype]) for dtype in ("float64", "float32")]
    given, seconds = " + ".join(row["inputs"]), f"{row['seconds']:.1f}"
    cells = [called(row), row["model"], given, verdict(row)[0], sinks or none, forward, *gaps, before, seconds]
    return "| " + " | ".join(cells) + " |"


def called(row: dict[str, Any]) -> str:
    """The name of an architecture, with its option."""
    return f"{row['name']} ({row['option']})" if row["option"] else row["name"]


def moved(difference: float, tolerance: float) -> str:
    """How far the logits under the rules are from the plain model's."""
    return "equal" if difference == 0 else unless_rounding(difference, tolerance)


def gap(run: dict[str, Any] | None, tolerance: float) -> str:
    """The gap as a part of the scale; empty where there is no ledger."""
    if run is None or run["gap"] is None:
        return ""
    scale = run["scale"] or 1
    return unless_rounding(run["gap"] / scale, allowed(run, tolerance) / scale)


def escape(text: str) -> str:
    """A reason that stays in its line."""
    return " ".join(text.replace("|", "\\|").replace("<", "\\<").split())
