"""Files that were damaged or made up: `python tests/fuzz.py 10000`.

Each is loaded. It must load to something that shows itself, or be refused by one FileError; nothing else may be raised, nothing may
hang, and no more memory may be taken than a constant times the file.  Half of the files are damaged bytes; the other half were written
again with a checksum that is right, around content that is wrong.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from made import made

from pelrp_nb import Exchange, Explanation, Explanations
from pelrp_nb.errors import FileError
from pelrp_nb.results import serialisation
from pelrp_nb.results.columns import rows_of, schema
from pelrp_nb.results.folder import Entry, Folder, packed

STRANGE = (
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    float("nan"),
    "",
    "x" * 1000,
    "\ud800",
    [],
    {},
    [[]],
    {"tensor": "nowhere"},
    {"a": {"a": {}}},
    [None] * 50,
)
LIMIT = 64 * 2**20  # bytes that any of these files may take, all of them being smaller than 100 KB
SECONDS = 10.0  # of processor time


def exchanged() -> Exchange:
    """A small exchange, made by hand."""
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    return Exchange(
        ("a", "b", "c"), "positive", 1.0, torch.arange(3), pairs, {"layer 0": torch.ones(2, 3)}, torch.ones(3), None, 0, ("rotary",)
    )  # fmt: skip


def table(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A folder of one shard with these rows, its index and checksums right."""
    import hashlib

    import pyarrow as pa

    run = Folder(folder)
    run.begin({"model": "m"}, resume=False)
    raw = packed(pa.Table.from_pylist(rows, schema=schema(True)))
    run.add(Entry(0, 0, 2, len(rows), "", len(raw), hashlib.sha256(raw).hexdigest()), raw)
    run.finish(2)


SEEDS = {"one": made(("a", "b"), layers=1), "several": Explanations([made(("a",), layers=1)] * 2), "exchange": exchanged()}
LOADS: dict[str, Callable[[Path], Any]] = {"one": Explanation.load, "several": Explanations.load, "exchange": Exchange.load}


def tree_of(kind: str) -> dict[str, Any]:
    """What a file of that kind holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.npz"
        SEEDS[kind].save(path)
        return serialisation.read(path)


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """The bytes with some flipped, cut, doubled or put in."""
    found = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, what = rng.randrange(max(len(found), 1)), rng.randrange(5)
        if what == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << rng.randrange(8)
        elif what == 1:
            del found[at:]
        elif what == 2:
            del found[at : at + rng.randrange(1, 64)]
        elif what == 3:
            found[at:at] = rng.randbytes(rng.randrange(1, 32))
        else:
            found[at:at] = found[at : at + 64]
    return bytes(found)


def misled(tree: Any, rng: random.Random) -> Any:
    """The tree with one of its parts gone, exchanged with another, or made something strange."""
    tree = copy.deepcopy(tree)
    here = tree
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = rng.choice(keys)
        inner = here[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            break
        here = inner
    if rng.random() < 0.25:
        del here[key]
    elif isinstance(here[key], torch.Tensor) and rng.random() < 0.6:
        here[key] = rng.choice((torch.zeros(()), torch.zeros(7, 7), here[key].long(), here[key].to(torch.complex64), here[key][:0]))
    else:
        here[key] = copy.deepcopy(rng.choice(STRANGE))
    return tree


def file_of(kind: str, suffix: str, rng: random.Random, path: Path) -> None:
    """One damaged or misleading file."""
    if rng.random() < 0.5:
        SEEDS[kind].save(path)
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        serialisation.write(path, misled(tree_of(kind), rng))


def folder_of(rng: random.Random, path: Path) -> None:
    """One folder of a run: a file of it damaged, or rows that hold something else."""
    rows = [row for i in range(2) for row in rows_of(i, f"n{i}", made(("a", "b"), layers=1))]
    if rng.random() < 0.5:
        for row in rows:
            for name in rng.sample(sorted(row), 1):
                row[name] = {str: "{", bytes: b"\xff", int: -5, float: 0.5}.get(type(row[name]))
        table(path, rows)
    else:
        table(path, rows)
        file = rng.choice([path / "run.json", path / "complete.json", *(path / "index").iterdir(), *(path / "shards").iterdir()])
        file.write_bytes(damaged(file.read_bytes(), rng))


def most_memory() -> int:
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def tried(load: Callable[[], Any]) -> str:
    """ "loaded" or "refused"; anything else that happens is raised."""
    before, begun = most_memory(), time.process_time()
    try:
        found = load()
        for one in [found] if isinstance(found, Explanation | Exchange) else list(found):
            repr(one), str(one)
        said = "loaded"
    except FileError as error:
        assert len(str(error)) > 20, "an error says what must hold and what came"
        said = "refused"
    more = most_memory() - before
    assert more < LIMIT, f"{more / 2**20:.0f} MiB"
    assert time.process_time() - begun < SECONDS, "too long"
    return said


def one(seed: int, folder: Path) -> tuple[str, str]:
    """The file of that number: of what kind it was, and what came of it."""
    rng = random.Random(seed)
    kind, suffix = rng.choice((*LOADS, "folder")), rng.choice((".npz", ".safetensors"))
    path = folder / f"{seed}{'' if kind == 'folder' else suffix}"
    if kind == "folder":
        folder_of(rng, path)
        return kind, tried(lambda: Explanations.load(path))
    try:
        file_of(kind, suffix, rng, path)
    except (FileError, TypeError, ValueError, RuntimeError, UnicodeError):  # what no file of that kind can hold
        return kind, "not written"
    return kind, tried(lambda: LOADS[kind](path))


def main(count: int, first: int = 0) -> int:
    """Try so many files; print what came of them; 1 at the first that does anything else."""
    from tqdm import tqdm

    found: Counter[tuple[str, str]] = Counter()
    for seed in tqdm(range(first, first + count), disable=not sys.stderr.isatty()):
        with tempfile.TemporaryDirectory() as folder:
            try:
                found[one(seed, Path(folder))] += 1
            except BaseException:
                print(f"file {seed} (type python tests/fuzz.py 1 {seed}):", file=sys.stderr)
                raise
    print(json.dumps({f"{kind} {said}": n for (kind, said), n in sorted(found.items())}, indent=1))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(*map(int, sys.argv[1:] or ["10000"])))
