"""explain_iter(model, inputs) -> one explanation after the other, in the order of the inputs, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

from torch import nn

from ..batches import Run
from ..calls import fitting
from ..composites import Composite, as_composite
from ..engine.options import Options, as_options
from ..errors import CallError, InputError, PelrpError, TargetError
from ..explain import MEANT, answered, of_pipeline
from ..inputs.encode import encode_all
from ..inputs.model_input import Encoded
from ..inputs.grouping import TOKENS
from ..inputs.padding import lengths
from ..inputs.rows import Errors, Skipped
from ..inputs.source import Item, Source, as_source
from ..targets.target import Each
from .progress import Progress

CHUNK = 64  # inputs that are read and tokenised at a time
WINDOW = 512  # inputs that are sorted by their lengths together, at most
BATCHES = 16  # ... or so many batches of places
BYTES = 1 << 26  # ... or so many bytes of what the model takes


@dataclass(frozen=True)
class Asking:
    """What is asked of every input of a stream: the arguments of `explain`, and how many padded places a batch has at most."""

    model: nn.Module
    processor: Any = None
    target: Any = None
    contrast: Any = None
    composite: Composite | str = "pa-lrp"
    options: Options | None = None
    batch_tokens: int = TOKENS

    def __post_init__(self) -> None:
        model, processor = of_pipeline(self.model, self.processor)
        if not isinstance(model, nn.Module):
            raise CallError(f"The model must be a torch module, got {type(model).__name__}. Type explain_iter(model, inputs).")
        if isinstance(self.batch_tokens, bool) or not isinstance(self.batch_tokens, int) or self.batch_tokens < 1:
            raise InputError(f"batch_tokens must be a whole number above 0, got {self.batch_tokens!r}. Type batch_tokens={TOKENS}.")
        made = {"model": model, "processor": processor, "composite": as_composite(self.composite), "options": as_options(self.options)}
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def answers(self, items: Iterable[Item], done: Callable[[int], Any]) -> Iterator[tuple[Item, Any]]:
        """Each input and its answer, in their order; `done` hears of every batch how many inputs it had."""
        coming, run = iter(items), Run(self.model, self.processor, self.composite, self.options, tokens=self.batch_tokens)  # type: ignore[arg-type]
        while (first := next(coming, None)) is not None:
            window = Window(self, chain([first], coming))
            counted: list[int] = []
            heard = partial(_both, counted.append, done)
            found, _ = answered(run, window.read, window.of_each(self.target), window.of_each(self.contrast), heard)
            done(len(found) - sum(counted))  # what was skipped was in no batch
            found.reverse()
            yield from ((item, found.pop()) for item in window.items)


class Window:
    """Inputs that are sorted by their lengths together; read when it is asked for its rows or its targets."""

    def __init__(self, asking: Asking, coming: Iterator[Item]) -> None:
        self.asking, self.on_error = asking, asking.options.on_error  # type: ignore[union-attr]
        self.items: list[Item] = []
        self.rows: list[Any] = []
        size = places = 0
        while len(self.items) < WINDOW and places < BATCHES * asking.batch_tokens and size < BYTES:
            chunk = list(islice(coming, CHUNK))
            if not chunk:
                break
            self.items += chunk
            self.rows += (rows := self._encoded(chunk))
            here = [row for row in rows if isinstance(row, Encoded)]
            places += sum(sum(lengths(row)) for row in here)
            size += sum(x.numel() * x.element_size() for row in here for x in row.tensors.values())

    def read(self) -> tuple[list[Any], Errors]:
        """The rows, and what happens to those that cannot be explained."""
        return self.rows, self._errors(self.items)

    def of_each(self, target: Any) -> Any:
        """Of one target per input those of this window."""
        if not isinstance(target, Each):
            return target
        last = self.items[-1].number
        if last >= len(target.targets):
            many = len(target.targets)
            raise TargetError(f"target.each: there must be one per input; got {many}, and input {last} came. Type one for each.")
        return Each(tuple(target.targets[item.number] for item in self.items))

    def _errors(self, items: Sequence[Item]) -> Errors:
        return Errors(True, self.on_error, tuple((item.number, item.where) for item in items))

    def _encoded(self, chunk: Sequence[Item]) -> list[Any]:
        """Each as the model takes it; those that could not be read are refused or skipped by their number."""
        rows = self._errors(chunk).each([item.given for item in chunk], _readable)
        kept = [i for i, row in enumerate(rows) if not isinstance(row, Skipped)]
        if kept:
            given = [rows[i] for i in kept]
            asking, cut = self.asking, self.asking.options.truncation  # type: ignore[union-attr]
            found, _ = encode_all(asking.model, given, asking.processor, cut, self._errors([chunk[i] for i in kept]))
            if len(found) != len(kept):
                raise InputError(f"Every input of a stream must be one; {len(kept)} came to {len(found)}. Type each in its own place.")
            for i, row in zip(kept, found, strict=True):
                rows[i] = row
        return rows


def _both(first: Callable[[int], Any], second: Callable[[int], Any], count: int) -> None:
    first(count)
    second(count)


def _readable(given: Any) -> Any:
    """What was read. Raises the error that stands in its place."""
    if isinstance(given, PelrpError):
        raise given
    return given


@fitting(MEANT)
def explain_iter(
    model: nn.Module,
    inputs: Any,
    *,
    processor: Any = None,
    target: Any = None,
    contrast: Any = None,
    composite: Composite | str = "pa-lrp",
    options: Options | None = None,
    batch_tokens: int = TOKENS,
    progress: bool = True,
) -> Iterator[Any]:
    """One explanation after the other, in the order of the inputs: a generator whose memory does not grow.

        for result in explain_iter(model, open("reviews.txt"), processor=tokenizer): ...

    Inputs are read some hundred at a time, sorted by their lengths, explained in batches, and let go.

    Args:
        inputs: a list or an iterator of what `explain` takes; a file, a data frame, a datasets.Dataset, or a `Source` that says which
            column is the text.
        batch_tokens: how many padded places a batch has at most, one input at least; more for a GPU, fewer where memory is short.
        progress: show how many inputs were explained, how many a second, and the time that is left if their number is known.

    The other arguments are those of `explain`; `Options(on_error="skip")` gives a `Skipped` for what cannot be explained.
    Yields an Explanation for each input, Explanations where the target is several. Raises what `explain` raises.
    """
    asking = Asking(model, processor, target, contrast, composite, options, batch_tokens)
    return _explained(asking, as_source(inputs), progress)


def _explained(asking: Asking, source: Source, progress: bool) -> Iterator[Any]:
    with Progress(source.count if progress else None, progress) as shown:
        for _, found in asking.answers(source.items(), shown.done):
            yield found
