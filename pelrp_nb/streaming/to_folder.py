"""explain_to(path, model, dataset) -> a folder of Parquet shards: whole or not there, resumed after a kill, shared by processes.

Inputs are cut into shards of equal number.  A process claims the first shard that nobody makes and that is not there yet, explains
its inputs, writes it, and looks for the next.  What a killed process had claimed is free again, so others, or the same run typed
again, make it.  Nothing is counted and nobody is in charge: whichever processes there are, each shard is written once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from ..calls import fitting
from ..engine.options import Options
from ..errors import FileError, InputError
from ..explain import MEANT
from ..extras import extra
from ..inputs.fingerprint import inputs_of, weights_of
from ..inputs.grouping import TOKENS
from ..inputs.rows import Skipped
from ..inputs.source import Item, Source, as_source
from ..results.columns import PARTS, is_double, parts_of, rows_of, schema, slim
from ..results.explanation import Explanation
from ..results.explanations import Explanations
from ..results.folder import Entry, Folder, packed
from ..results.stored import Stored
from ..version import __version__
from .in_words import words
from .iterate import WINDOW, Asking
from .progress import Progress

FREE = ("watch", "on_error", "checkpoint")  # options that change no number


@fitting(MEANT)
def explain_to(
    path: str | os.PathLike,
    model: nn.Module,
    dataset: Any,
    *,
    keep: Sequence[str] = PARTS,
    batch_tokens: int = TOKENS,
    shard: int = WINDOW,
    resume: bool = True,
    progress: bool = True,
    processor: Any = None,
    target: Any = None,
    contrast: Any = None,
    composite: Any = "pa-lrp",
    options: Options | None = None,
) -> Stored:
    """Explain many inputs into a folder, and give back what stands in it.

        found = explain_to("explained", model, Source("reviews.csv", text="review"), processor=tokenizer)

    Type the same again after a kill, a full disk or a power cut: it goes on where it was, without a row lost or doubled. Type it in
    several processes at once (torchrun, accelerate, several machines that share the folder): they share the work.

    Args:
        dataset: what `explain_iter` takes; an iterator can be read only once, so its run shares with nobody.
        keep: what is stored beside tokens, relevance, value and verdict: "sinks", "reductions", "boundaries", "ledger", "card",
            "detail", "picture"; all of it if nothing is typed. () is the least.
        shard: how many inputs stand in a file; so many answers are in memory, and lost to a kill, at most.
        resume: False refuses a folder in which a run stands already.

    The other arguments are those of `explain` and `explain_iter`. Returns `Explanations.load(path)`.
    Raises FileError: the folder was made with another configuration (it says which setting differs) or from other inputs, it cannot
    be written, the disk is full. MissingError: pyarrow is not installed, `pip install "pelrp_nb[parquet]"`.
    """
    asking = Asking(model, processor, target, contrast, composite, options, batch_tokens)
    job = Job(Folder(path), asking, as_source(dataset), parts_of(keep), shard)
    job.begin(resume)
    with Progress(job.source.count if progress else None, progress) as shown:
        job.run(shown)
    return Explanations.load(path)


@dataclass
class Job:
    """One process at work on a folder."""

    folder: Folder
    asking: Asking
    source: Source
    keep: tuple[str, ...]
    size: int

    def begin(self, resume: bool = True) -> None:
        """Make the folder, or take up the run that is in it, if it is this one."""
        extra("pyarrow", "A folder of explanations")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise InputError(f"shard must be a whole number above 0, got {self.size!r}. Type shard={WINDOW}.")
        self.folder.begin(configuration(self), resume)

    def run(self, shown: Progress) -> None:
        """Make shards until all are there; those that others make are waited for, and made if these are no more."""
        inputs, left = 0, set[int]()
        for number, items in enumerate(self.shards()):
            inputs += len(items)
            if not self.make(number, items, False, shown):
                left.add(number)
        while left:
            first = min(left)
            for number, items in enumerate(self.shards()):
                if number in left and self.make(number, items, number == first, shown):
                    left.remove(number)
        if more := [entry.first for entry in self.folder.entries() if entry.first >= inputs]:
            raise FileError(
                f"{self.folder.path} was made from other inputs: number {more[0]} stands in it, and now there are {inputs} of them. "
                "Type another folder, or the inputs it was begun with."
            )
        self.folder.finish(inputs)

    def shards(self) -> Iterator[list[Item]]:
        """The inputs, cut into shards of equal number."""
        coming = self.source.items()
        while items := list(islice(coming, self.size)):
            yield items

    def make(self, number: int, items: Sequence[Item], wait: bool, shown: Progress) -> bool:
        """Whether the shard is there: it was, or this process has made it. False where another one makes it, unless it is to `wait`.

        Raises FileError where it was made from other inputs.
        """
        given = inputs_of([item.given for item in items] + [item.id for item in items])
        if self.is_there(number, items, given):
            shown.there(len(items))
            return True
        with self.folder.claim(number, wait) as mine:
            if not mine and self.source.once:
                raise FileError(
                    f"Another run makes shard {number} of {self.folder.path}, and an iterator cannot be read again to wait for it. Type a "
                    "list or a file, which several runs can share, or wait until the other has come to its end."
                )
            if mine and self.is_there(number, items, given):
                shown.there(len(items))
            elif mine:
                self.explain(number, items, given, shown)
            return mine

    def explain(self, number: int, items: Sequence[Item], given: str, shown: Progress) -> None:
        """Explain the inputs of a shard, and write it."""
        rows = [row for item, found in self.asking.answers(items, shown.done) for row in rows_of(item.number, item.id, self.kept(found))]
        raw = packed(self.table(rows))
        entry = Entry(number, items[0].number, len(items), len(rows), given, len(raw), hashlib.sha256(raw).hexdigest())
        self.folder.add(entry, raw)

    def is_there(self, number: int, items: Sequence[Item], given: str) -> bool:
        """Whether the shard has been made, of these inputs."""
        entry = self.folder.entry(number)
        if entry is not None and entry.given != given:
            last = items[-1].number
            raise FileError(
                f"{self.folder.path} was made from other inputs: number {items[0].number} to {last} are not those of {entry.name}. "
                "Type another folder, or the inputs it was begun with."
            )
        return entry is not None

    def kept(self, found: Any) -> Any:
        """The answer to one input without what is not to be stored."""
        if isinstance(found, Skipped):
            return found
        return slim(found, self.keep) if isinstance(found, Explanation) else [slim(one, self.keep) for one in found]

    def table(self, rows: Sequence[dict[str, Any]]) -> Any:
        """The rows as a pyarrow table."""
        return extra("pyarrow", "A folder of explanations").Table.from_pylist(rows, schema=schema(is_double(rows)))


def configuration(job: Job) -> dict[str, Any]:
    """What must be the same for shards to stand in one folder, in words."""
    asking = job.asking
    model = asking.model
    name = Path(getattr(getattr(model, "config", None), "_name_or_path", "") or "").name
    said = {
        "version": __version__, "model": f"{type(model).__name__} {name}".strip(), "weights": weights_of(model),
        "processor": type(asking.processor).__name__, "target": words(asking.target), "contrast": words(asking.contrast),
        "keep": list(job.keep), "shard": job.size,
        "text": job.source.text, "pair": job.source.pair, "id": job.source.id,
    }  # fmt: skip
    for name, value in (("composite", asking.composite), ("options", asking.options)):
        said |= {f"{name}.{f.name}": words(getattr(value, f.name)) for f in fields(value) if f.name not in FREE}  # type: ignore[arg-type]
    return said
