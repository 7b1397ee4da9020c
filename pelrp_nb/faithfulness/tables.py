"""Methods down, measures across: the same table as text, Markdown, LaTeX, CSV, HTML or DataFrame."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..amounts import as_drawn
from .protocols import BETTER
from .statistics import Estimate

if TYPE_CHECKING:
    from pandas import DataFrame

ARROW = {1: "higher is better", -1: "lower is better", 0: ""}


@dataclass(frozen=True)
class Table:
    """Estimates by method and measure.

    leading: for each measure the best method and those not shown to be worse; they are marked with an asterisk
    """

    methods: tuple[str, ...]
    measures: tuple[str, ...]
    cells: dict[tuple[str, str], Estimate]
    leading: dict[str, tuple[str, ...]]
    n: int
    level: float

    def _cell(self, method: str, measure: str) -> str:
        return f"{self.cells[method, measure]}{' *' if method in self.leading[measure] else ''}"

    def _rows(self) -> list[list[str]]:
        return [["method", *self.measures]] + [[m, *(self._cell(m, x) for x in self.measures)] for m in self.methods]

    @property
    def note(self) -> str:
        """What the numbers are."""
        return (
            f"n = {self.n} examples; mean [{self.level:.0%} bootstrap interval]; "
            "* the best, and what is not shown to differ from it (paired)."
        )

    def text(self) -> str:
        """For a terminal: a block for each measure, methods down."""
        room = max(len(m) for m in self.methods)
        blocks = []
        for measure in self.measures:
            head = f"{measure}" + (f"  ({ARROW[BETTER.get(measure, 0)]})" if BETTER.get(measure, 0) else "")
            blocks.append("\n".join([head, *(f"  {m:<{room}}  {self._cell(m, measure)}" for m in self.methods)]))
        return "\n\n".join([*blocks, self.note])

    __str__ = text

    def markdown(self) -> str:
        """A Markdown table, one row per method."""
        head, *rows = self._rows()
        marked = [[c.replace("*", "\\*") for c in row] for row in rows]
        lines = [head, ["---"] * len(head), *marked]
        return "\n".join("| " + " | ".join(row) + " |" for row in lines) + f"\n\n{self.note.replace('*', chr(92) + '*')}\n"

    def latex(self) -> str:
        """A LaTeX tabular, booktabs rules; the leading cells are bold."""
        lines = [rf"\begin{{tabular}}{{l{'l' * len(self.measures)}}}", r"\toprule"]
        lines += [" & ".join(["method", *self.measures]) + r" \\", r"\midrule"]
        for m in self.methods:
            cells = []
            for x in self.measures:
                shown = str(self.cells[m, x])
                cells.append(rf"\textbf{{{shown}}}" if m in self.leading[x] else shown)
            lines.append(" & ".join([m, *cells]) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def csv(self) -> str:
        """One line per method and measure: method, measure, mean, low, high, n."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "measure", "mean", "low", "high", "n"])
        for measure in self.measures:
            for method in self.methods:
                e = self.cells[method, measure]
                writer.writerow([method, measure, *("" if v is None else repr(v) for v in (e.mean, e.low, e.high)), e.n])
        return file.getvalue()

    def to_frame(self) -> DataFrame:
        """One row per method and measure: method, measure, mean, low, high, n, leading."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"method": m, "measure": x, "mean": e.mean, "low": e.low, "high": e.high, "n": e.n, "leading": m in self.leading[x]}
                for (m, x), e in self.cells.items()
            ]
        )

    def html(self) -> str:
        """An HTML table; the leading cells are bold."""
        head, *_ = self._rows()
        style = "padding:3px 12px 3px 0;text-align:left;white-space:nowrap;font-variant-numeric:tabular-nums"
        lines = ["".join(f'<th style="{style}">{html.escape(c)}</th>' for c in head)]
        for m in self.methods:
            cells = [html.escape(m)]
            for x in self.measures:
                shown = html.escape(as_drawn(str(self.cells[m, x])))
                cells.append(f"<b>{shown}</b>" if m in self.leading[x] else shown)
            lines.append("".join(f'<td style="{style}">{c}</td>' for c in cells))
        note = html.escape(self.note.replace("* the best", "bold: the best"))
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f'<div style="overflow-x:auto"><table style="border-collapse:collapse">{body}</table></div><p>{note}</p>'
