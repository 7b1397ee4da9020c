"""From a row to a verdict, and from all rows to the counts that may be quoted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..amounts import size
from .expected import missing

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}  # of the ledger's scale, and of the largest logit for the forward pass
VERDICTS = ("closed", "refused", "open", "crashed", "lost", "not built")
LEGEND = {
    "closed": "forward equal, the right kinds of sinks, ledger closed in float64 and float32, everything as before afterwards",
    "refused": "the engine says which operation it has no rule for, or what it cannot take",
    "open": "explained, but something does not hold",
    "crashed": "a fault of ours",
    "lost": "time limit, memory, or the death of the process",
    "not built": "the library's own error, after every way of making the configuration small",
}


def verdict(row: dict[str, Any]) -> tuple[str, str]:
    """One of VERDICTS, and the reason where it is not "closed"."""
    if row["outcome"] != "built":
        return row["outcome"], row["reason"]
    for dtype, run in row["runs"].items():
        if run["changed"]:
            return "open", f"not as before in {dtype}: {', '.join(run['changed'])}"
        if run["outcome"] != "explained":
            return run["outcome"], run["reason"]
    reasons = [reason for dtype, run in row["runs"].items() for reason in faults(run, TOLERANCE[dtype], dtype)]
    absent = missing(row, next(iter(row["runs"].values()))["sinks"])
    reasons += [absent] if absent else []
    return ("open", "; ".join(reasons)) if reasons else ("closed", "")


def faults(run: dict[str, Any], tolerance: float, dtype: str) -> list[str]:
    """What does not hold in one explanation."""
    found = []
    if not abs(run["gap"]) <= allowed(run, tolerance):
        found.append(f"gap of {size(run['gap'] / (run['scale'] or 1))} of the scale in {dtype}, at {run['opened']}")
    if run["difference"] is None or not run["difference"] <= tolerance:
        found.append(f"forward differs by {size(run['difference'])} of the largest logit in {dtype}")
    if not run["audited"]:
        found.append(f"not audited in {dtype}")
    return found


def allowed(run: dict[str, Any], tolerance: float) -> float:
    """How large a gap may be: a part of the scale, or what the ledger itself measured to be rounding."""
    return max(tolerance * run["scale"], run.get("allowed") or 0.0)


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many are listed, built, and of each verdict."""
    by = Counter(verdict(row)[0] for row in rows)
    built = sum(row["outcome"] == "built" for row in rows)
    return {"listed": len(rows), "built": built, **{name: by[name] for name in VERDICTS}}


def nothing_kept(rows: list[dict[str, Any]]) -> str:
    """How many are closed with nothing kept by any softmax, and how many of these have positions: what delta attention promises."""
    closed = [row for row in rows if verdict(row)[0] == "closed"]
    kept_none = [row for row in closed if all(run.get("softmax") == 0 for run in row["runs"].values())]
    positioned = sum(any(run["sinks"] for run in row["runs"].values()) for row in kept_none)
    return f"{len(kept_none)} closed with nothing kept by a softmax, {positioned} of them with positions"
