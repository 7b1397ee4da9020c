"""What a result lets one say, in sentences; differences whose interval includes zero are said to be none."""

from __future__ import annotations

from .protocols import BETTER
from .result import Result
from .statistics import Difference

WITH, WITHOUT = ("pa-lrp-signed", "pa-lrp-absolute", "pa-lrp-positive"), "attn-lrp"


def leading(result: Result) -> list[str]:
    """For every measure that knows better and worse: who leads, and who is not shown to be worse."""
    said = []
    for measure in result.measures:
        leaders = result.leaders(measure)
        if not BETTER.get(measure, 0) or not leaders or result.estimate(leaders[0], measure).low is None:
            continue
        first, *rest = leaders
        others = f"; not shown to differ from it: {', '.join(rest)}" if rest else "; every other is shown to be worse"
        said.append(f"{measure}: {first} has the best mean, {result.estimate(first, measure)}{others}.")
    return said


def positions(result: Result) -> list[Difference]:
    """PA-LRP in each reduction against AttnLRP, which leaves positions out, under every measure that knows better and worse."""
    here = [name for name in WITH if name in result.methods and WITHOUT in result.methods]
    measures = [m for m in result.measures if BETTER.get(m, 0)]
    found = [result.difference(name, WITHOUT, measure) for measure in measures for name in here]
    return [d for d in found if d.estimate.n]


def verdict(result: Result) -> str:
    """How often attributing positions helped, hurt, or made no difference that can be shown."""
    found = [d for d in positions(result) if d.estimate.low is not None]
    if not found:
        return "Nothing can be said about positions: the result needs attn-lrp, a pa-lrp method, and enough examples for intervals."
    helped = [d for d in found if d.better in WITH]
    hurt = [d for d in found if d.better == WITHOUT]
    return (
        f"Of {len(found)} comparisons of PA-LRP with AttnLRP, PA-LRP is better in {len(helped)}, worse in {len(hurt)}, "
        f"and {len(found) - len(helped) - len(hurt)} show no difference."
    )
