"""Run the protocols over the examples: some at a time, in batches, in as many processes as accelerate started.

The numbers do not depend on how many processes there are, on the order, or on interruptions: examples are dealt out in fixed
groups, each group goes through the model in the same batches, and every random choice has a seed made from its example.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, PelrpError
from ..inputs.fingerprint import weights_of
from .attribution import Attribution, Method, attribute
from .examples import Example, first
from .methods import chosen
from .protocols import PROTOCOLS, applicable
from .read import case_of
from .records import Record, Records, There, header_of
from .result import Result
from .settings import Configuration
from .subject import Case, Inquiry, Row, Subject

KEPT = 512  # tokens of an example whose relevance is kept for the report


@dataclass(frozen=True)
class Output:
    """Where results go.

    path:     the file of results, JSON lines; None keeps them in memory. Further processes write to PATH.1, PATH.2 ...
    there:    if the file exists: "refuse" to touch it, "resume" it, or "replace" it
    progress: show a bar with the remaining time
    """

    path: str | os.PathLike | None = None
    there: There = "refuse"
    progress: bool = False


def measure(
    model: nn.Module, processor: Any, examples: Iterable[Example], configuration: Configuration | None = None,
    methods: Mapping[str, Method] | None = None, output: Output | None = None,
) -> Result:  # fmt: skip
    """Judge methods on a model and data.

    Args:
        model, processor: as for `explain`.
        examples: of `data.load`, or any `Example`s.
        configuration: every choice; its `model` and `data` are names only, for the record.
        methods: your own, by name, beside those that the configuration names: functions of (subject, case).
        output: the file of results, resuming, progress.

    Returns:
        A Result: rows, differences, tables, the report. In several processes every one of them has the whole of it.

    Raises:
        InputError: no examples, a protocol that the data do not allow, an unknown name. FileError: a file that cannot be written,
        or that belongs to another configuration. What one example or one method raises is recorded, and the rest goes on.
    """
    configuration, output = configuration or Configuration(), output or Output()
    subject = Subject(model, processor, configuration)
    functions = chosen((*configuration.methods, *(methods or {})), methods)
    rank, world = processes()
    path = output.path if output.path is None or rank == 0 else f"{os.fspath(output.path)}.{rank}"
    records = Records(path, header_of(configuration, functions, weights_of(model)), output.there)
    try:
        with bar(output.progress and rank == 0, total_of(examples, configuration.limit)) as advance:
            for group in mine(grouped(first(examples, configuration.limit), configuration.together), rank, world):
                for record in run_group(subject, group, functions, records.found):
                    records.add(record)
                advance(len(group) * world)
        records.merge((r for others in gathered(list(records.found.values()), world) for r in others), keep=rank == 0)
    finally:
        records.close()
    return Result(configuration, tuple(functions), tuple(records.found[i] for i in sorted(records.found)))


Group = list[tuple[int, Example]]


def grouped(examples: Iterable[Example], size: int) -> Iterator[Group]:
    """Examples with their numbers, so many at a time."""
    numbered = enumerate(examples)
    while group := list(islice(numbered, size)):
        yield group


def mine(groups: Iterable[Group], rank: int, world: int) -> Iterator[Group]:
    """Every world-th group, from the rank-th."""
    for i, group in enumerate(groups):
        if i % world == rank:
            yield group


def run_group(subject: Subject, group: Group, methods: Mapping[str, Method], done: Mapping[int, Record]) -> list[Record]:
    """The records of some examples that are worked on together; none where all of them are done."""
    for index, example in group:
        if index in done and done[index]["example"] != example.digest():
            raise InputError(
                f"Example {index} in the file of results is another one than in the data: the data have changed. "
                "Type another path for the results."
            )
    if all(index in done for index, _ in group):
        return []
    records, running = {}, []
    for index, example in group:
        record = records[index] = blank(index, example)
        protocols = applicable(subject.configuration.protocols, example)
        try:
            case = case_of(subject, example, index)
        except Exception as error:  # this example cannot be judged; the others can
            record["errors"]["*"] = said(error)
            continue
        for name, method in methods.items():
            running += begun(subject, case, (name, method), protocols, record)
        record["tokens"] = list(case.tokens[:KEPT])
        record["target"] = case.target
    finish(subject, running)
    return [records[index] for index, _ in group]


def blank(index: int, example: Example) -> Record:
    """A record with nothing in it yet."""
    return {
        "index": index, "example": example.digest(), "text": example.text, "tokens": [], "target": None, "values": {},
        "curves": {}, "relevance": {}, "errors": {},
    }  # fmt: skip


@dataclass(frozen=True)
class Running:
    """A protocol under way: its generator, the rows it wants answered, and where its findings go."""

    method: str
    protocol: str
    generator: Inquiry
    rows: list[Row]
    record: Record


def begun(subject: Subject, case: Case, named: tuple[str, Method], protocols: Iterable[str], record: Record) -> list[Running]:
    """One method on one example: its relevance, and every protocol up to its question to the model."""
    name, method = named
    try:
        found = attribute(method, subject, case)
    except Exception as error:  # recorded; the other methods go on
        record["errors"][name] = said(error)
        return []
    if not case.seen:
        record["relevance"][name] = [round(x, 6) for x in found.relevance[:KEPT].tolist()]
    record["values"][name], record["curves"][name] = {}, {}
    return [r for protocol in protocols if (r := asked(subject, case, found, (name, protocol), record)) is not None]


def asked(subject: Subject, case: Case, found: Attribution, names: tuple[str, str], record: Record) -> Running | None:
    """A protocol that has been started; None where it could not."""
    method, protocol = names
    generator = PROTOCOLS[protocol](subject, case, found)
    try:
        return Running(method, protocol, generator, next(generator), record)
    except Exception as error:
        record["errors"][f"{method} {protocol}"] = said(error)
        return None


def finish(subject: Subject, running: list[Running]) -> None:
    """Ask the model all that is wanted, and hand out the answers."""
    answers = iter(subject.answers([row for r in running for row in r.rows]))
    for r in running:
        mine = [next(answers) for _ in r.rows]
        try:
            found = conclusion(r.generator, mine)
        except Exception as error:
            r.record["errors"][f"{r.method} {r.protocol}"] = said(error)
            continue
        r.record["values"][r.method] |= {k: v for k, v in found["values"].items() if v is not None}
        r.record["curves"][r.method] |= {name: [round(x, 6) for x in curve] for name, curve in found["curves"].items()}


def conclusion(generator: Inquiry, answers: list[Tensor]) -> dict[str, Any]:
    """What a protocol returns when it has its answers."""
    try:
        generator.send(answers)
    except StopIteration as end:
        return end.value
    raise InputError("A protocol must yield its rows once and then return.")


def said(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, PelrpError) else f"{type(error).__name__}: {text}"


def company() -> Any:
    """accelerate's state where it (or torchrun) started several processes, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())


def processes() -> tuple[int, int]:
    """This process's number and how many there are; 0 and 1 where it is alone."""
    state = company()
    return (0, 1) if state is None else (state.process_index, state.num_processes)


def gathered(records: list[Record], world: int) -> list[list[Record]]:
    """The records of all processes, in every process."""
    if world < 2:
        return [records]
    from accelerate.utils import gather_object

    return gather_object([records])


def total_of(examples: Iterable[Example], limit: int | None) -> int | None:
    """How many examples there will be; None where nobody knows."""
    known = len(examples) if isinstance(examples, Sized) else None
    return min(known, limit or known) if known is not None else limit


class bar:
    """A progress bar with the remaining time, on standard error; silent where it is not wanted."""

    def __init__(self, wanted: bool, total: int | None) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit=" examples", disable=not wanted)

    def __enter__(self) -> Any:
        return self._bar.update

    def __exit__(self, *error: object) -> None:
        self._bar.close()
