"""Submissions as they come in: good, partial, broken, hostile; with what each is worth.

python tests/handed_in.py 100          grades so many, and says which were graded wrong, and how long it took
python tests/handed_in.py 1000 FOLDER  the same in a folder that is kept: stopped, it goes on where it was
python tests/handed_in.py where 5      where the processor time of so many good ones goes
python tests/handed_in.py labs         grades each lab as it is handed out, and its solution
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

GOOD = {
    "by-hand": "x, weight, R = labs.given('by-hand')\nby_hand = x * ((R / (weight @ x)) @ weight)",
    "shares": "def shares(x, weight):\n    c = x * weight\n    return c / c.sum(1, keepdim=True)",
    "epsilon": (
        "def my_epsilon(R, x, weight, bias, eps):\n    z = x @ weight.T + bias\n"
        "    return x * ((R / torch.where(z < 0, z - eps, z + eps)) @ weight)"
    ),
    "bias-keeps": "def kept(R, x, weight, bias):\n    return (bias / (x @ weight.T + bias) * R).sum()",
}
ANSWERS = {"by-hand": "by_hand", "shares": "shares", "epsilon": "my_epsilon", "bias-keeps": "kept"}
POINTS = {"by-hand": 1, "shares": 1, "epsilon": 2, "bias-keeps": 1}
IMPORTS = "import torch\nfrom pelrp_nb import labs, rules"


def cells(**changed: str | None) -> list[str]:
    """The cells of a good notebook, with some answers changed or left out (None); names with _ for -."""
    code = [IMPORTS]
    for name, source in GOOD.items():
        own = changed.get(name.replace("-", "_"), source)
        if own is not None:
            code += [own, f'labs.check("{name}", {ANSWERS[name]})']
    return code


def notebook(code: list[str], lab: str = "01", version: str = "0.1.0") -> str:
    """A notebook with these code cells, as JSON."""
    made = [{"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None} for source in code]
    about = {"pelrp": {"lab": lab, "version": version}} if lab else {}
    return json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False)


def _with(source: str) -> str:
    """A good notebook that first does something else."""
    code = cells()
    return notebook([code[0], source, *code[1:]])


FORK = """
import os
for _ in range(1000):
    try:
        os.fork()
    except OSError:
        pass
"""
TAMPER = """
import sys, pelrp_nb
from pelrp_nb.labs import checking, compare, examine, verdict
compare.same = examine.same = lambda *a: True
examine.examine = checking.examine = lambda *a, **k: verdict.Verdict('x', True, 'all right')
torch.allclose = lambda *a, **k: True
verdict.Verdict.__bool__ = lambda self: True
"""
FORGE = """
import json, os
for number in range(3, 40):
    try:
        os.write(number, (json.dumps({"done": {"epsilon": 1}, "points": 5, "id": "0", "answer": True}) + "\\n").encode() * 20)
    except OSError:
        pass
"""
DELETE = """
import shutil, os
for place in ("/", os.path.expanduser("~"), os.getcwd(), "/usr", "/home", "/srv"):
    shutil.rmtree(place, ignore_errors=True)
"""
SPY = """
import glob, os
loot = [open(p).read() for p in glob.glob("/**/*.ipynb", recursive=True) if "site-packages" not in p]
assert not loot, "found something"
"""
SOCKET = """
import socket
server = socket.socket(); server.settimeout(1)
server.connect(("127.0.0.1", 80))
"""
WRITE = """
for path in ("/usr/bin/python3", torch.__file__, "/etc/passwd", "/written"):
    with open(path, "a") as file:
        file.write("gone")
"""
SILENT = "def my_epsilon(R, x, weight, bias, eps):\n    while True:\n        pass"
EXIT = "import os\nos._exit(0)"
PRINT = "import os\nwhile True:\n    print('x' * 10_000, flush=True)"
FLOOD = """
import os
for number in range(3, 40):
    try:
        while True:
            os.write(number, b"x" * 65536)
    except OSError:
        pass
