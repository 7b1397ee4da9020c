"""The page of a sweep: every number on it comes from the results, and so does every sentence with a number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .findings import WITH, WITHOUT
from .protocols import BETTER
from .result import Result

ORDERED = ("fetch", "order", "previous", "first-half", "digit-scenes")  # tasks whose answer hangs on places
FREE = ("recall", "majority")  # and those whose answer does not
PERTURBATION = (
    "symmetric-relevance-gain", "pruning-au-ac", "pruning-au-mse", "generation-au-ac", "generation-au-mse", "generation-merf",
    "generation-lerf", "positive-perturbation-auc", "negative-perturbation-auc",
)  # fmt: skip
AGREEMENT = (
    "leave-one-out-correlation", "position-swap-correlation", "position-move-correlation", "positional-share", "pixel-accuracy",
    "mean-iou", "mean-average-precision",
)  # fmt: skip
MOVE = "position-move-correlation"
COUNTED = ("symmetric-relevance-gain", "truth-mass", "leave-one-out-correlation")
BY_TASK = ("symmetric-relevance-gain", "truth-mass", "truth-rank", "position-move-correlation", "positional-share")
HEAD = """# Which method tells the truth

Written by `python -m pelrp_nb.faithfulness.sweep FOLDER --out tutorials/faithfulness.md` from its measurements; nothing on this
page is typed by hand. Cells are means with 95 % bootstrap intervals over examples; an asterisk marks the best and whatever is not
shown to differ from it (paired). Every choice is in `faithfulness.Configuration`, OURS_TEXT and OURS_IMAGES; the measures
are described in `tutorials/reproduction.md`. `random-sinks` and `uniform-half` are controls: AttnLRP's relevance of which a random
part, or half, is called the position's.
"""


def page(results: Sequence[Result]) -> str:
    """The whole page in Markdown."""
    whole = [r for r in results if r.configuration.data not in (*ORDERED[:-1], *FREE)]
    tasks = [r for r in results if r not in whole]
    parts = [HEAD, _positions(results), *map(_model, whole)]
    for kind in dict.fromkeys(r.configuration.data for r in tasks):
        parts.append(_task(kind, [r for r in tasks if r.configuration.data == kind]))
    return "\n".join(parts)


def _positions(results: Sequence[Result]) -> str:
    """What attributing positions changed, counted and listed."""
    known = [r for r in results if r.configuration.data == "digit-scenes" or r.estimate(WITH[0], "positional-share").n]
    none = [f"`{r.configuration.model}` on `{r.configuration.data}`" for r in results if r not in known]
    lines = ["## Positions: what was found\n", *_counted(known)]
    if none:
        lines.append(f"\nLeft out, because these models have no positions and every row is the same: {', '.join(none)}.")
    head = ["model", "data", "gain: PA-LRP signed - AttnLRP", "better", "positional share", "move effect"]
    head += ["PA-LRP signed", "uniform half"]
    lines += ["\nThe last two columns are rank correlations of the position's relevance with the effect of moving the token.\n"]
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for r in known:
        gain = r.difference(WITH[0], WITHOUT, "symmetric-relevance-gain")
        more = ((WITH[0], "positional-share"), (WITH[0], "position-move-effect"), (WITH[0], MOVE), ("uniform-half", MOVE))
        cells = [r.configuration.model, r.configuration.data, str(gain.estimate), gain.better or "no difference shown"]
        lines.append("| " + " | ".join([*cells, *(str(r.estimate(m, x)) for m, x in more)]) + " |")
    return "\n".join([*lines, ""])


def _counted(results: Sequence[Result]) -> list[str]:
    """On how many models and tasks PA-LRP is better, worse, or not shown to differ, and than what."""
    groups = {
        "reviews": [r for r in results if r.configuration.data == "reviews"],
        "the answer hangs on places": [r for r in results if r.configuration.data in ORDERED],
        "the answer does not": [r for r in results if r.configuration.data in FREE],
    }
    pairs = [(measure, method, WITHOUT) for measure in COUNTED for method in WITH]
    pairs += [(MOVE, WITH[0], control) for control in ("random-sinks", "uniform-half")]
    lines = ["| tasks | measure | method | against | better | worse | no difference shown |", "|" + " --- |" * 7]
    for name, some in groups.items():
        for measure, method, against in pairs:
            found = [d for r in some if (d := r.difference(method, against, measure)).estimate.low is not None]
            better, worse = (sum(d.better == x for d in found) for x in (method, against))
            if found:
                cells = (name, measure, method, against, better, worse, len(found) - better - worse)
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _model(r: Result) -> str:
    """One model on one data set: all measures in two tables."""
    c = r.configuration
    parts = [f"## `{c.model}` on `{c.data}`\n"]
    for some in (PERTURBATION, AGREEMENT):
        measures = [m for m in some if m in r.measures]
        if measures:
            parts.append(r.table(measures).markdown())
    return "\n".join([*parts, *_failed([r])])


def _task(kind: str, results: Sequence[Result]) -> str:
    """One task: methods down, models across, a table for each measure."""
    hangs = "the answer hangs on places" if kind in ORDERED else "the answer does not hang on places"
    parts = [f"## `{kind}`: {hangs}\n"]
    for measure in BY_TASK:
        some = [r for r in results if measure in r.measures]
        if not some:
            continue
        direction = {1: "higher is better", -1: "lower is better", 0: "no better or worse"}[BETTER[measure]]
        lines = [f"{measure} ({direction}), n = {max(len(r.records) for r in some)}\n"]
        lines.append("| method | " + " | ".join(r.configuration.model for r in some) + " |")
        lines.append("|" + " --- |" * (len(some) + 1))
        leaders = [r.leaders(measure) for r in some]
        for method in some[0].methods:
            marks = [" \\*" if method in best else "" for best in leaders]
            cells = [f"{r.estimate(method, measure)}{mark}" for r, mark in zip(some, marks, strict=True)]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        parts.append("\n".join([*lines, ""]))
    return "\n".join([*parts, *_failed(results)])


def _failed(results: Iterable[Result]) -> list[str]:
    """What could not be measured, and why."""
    return [
        f"- `{r.configuration.model}`: {where} failed on {len(reasons)} examples: {reasons[0][1]}\n"
        for r in results for where, reasons in r.errors.items()
    ]  # fmt: skip
