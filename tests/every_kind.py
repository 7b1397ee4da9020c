"""One view of each kind that the module draws, of a short text and of a long one, for tests in a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from handed import handed
from made import REVIEW, made
from test_browser_kinds import detailed, inspected, photo

from pelrp_nb import live, rules, views, zoo
from pelrp_nb.results.circuit import Circuit, chosen
from pelrp_nb.results.explanations import Explanations
from pelrp_nb.views import worth, written
from pelrp_nb.views.sheet import Sheet

LONG = tuple(f"w{i}" for i in range(200))  # more words than stand in one strip
FILMS = " ".join(["film"] * 118)  # about as much as the small models take


def worthy(tokens: Sequence[str], seed: int = 0) -> Sheet:
    """An exchange of pairs drawn by chance: the first and the last place were not exchanged."""
    drawn = np.random.default_rng(seed).normal(size=(len(tokens), len(tokens)))
    matrix = (drawn + drawn.T) / 2
    np.fill_diagonal(matrix, 0.0)
    matrix[0, -1] = matrix[-1, 0] = np.nan
    away = {"distance": [1.0, 2.0], "signed": [0.1, -0.2], "size": [0.5, 0.4], "pairs": [4.0, 3.0]}
    data: worth.PlainExchange = {
        "target": "positive", "value": 2.0, "share": 0.25, "places": list(range(len(tokens))), "tokens": list(tokens),
        "matrix": matrix.tolist(), "attentions": {}, "signed": np.nanmean(matrix, 1).tolist(),
        "size": np.nanmean(abs(matrix), 1).tolist(), "away": away, "notes": [], "streams": {},
    }  # fmt: skip
    return worth.sheet(data)


def mapped(tokens: Sequence[str], rows: int = 4) -> Sheet:
    """What was written against these tokens, drawn by chance; the last of them no row could see."""
    content, position = np.random.default_rng(0).normal(size=(2, rows, len(tokens)))
    content[:, -1] = np.nan
    parts = {"both": content + position, "content": content, "position": position}
    return written.sheet(parts, [f"row {r}" for r in range(rows)], tokens, "four answers")


def circuit(tokens: Sequence[str], layers: int = 3, count: int = 7) -> Sheet:
    """Messages drawn by chance, through two heads of each layer."""
    rng, T = torch.Generator().manual_seed(0), len(tokens)
    edges = {f"layer {i}": torch.randn(2, T, T, dtype=torch.float64, generator=rng) for i in range(layers)}
    return Circuit.of(edges, chosen(edges, count), tokens, "positive", 3.0, 4.0, -1.0).sheet()


def said(tokens: Sequence[str]) -> str:
    return " ".join(tokens) if len(tokens) < 100 else FILMS


def watched(tokens: Sequence[str]) -> Sheet:
    """The monitor after a run."""
    monitor = live.monitor(*zoo.load("reviews-rotary"))
    monitor.run(said(tokens))
    return monitor.sheet()


def broken(tokens: Sequence[str]) -> Sheet:
    """The switch that breaks a rule."""
    model, tokenizer = zoo.load("reviews-learnable")
    return live.break_it(model, said(tokens), processor=tokenizer).sheet()


EVERY: dict[str, Callable[[Sequence[str]], Sheet]] = {
    "stepper": lambda tokens: made(tokens).sheet("stepper"),
    "flow": lambda tokens: made(tokens).sheet("flow"),
    "xray": lambda tokens: (detailed() if tokens == REVIEW else made(tokens)).sheet("xray"),
    "explanation": lambda tokens: made(tokens).sheet(),
    "image": lambda tokens: views.image(photo(3, len(tokens))),
    "routes": lambda tokens: handed(tokens).sheet(),
    "heads": lambda tokens: handed(tokens).sheet("heads"),
    "circuit": circuit,
    "exchange": worthy,
    "maps": mapped,
    "several": lambda tokens: Explanations(made(tokens, seed=seed) for seed in range(3)).sheet(),
    "compare": lambda tokens: views.compare([made(tokens), made(tokens, seed=1)], ["one", "other"]),
    "inspector": lambda tokens: inspected(),
    "monitor": watched,
    "rule": lambda tokens: live.card("attention"),
    "bench": lambda tokens: live.bench(rules.epsilon).sheet(),
    "broken": broken,
}
