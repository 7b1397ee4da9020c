"""`python -m pelrp_nb atlas`: run what was asked for, keep every row as it comes, write the page."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from ..composites import NAMED
from ..errors import FileError, InputError
from .compare import differences, found_in
from .names import KINDS, Entry, choose
from .table import called, page
from .verdict import counts, nothing_kept, verdict

EXAMPLES = """examples:
  python -m pelrp_nb atlas llama
  python -m pelrp_nb atlas --class image --jobs 2 --json image.jsonl
  python -m pelrp_nb atlas llama bloom t5 deberta --method delta-lrp
  python -m pelrp_nb atlas --json atlas.jsonl --resume --out atlas.md
  python -m pelrp_nb atlas --compare tutorials/atlas.md atlas.md
"""


def options(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("names", nargs="*", metavar="NAME", help="architectures by their model type, like llama; all if absent")
    command.add_argument("--class", dest="kinds", action="append", choices=list(KINDS), help="only this kind; may be repeated")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N of them")
    command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time (one per core)")
    command.add_argument("--seconds", type=float, default=120, metavar="S", help="time limit for each architecture (120)")
    command.add_argument("--method", default="pa-lrp", choices=NAMED, metavar="METHOD", help="one of " + ", ".join(NAMED))
    command.add_argument("--json", metavar="FILE", help="keep each row as a line of JSON; rows of the same architecture replace it")
    command.add_argument("--resume", action="store_true", help="leave out what FILE of --json has already")
    command.add_argument(
        "--compare", nargs=2, metavar=("OLD", "NEW"), help="two pages: what was lost, and where other positions were found"
    )
    command.add_argument("--out", metavar="FILE", help="write the page (Markdown), with all rows of --json")


def run(given: argparse.Namespace) -> int:
    """Run it; 0 if everything that was built is closed or refused with its reason, else 1."""
    if given.compare:
        return compared(*map(Path, given.compare))
    if given.resume and not given.json:
        raise InputError("--resume needs the file of an earlier run. Type --json FILE --resume.")
    if given.jobs < 1 or given.seconds <= 0 or (given.limit is not None and given.limit < 1):
        raise InputError("--jobs, --seconds and --limit must be positive. Type --jobs 2 --seconds 120.")
    entries = choose(given.names, given.kinds or list(KINDS))[: given.limit]
    kept = read(Path(given.json)) if given.json else {}
    if given.resume:
        entries = [entry for entry in entries if entry.key not in kept]
    rows = collect(entries, kept, given)
    if given.out:
        Path(given.out).write_text(page(list(kept.values()), versions(), given.method), encoding="utf-8")
        print(f"wrote {given.out}")
    print("; ".join(f"{n} {name}" for name, n in counts(rows).items()))
    print(nothing_kept(rows))
    return 0 if all(verdict(row)[0] in ("closed", "refused", "not built") for row in rows) else 1


def compared(old: Path, new: Path) -> int:
    """Print how two pages differ; 1 if something closed was lost."""
    told, lost = differences(found_in(old), found_in(new))
    print("\n".join(told) or "nothing differs")
    return int(lost)


def collect(entries: list[Entry], kept: dict[str, dict[str, Any]], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the entries, print and keep each row as it comes; the new rows."""
    from tqdm.auto import tqdm

    from .pool import rows

    found = []
    with tqdm(total=len(entries), desc="atlas", unit="model", file=sys.stderr) as bar:
        for row in rows(entries, given.jobs, given.seconds, given.method):
            found.append(row)
            kept[key(row)] = row
            if given.json:
                write(Path(given.json), kept)
            bar.update()
            bar.write(said(row), file=sys.stdout)
    return found


def said(row: dict[str, Any]) -> str:
    """One row in one line of a terminal."""
    name, why = verdict(row)
    first: dict[str, Any] = next(iter(row["runs"].values()), {})
    sinks = ", ".join(f"{kind} x {n}" for kind, n in first.get("sinks", {}).items())
    return f"{called(row):<28} {row['kind']:<10} {name:<10} {sinks or '-':<28} {why}"


def key(row: dict[str, Any]) -> str:
    """What a row is filed under: `Entry.key`."""
    return Entry(row["kind"], row["name"], row["model"], row["option"]).key


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run, by key; none if there is no file. Raises FileError if it is not one of ours."""
    if not path.exists():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {key(row): row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} must hold rows of the atlas, one JSON object per line: {error}. Type another --json FILE.") from error


def write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """All rows, one line each; the file is whole at every moment."""
    beside = path.with_name(path.name + ".part")
    beside.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    os.replace(beside, path)


def versions() -> dict[str, str]:
    """What the page was made with."""
    from importlib.metadata import version

    return {"Python": platform.python_version(), **{name: version(name) for name in ("torch", "transformers", "pelrp_nb")}}
