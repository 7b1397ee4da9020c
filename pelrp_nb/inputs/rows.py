"""One bad input among many: the error says which, or it leaves a placeholder and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from ..errors import PelrpError, RuleError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Skipped:
    """Stands in the list of explanations for an input that could not be explained; false, so that `filter(None, found)` drops it.

    index: the input's place in the list; why: what was wrong with it, and what to type; kind: the class of the error
    """

    index: int
    why: str
    kind: str = "InputError"

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"input {self.index} was skipped: {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data that JSON takes."""
        return {"skipped": asdict(self)}

    _tree = to_dict

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True)
class Errors:
    """What happens to a bad input: its error, by number where there are several, or a placeholder.

    told: for inputs that are a part of many: the number of each among all, and where it stands ("line 7 of reviews.jsonl") or ""
    """

    several: bool = False
    on_error: Literal["raise", "skip"] = "raise"
    told: Sequence[tuple[int, str]] = ()

    def of(self, several: bool) -> Errors:
        """The same, of several inputs or of one."""
        return replace(self, several=several)

    def each(self, rows: Iterable[Any], make: Callable[[Any], Any]) -> list[Any]:
        """What `make` returns for each; those that were skipped before stay so."""
        return [x if isinstance(x, Skipped) else self.attempt(i, partial(make, x)) for i, x in enumerate(rows)]

    def attempt(self, index: int, make: Callable[[], Made]) -> Made | Skipped:
        """What `make` returns for the input of this number."""
        try:
            return make()
        except PelrpError as error:
            if not self.several or isinstance(error, RuleError):  # an operation without a rule is the model's, not the input's
                raise
            number, where = self.told[index] if self.told else (index, "")
            if self.on_error == "skip":
                return Skipped(number, f"{where}: {error}" if where else str(error), type(error).__name__)
            if str(error).startswith("Input "):
                raise
            raise type(error)(f"Input {number}{f' ({where})' if where else ''}: {error}") from error


def good(rows: Sequence[Any]) -> list[int]:
    """The numbers of the inputs that were not skipped."""
    return [i for i, row in enumerate(rows) if not isinstance(row, Skipped)]
