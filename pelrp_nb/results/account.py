"""A ledger as plain data, for views and files."""

from __future__ import annotations

from ..ledger import Ledger
from ..views.data import PlainLedger


def plain(book: Ledger) -> PlainLedger:
    """Its lines, the gap and what the gap is held against, without tensors."""
    return {
        "rows": book.rows(), "constants": dict(book.constants), "softmax": dict(book.softmax), "gap": book.gap,
        "scale": book.scale, "allowed": book.allowed, "precision": book.precision, "state": book.state,
        "closed": book.closed, "opened": book.opened,
        "audited": book.audited, "layers": dict(book.layers),
        "kept": {where: dict(by) for where, by in book.kept.items()}, "unknown": list(book.unknown),
    }  # fmt: skip
