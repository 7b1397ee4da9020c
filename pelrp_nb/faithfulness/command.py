"""`python -m pelrp_nb faithfulness`: judge methods on a model and data, from the command line or from a configuration file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ..engine.support import device_of
from ..errors import InputError
from ..results.serialisation import put
from .data import load
from .examples import Example
from .findings import verdict
from .methods import ALL, OTHERS, chosen
from .protocols import PROTOCOLS
from .result import Result
from .runner import Output, company, measure, processes
from .settings import NAMED, Configuration, Images, Text, read


@dataclass(frozen=True)
class Wanted:
    """What is written where, beside the configuration."""

    results: str | None = None
    resume: bool = False
    report: str | None = None
    json: str | None = None
    table: str | None = None
    quiet: bool = False
    device: str = "auto"

    @property
    def beside(self) -> str | None:
        """The file of results: the one that was named, else one beside the report or the JSON."""
        by_product = self.report or self.json
        return self.results or (f"{by_product}.jsonl" if by_product else None)

    @property
    def output(self) -> Output:
        """Where results go; a by-product of an earlier run is replaced, a file that was named is not."""
        return Output(self.beside, "resume" if self.resume else "refuse" if self.results else "replace", not self.quiet)


def options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    d = Configuration()
    parser.add_argument("--model", default=d.model, metavar="NAME_OR_PATH", help=f"zoo name, folder or owner/name ({d.model})")
    parser.add_argument("--data", default=d.data, metavar="NAME", help="zoo task, recipe=PATH, file, or owner/name (reviews)")
    parser.add_argument("--methods", default=",".join(d.methods), metavar="A,B", help="all, or some of " + ", ".join((*ALL, *OTHERS)))
    parser.add_argument("--protocols", default="", metavar="A,B", help="some of " + ", ".join(PROTOCOLS))
    parser.add_argument("--columns", default="", metavar="A=B", help="text=NAME,label=NAME,image=NAME,mask=NAME,truth=NAME")
    parser.add_argument("--split", default=d.split, help=f"part of the data set ({d.split})")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N examples")
    parser.add_argument("--seed", type=int, default=d.seed, metavar="N")
    parser.add_argument("--batch", type=int, default=d.batch, metavar="N", help=f"rows in one forward pass ({d.batch})")
    parser.add_argument("--together", type=int, default=d.together, metavar="N", help=f"examples worked on at once ({d.together})")
    parser.add_argument("--text", choices=[n for n in NAMED if isinstance(NAMED[n], Text)], default="OURS_TEXT")
    parser.add_argument("--images", choices=[n for n in NAMED if isinstance(NAMED[n], Images)], default="OURS_IMAGES")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="any field: --set text.sign=absolute")
    parser.add_argument("--config", metavar="FILE", help="a configuration as JSON instead of the options above")
    parser.add_argument("--report", metavar="FILE", help="write a self-contained page")
    parser.add_argument("--json", metavar="FILE", help="write {method, measure, mean, low, high, n}")
    parser.add_argument("--table", metavar="FILE", help="write the table (.md, .tex, .csv or .txt by the suffix)")
    parser.add_argument("--results", metavar="FILE", help="append each example's numbers to this file (JSON lines)")
    parser.add_argument("--resume", action="store_true", help="go on with the file of --results (or REPORT.jsonl)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; auto takes an accelerator where there is one")
    parser.add_argument("--dry-run", action="store_true", help="say what would run and how long; one example is measured")


def run(given: argparse.Namespace) -> int:
    """The command; 0 done, 1 every method failed on every example."""
    wanted = Wanted(given.results, given.resume, given.report, given.json, given.table, False, given.device)
    if given.resume and wanted.beside is None:
        raise InputError("--resume needs the file to go on with. Type --results FILE.")
    configuration = from_file(given.config)[0] if given.config else from_options(given)
    return dry(configuration, given.device) if given.dry_run else carry_out(configuration, wanted)


def from_options(given: argparse.Namespace) -> Configuration:
    """The configuration that the options describe."""
    methods = named(filter(None, given.methods.split(",")))
    plain: dict[str, Any] = {
        "model": given.model, "data": given.data, "methods": methods, "split": given.split,
        "limit": given.limit, "seed": given.seed,
        "protocols": tuple(filter(None, given.protocols.split(","))), "columns": pairs(given.columns, "--columns"),
        "batch": given.batch, "together": given.together, "text": given.text, "images": given.images,
    }  # fmt: skip
    configuration = read(plain)
    for name, value in (pair for item in given.set for pair in pairs(item, "--set", split=False)):
        configuration = altered(configuration, name, value)
    return configuration


def named(methods: Iterable[str]) -> tuple[str, ...]:
    """The names once each; `all` stands for all but the controls."""
    return tuple(dict.fromkeys(name for given in methods for name in (ALL if given == "all" else (given,))))


def altered(configuration: Configuration, name: str, value: str) -> Configuration:
    """The configuration with one field changed, `text.sign` for one of a part."""
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value
    plain = configuration.plain()
    part, _, field = name.rpartition(".")
    if part and not isinstance(plain.get(part), dict):
        raise InputError(f"The configuration has no part {part!r}. Type for example text.sign=absolute.")
    (plain[part] if part else plain)[field] = parsed
    return read(plain)


def pairs(text: str, option: str, split: bool = True) -> tuple[tuple[str, str], ...]:
    """`a=b,c=d` as pairs."""
    found = []
    for item in filter(None, text.split(",") if split else [text]):
        name, given, value = item.partition("=")
        if not given:
            raise InputError(f"{option} takes NAME=VALUE, got {item!r}.")
        found.append((name, value))
    return tuple(found)


def from_file(path: str) -> tuple[Configuration, Wanted]:
    """A configuration file: the fields of `Configuration`, and results, report, json, table, resume beside them."""
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be a configuration in JSON, but {error}.") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path} must be a JSON object with fields such as model, data, methods; got {type(plain).__name__}.")
    there = {name: plain.pop(name) for name in ("results", "resume", "report", "json", "table", "quiet", "device") if name in plain}
    if "methods" in plain:
        plain["methods"] = named([plain["methods"]] if isinstance(plain["methods"], str) else plain["methods"])
    return read(plain), Wanted(**there)


def ready(configuration: Configuration, device: str) -> tuple[Any, Any, Iterable[Example]]:
    """Model, processor and examples; the model where it shall run."""
    from .. import zoo

    chosen(configuration.methods)
    model, processor = zoo.load(configuration.model)
    model.to(place(device))
    examples = load(configuration.data, configuration.limit, split=configuration.split, columns=dict(configuration.columns))
    streamed = any(mark in configuration.data for mark in "/=.")
    return model, processor, examples if streamed else list(examples)


def place(device: str) -> torch.device:
    """The device of this name; `auto` is the one that accelerate gave this process, else an accelerator, else the CPU."""
    if device == "auto":
        state = company()
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return state.device if state is not None else found or torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device must be a device of this machine, and {device!r} is none: {str(error)[:120]}") from error


def carry_out(configuration: Configuration, wanted: Wanted) -> int:
    """Run everything and write what is wanted."""
    if wanted.table and Path(wanted.table).suffix not in (".md", ".tex", ".csv", ".txt"):
        raise InputError(f"--table ends in .md, .tex, .csv or .txt; got {wanted.table}.")
    model, processor, examples = ready(configuration, wanted.device)
    result = measure(model, processor, examples, configuration, output=wanted.output)
    if processes()[0]:
        return 0
    print(result)
    for where, reasons in result.errors.items():
        print(f"{where}: failed on {len(reasons)} examples, first {reasons[0][0]}: {reasons[0][1]}", file=sys.stderr)
    print(f"\n{verdict(result)}")
    print(f"\nconfiguration {configuration.fingerprint}\n{configuration}")
    for path, text in files(result, wanted, (model, processor)):
        put(Path(path), text.encode())
        print(f"wrote {path}", file=sys.stderr)
    return 0 if result.measures else 1


def files(result: Result, wanted: Wanted, loaded: tuple[Any, Any]) -> Iterable[tuple[str, str]]:
    """Names and contents of the files that are wanted."""
    if wanted.json:
        yield wanted.json, result.to_json() + "\n"
    if wanted.table:
        table = result.table()
        makers = {".md": table.markdown, ".tex": table.latex, ".csv": table.csv, ".txt": table.text}
        yield wanted.table, makers[Path(wanted.table).suffix]()
    if wanted.report:
        from .report import page

        yield wanted.report, page(result, *loaded)


def dry(configuration: Configuration, device: str) -> int:
    """What would run, and how long: one example is run twice, the second time is counted."""
    model, processor, examples = ready(configuration, device)
    examples = iter(examples)
    head = list(islice(examples, 1))
    one = replace(configuration, limit=1)
    for _ in range(2):
        start = time.perf_counter()
        result = measure(model, processor, head, one)
        seconds = time.perf_counter() - start
    print(configuration)
    print(f"measures = {', '.join(result.measures)}")
    far = configuration.limit is None and "/" in configuration.data and "=" not in configuration.data
    count = None if far else 1 + sum(1 for _ in examples)
    all_of_it = "their number is not known" if count is None else f"{count} take about {count * seconds / 60:.1f} minutes"
    print(f"\nOne example takes {seconds:.2f} s on {device_of(model)}; {all_of_it} in one process. Nothing was written.")
    for where, reasons in result.errors.items():
        print(f"{where}: would fail: {reasons[0][1]}", file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m pelrp_nb.faithfulness CONFIG`, also under `accelerate launch`."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.faithfulness", description=main.__doc__)
    parser.add_argument("config", metavar="CONFIG", help="a JSON file: fields of Configuration, results, report, json, table")
    configuration, wanted = from_file(parser.parse_args(argv).config)
    try:
        return carry_out(configuration, replace(wanted, resume=True))
    finally:
        if (state := company()) is not None:
            state.destroy_process_group()