"""
MEMORY = "keep = []\nwhile True:\n    keep.append(torch.ones(10_000_000))"
STUB = "def shares(x, weight):\n    ..."
OTHER_NAME = [GOOD["shares"].replace("shares", "meine"), 'labs.check("shares", meine)']
IGNORANT = {
    "by_hand": "by_hand = 0", "shares": "def shares(*a): return 0", "epsilon": "def my_epsilon(*a): return 0",
    "bias_keeps": "def kept(*a): return 0",
}  # fmt: skip
WHOLE = 5

KINDS: dict[str, tuple[str, int]] = {  # kind -> (what is handed in, its points)
    "good": (notebook(cells()), WHOLE),
    "hostile: deletes files": (_with(DELETE), WHOLE),
    "partial: missing bias": (notebook(cells(epsilon=GOOD["epsilon"].replace(" + bias", ""))), 3),
    "hostile: reads other submissions": (_with(SPY), WHOLE),
    "hostile: forks": (_with(FORK), WHOLE),
    "hostile: opens sockets": (_with(SOCKET), WHOLE),
    "hostile: prints without end": (_with(PRINT), WHOLE),
    "hostile: tampers with the checker, knows nothing": (notebook([IMPORTS, TAMPER, *cells(**IGNORANT)[1:]]), 0),
    "hostile: forges messages": (notebook([IMPORTS, FORGE, *cells(epsilon=IGNORANT["epsilon"])[1:]]), 3),
    "broken: not JSON": ("{ this is no notebook", 0),
    "broken: an answer that never ends": (notebook(cells(epsilon=SILENT)), 3),
    "broken: ends the process": (_with(EXIT), WHOLE),
    "hostile: floods the channel": (_with(FLOOD), WHOLE),
    "hostile: takes all memory": (_with(MEMORY), WHOLE),
    "hostile: writes into the system": (_with(WRITE), WHOLE),
    "broken: empty": ("", 0),
    "broken: no cells": (notebook([]), 0),
    "broken: syntax error": (notebook(cells(shares="def shares(x, weight:\n    return")), 4),
    "partial: check cells deleted": (notebook([IMPORTS, *GOOD.values()]), WHOLE),
    "partial: cells turned round": (notebook([IMPORTS, *cells()[:0:-1]]), WHOLE),
    "partial: a stub below the answer": (notebook([*cells(), STUB, 'labs.check("shares", shares)']), WHOLE),
    "partial: renamed function": (notebook([*cells(shares=None), *OTHER_NAME]), WHOLE),
    "partial: another version": (notebook(cells(), version="0.0.1"), WHOLE),
    "partial: no metadata": (notebook(cells(), lab=""), WHOLE),
    "partial: magics": (_with("%matplotlib inline\n!ls\nif True:\n    %time 1"), WHOLE),
    "good: starts a thread": (_with("import threading\nthread = threading.Thread(target=print); thread.start(); thread.join()"), WHOLE),
    "partial: half": (notebook(cells(epsilon=None, bias_keeps=None)), 2),
}
NAMES = ("Ann Lee", "Zoë", "李雷", "محمد", "O'Neil; rm -rf", "=1+1", 'a"b', "…", "Müller  (2)", "Ольга")


def write(folder: Path, count: int) -> dict[str, int]:
    """`count` submissions, all kinds in turn, in folders named by students; file -> points it is worth."""
    due = {}
    kinds = list(KINDS.values())
    for number in range(count):
        text, points = kinds[number % len(kinds)]
        name = f"{NAMES[number % len(NAMES)]} {number}/lab_01.ipynb"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        due[name] = points
    return due


def main(count: int, folder: Path | None = None) -> int:
    """Grade `count` submissions, in a folder that is thrown away unless one is named; 1 if any is graded wrong."""
    from pelrp_nb.labs.batch import grade_folder

    with tempfile.TemporaryDirectory() as thrown_away:
        place = folder or Path(thrown_away)
        due = write(place / "in", count)
        before = len(list((place / "out" / "results").glob("*.json")))
        began = time.monotonic()
        grades = grade_folder(place / "in", place / "out", jobs=2)
        took = time.monotonic() - began
    wrong = [grade for grade in grades if grade.points != due[grade.submission]]
    for grade in wrong:
        print(f"{grade.submission}: {grade.points} points, worth {due[grade.submission]}; {' '.join(grade.notes)}")
    earlier = f", {before} of them in an earlier run" if before else ""
    print(f"{len(grades) - len(wrong)} of {len(grades)} graded right in {took / 60:.1f} minutes{earlier}")
    return 1 if wrong or len(grades) != count else 0


def where(count: int) -> int:
    """Processor seconds of each of `count` good submissions: until its first cell, in its cells, in its answers, in the grader."""
    from pelrp_nb.labs import grading
    from pelrp_nb.labs.meter import worked
    from pelrp_nb.labs.submission import Submission

    class Timed(grading.Sitting):
        """Remembers what the sandbox had worked by the first cell, the last one, and the last answer."""

        def hear(self, box, meter):
            said = super().hear(box, meter)
            if said.get("cell") == 0:
                spent[0] = worked(box.process.pid)
            return said

        def play(self, box, cell):
            handed = super().play(box, cell)
            spent[1] = worked(box.process.pid)
            return handed

        def judge(self, box, exercise, candidates):
            verdict = super().judge(box, exercise, candidates)
            spent[2] = worked(box.process.pid)
            return verdict

    grading.Sitting = Timed
    for _ in range(count):
        spent, own = [0.0, 0.0, 0.0], time.process_time()
        assert grading.grade(Submission("x", "0", "01", tuple(cells()))).points == WHOLE
        start, played, asked = spent
        own = time.process_time() - own
        print(f"start {start:.2f} s   cells {played - start:.2f} s   answers {asked - played:.2f} s   grader {own:.2f} s")
    return 0


def labs() -> int:
    """Grade every lab untouched and solved; 1 if a point is given for nothing or not for a solution, or if anybody is accused."""
    import nbformat

    from pelrp_nb.labs.batch import grade_folder
    from pelrp_nb.labs.notebooks import build, masters

    with tempfile.TemporaryDirectory() as folder:
        for lab in masters():
            for kind in ("student", "solution"):
                (Path(folder) / kind).mkdir(exist_ok=True)
                nbformat.write(build(lab, kind), Path(folder) / kind / f"lab_{lab}.ipynb")
        grades = grade_folder(Path(folder), Path(folder) / "graded", jobs=2)
    wrong = 0
    for grade in grades:
        due = grade.most if grade.submission.startswith("solution") else 0
        if grade.points != due or grade.private:
            wrong += 1
            print(f"{grade.submission}: {grade.points} points, worth {due}; {' '.join([*grade.notes, *grade.private])}")
    print(f"{len(grades) - wrong} of {len(grades)} labs right, untouched and solved")
    return 1 if wrong else 0


if __name__ == "__main__":
    first, *more = sys.argv[1:]
    sys.exit(labs() if first == "labs" else where(int(more[0])) if first == "where" else main(int(first), *map(Path, more)))
