"""The result in a terminal: tokens in colour, numbers per token, sinks, ledger.  Without colour the numbers say all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..amounts import HYPHEN, Digits, by_size, digits, largest
from ..amounts import account as account_of
from .colour import diverging, share
from .data import Plain
from .headline import headline, opposed, outside, sentence
from .text import meaning, notes, positions, state, title, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

BAR = 16  # characters of the longest bar


def show(data: Plain, console: Console, reduction: str = "signed") -> None:
    """Print one explanation; `reduction` is one of `data["parts"]`."""
    from rich.text import Text

    console.print(Text(f"{visible(data['model'], 60)}, {visible(data['method'], 200)}", style="dim"))
    console.print(Text(title(data), style="bold"))
    spoken = (*(sentence(parts, HYPHEN) for parts in (headline(data), opposed(data))), outside(data))
    console.print(Text(" ".join(filter(None, spoken))))
    if console.is_terminal:
        console.print(strip(data, reduction))
    console.print()
    console.print(tokens(data, reduction))
    console.print()
    if data["sinks"]:
        console.print(sinks(data))
        if said := meaning(data):
            console.print(Text(said, style="dim"))
    else:
        console.print(Text(positions(data)))
    console.print()
    console.print(account(data))
    styles = {"closed": "green", "open": "bold red"}
    console.print(Text(f"ledger {state(data)}", style=styles.get(data["ledger"]["state"], "yellow")))
    for note in notes(data):
        console.print(Text(f"note: {note}", style="yellow"))


def strip(data: Plain, reduction: str) -> Text:
    """The tokens as running text, each on the colour of its content and position together."""
    from rich.text import Text

    both = data["parts"][reduction]["both"]
    scale, line = largest(both), Text()
    for token, amount in zip(data["tokens"], both, strict=True):
        paint = diverging(share(amount, scale))
        line.append(visible(token, 30), style=f"{paint.text} on {paint.back}").append(" ")
    return line


def tokens(data: Plain, reduction: str) -> Table:
    """A row per token: content, position, both, and a bar; the sums under them."""
    parts = data["parts"][reduction]
    columns = (parts["content"], parts["position"], parts["both"])
    scale, shown = largest(parts["both"]), digits(largest(*columns))
    rows = _table("token", "content", "position", "both" if reduction == "signed" else f"both ({reduction})")
    rows.add_column("")
    for token, *amounts in zip(data["tokens"], *columns, strict=True):
        rows.add_row(_name(token), *_numbers(amounts, shown), _bar(share(amounts[-1], scale)))
    rows.add_row("sum", *_numbers([math.fsum(c) for c in columns], shown), style="bold")
    return rows


def sinks(data: Plain) -> Table:
    """A row per place where positions enter: what it received, and how much moved there with either sign."""
    rows = _table("positions", "kind", "sum", "sum of sizes")
    sums = [(math.fsum(row), math.fsum(map(abs, row))) for row in data["positional"]]
    shown = digits(largest(*sums))
    for name, kind, amounts in zip(data["sinks"], data["sink_kinds"], sums, strict=True):
        rows.add_row(_name(name), kind, *_numbers(amounts, shown))
    rows.add_row("positional share", "", "", f"{data['positional_share']:.0%}", style="bold")
    return rows


def account(data: Plain) -> Table:
    """The ledger, a row per term; the largest constants and every softmax by name."""
    ledger = data["ledger"]
    shown = digits(largest(amount for _, amount in ledger["rows"]), 5)
    named = {"constants": by_size(ledger["constants"], shown)[:3], "softmax": ledger["softmax"].items()}
    rows = _table("ledger", "amount")
    for name, _, amount in account_of(ledger["rows"], ledger["state"], partial(shown, minus=HYPHEN)):
        rows.add_row(name, amount, style="bold" if name == "value" else None)
        for keeper, part in named.get(name, ()):
            rows.add_row(_name(f"  {visible(keeper, 60)}"), *_numbers([part], shown), style="dim")
    return rows


def _table(*heads: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        left = head in (heads[0], "kind")
        table.add_column(head, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table


def _name(text: str) -> Text:
    """Text, never markup: a token may read `[red]`."""
    from rich.text import Text

    return Text(text if text.startswith("  ") else visible(text, 60))


def _numbers(amounts: Sequence[float], shown: Digits) -> list[str]:
    return [shown(amount, HYPHEN) for amount in amounts]


def _bar(part: float) -> Text:
    """As long as the amount is large, in the colour of its sign."""
    from rich.text import Text

    if math.isnan(part):
        return Text("?")
    return Text("\u2588" * round(BAR * abs(part)), style=diverging(0.75 if part > 0 else -0.75).back)
