"""What a newcomer meets, counted: `python tests/counts.py [FOLDER OF A PACKAGE]`.

Circles are of files that import each other, imports for types and inside functions included; what one short explanation enters is counted
by `python -m pelrp_nb bench calls`, in this package alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pelrp_nb.bench.calls import TEXT, entered
from test_imports import PACKAGE, circles, imports, modules


def counts(package: Path = PACKAGE) -> dict[str, int]:
    """Files, circles, how many files stand in one, and the largest file, of the package that lies there."""
    files = modules(package)
    found = circles(imports(package))
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files.values()}
    return {
        "files": len(files), "lines": sum(lines.values()), "circles": len(found), "files in circles": sum(map(len, found)),
        "lines of the largest file": max(lines.values()),
    }  # fmt: skip


def entered_by_one() -> dict[str, int]:
    """What one short explanation enters of this package, once everything is loaded."""
    from pelrp_nb import explain, zoo

    model, tokenizer = zoo.load("reviews-rotary")
    explain(model, TEXT, processor=tokenizer)
    found = entered(lambda: explain(model, TEXT, processor=tokenizer))
    return {"functions entered": found.functions, "files entered": found.files, "calls": found.calls}


if __name__ == "__main__":
    told = counts(Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else counts() | entered_by_one()
    print("\n".join(f"{name:<26}{number:>9,}" for name, number in told.items()))
