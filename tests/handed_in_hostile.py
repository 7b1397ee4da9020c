"""Submissions that want to stop the grader, to fool it, or to eat the machine: what is handed in, and what it may get.

python tests/handed_in_hostile.py          grades all; says which stopped the run, got points without a note, or took too much memory
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from handed_in import GOOD, WHOLE, cells, notebook


class Hostile(NamedTuple):
    """One submission, what it honestly earns, and a pattern for the teacher's note without which it may get no more."""

    text: str | bytes
    points: int = WHOLE
    note: str = ""


def first(source: str, points: int = WHOLE, note: str = "") -> Hostile:
    """A good notebook, its second cell this one."""
    code = cells()
    return Hostile(notebook([code[0], source, *code[1:]]), points, note)


def answered(epsilon: str, points: int = 3, note: str = "") -> Hostile:
    """A good notebook with another answer to `epsilon`, which is worth two points."""
    return Hostile(notebook(cells(epsilon=epsilon)), points, note)


def valued(by_hand: str, points: int = 4, note: str = "") -> Hostile:
    """A good notebook with another answer to `by-hand`, which is worth one point."""
    return Hostile(notebook(cells(by_hand=by_hand)), points, note)


def file(**changed: object) -> str:
    """A good notebook with other things in its file."""
    return json.dumps(json.loads(notebook(cells())) | changed)


def asked(source: str) -> str:
    """The answer to `epsilon` with a body of this one line."""
    return f"def my_epsilon(R, x, weight, bias, eps):\n    {source}"


SEAT = """
try:
    1 / 0
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
    while "self" not in frame.f_locals:
        frame = frame.f_back
    seat = frame.f_locals["self"]
"""
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.mmap.restype = ctypes.c_void_p\n"
FILL = f"{LIBC}for _ in range(3):\n    at = {{}}\n    assert at not in (None, 2**64 - 1)\n    ctypes.memset(at, 1, 2**30)"
CALL = "rules.epsilon.relevance(R, x, weight=weight, bias=bias, eps=eps)[0]"
CALLS = r"answer to epsilon calls pelrp_nb\.\S*epsilon"

MEMORY = {
    "shared pages without a name": first("import mmap\nkeep = [mmap.mmap(-1, 2**30) for _ in range(4)]\n"
                                         "for m in keep: m.write(b'x' * 2**30)"),
    "a file without a name": first("import os\nf = os.memfd_create('x')\nwhile True: os.write(f, b'x' * 2**24)"),
    "files in /dev/shm": first("for i in range(1000):\n    open(f'/dev/shm/{i}', 'wb').write(b'x' * 2**24)"),
    "files in the home": first("for i in range(1000):\n    open(f'{i}', 'wb').write(b'x' * 2**24)"),
    "a million empty files": first("import os\nfor i in range(10**6):\n    os.close(os.open(str(i), os.O_CREAT))"),
    "files in /dev": first("for i in range(1000):\n    open(f'/dev/{i}', 'wb').write(b'x' * 2**24)"),
    "shared memory of System V": first(f"{LIBC}n = libc.shmget(0, 2**30, 0o1600)\nassert n >= 0\nlibc.shmat.restype = ctypes.c_void_p\n"
                                       "ctypes.memset(libc.shmat(n, 0, 0), 1, 2**30)"),
    "a stack that grows": first(FILL.format("libc.mmap(0, 2**30, 3, 0x122, -1, ctypes.c_long(0))")),
    "huge pages": first(FILL.format("libc.mmap(0, 2**30, 3, 0x40022, -1, ctypes.c_long(0))")),
    "private pages": first(FILL.format("libc.mmap(0, 2**30, 3, 0x22, -1, ctypes.c_long(0))")),
    "pages made writable afterwards": first(f"{LIBC}for _ in range(3):\n    at = libc.mmap(0, 2**30, 0, 0x22, -1, ctypes.c_long(0))\n"
                                            "    assert not libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(2**30), 3)\n"
                                            "    ctypes.memset(at, 1, 2**30)"),
    "code written over": first("import torch, mmap\nname = torch.__path__[0] + '/lib/libtorch_cpu.so'\nwith open(name, 'rb') as f:\n"
                               "    keep = [mmap.mmap(f.fileno(), 0, flags=2, prot=1) for _ in range(8)]\n"
                               "mem = open('/proc/self/mem', 'r+b', 0)\nfor row in open('/proc/self/maps'):\n"
                               "    if 'libtorch_cpu' in row and ' r--p' in row:\n"
                               "        a, b = (int(x, 16) for x in row.split()[0].split('-'))\n"
                               "        mem.seek(a); mem.write(b'x' * (b - a))"),
    "children": first("import os, time\nfor _ in range(20):\n    if not os.fork():\n        keep = torch.ones(10**8); time.sleep(60)"),
    "processes": first("import subprocess as s, sys\nx = 'x = bytes(10**9); input()'\n[s.Popen([sys.executable, '-c', x]) for _ in 'xxx']"),
    "threads": first("import threading\nkeep = []\ndef grow():\n    while True: keep.append(bytearray(10**7))\n"
                     "[threading.Thread(target=grow).start() for _ in range(9)]"),
    "a list": first("keep = []\nwhile True: keep.append('x' * 10**6)"),
    "shared tensors": first("keep = []\nwhile True: keep.append(torch.ones(10**7).share_memory_())"),
    "shared memory of Python": first("from multiprocessing.shared_memory import SharedMemory\nkeep = [SharedMemory(create=True, size=2**24)"
                                     " for _ in range(99)]\nfor m in keep: m.buf[:] = b'x' * 2**24"),
    "pipes": first("import fcntl, os\nwhile True:\n    r, w = os.pipe(); fcntl.fcntl(w, 1031, 2**20); os.set_blocking(w, False)\n"
                   "    os.write(w, b'x' * 2**20)"),
    "sockets": first("import socket\nkeep = []\nwhile True:\n    pair = socket.socketpair(); keep.append(pair)\n"
                     "    pair[0].setblocking(False); pair[0].send(b'x' * 2**18)"),
    "recursion": first("import resource, sys\nsys.setrecursionlimit(10**9)\ndef f(): return [f()]\nf()"),
    "a text of a gigabyte as its error": first("raise ValueError('x' * 10**9)"),
}  # fmt: skip
ESCAPES = {
    "a namespace of users": first(f"{LIBC}assert libc.unshare(0x10000000) == 0"),
    "clone3": first(f"{LIBC}if libc.syscall(435, bytes(88), 88) == 0:\n    while True: pass"),
    "a mount": first(f"{LIBC}assert libc.mount(b'none', b'/home/student', b'tmpfs', 0, 0) == 0"),
    "an executable": first("import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'while True: pass'])"),
    "ends everybody": first("import os, signal\nos.kill(-1, signal.SIGKILL)"),
    "ends its parents": first("import os\nfor pid in (os.getppid(), 1, 2):\n    try: os.kill(pid, 9)\n    except OSError: pass"),
    "stops itself": first("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"),
    "reads its parent": first("for what in ('mem', 'environ', 'maps'):\n    open(f'/proc/1/{what}', 'rb').read(10)"),
    "a socket to the host": first("import socket\nsocket.socket(40, socket.SOCK_STREAM)"),
    "looks for solutions": first("import glob, sys\nfor place in (sys.prefix, sys.base_prefix):\n"
                                 "    for path in glob.glob(f'{place}/**/labs/**/*.py', recursive=True):\n"
                                 "        text = open(path).read()\n"
                                 "        assert 'BEGIN ' + 'SOLUTION' not in text or 'REGION' in text, path"),
    "imports the course": first("from pelrp_nb.labs.course import linear"),
    "a link out of its home": first("import os\nos.symlink('/etc/passwd', 'mine')\nopen('mine').read()"),
    "never lets go": first("while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
    "sleeps": first("import time\ntime.sleep(10**6)"),
}  # fmt: skip
TEXTS = {
    "raises half a character": first(r"raise ValueError('\ud800')"),
    "is called half a character": first(r"labs.student('\ud800')"),
    "is called in colour": first(r"labs.student('\x1b[2J\x1b]0;gone\x07Ann')"),
    "is called a formula": first("labs.student('Ann;=1+1')"),
    "is called a wide formula": first("labs.student('＝1+1')"),
    "is called a page": first("labs.student('<script>alert(1)</script>')"),
    "is called backwards": first(r"labs.student('\u202egnp.nnA')"),
    "has a long name": first("labs.student('x' * 10**7)"),
    "has no name": first("labs.student('')"),
    "is written with half a character": Hostile(notebook([*cells(), "x = '\\ud800'"]).replace("\\\\ud800", "\\ud800")),
    "an error that cannot be said": first("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E"),
    "an error with a name of its own": first("raise type('\\n=1+1;\\x1b[2J', (BaseException,), {})('x')"),
    "an error that never ends": first("class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"),
}  # fmt: skip
ANSWERS = {
    "half a character": valued(r"by_hand = '\ud800'"),
    "a deep tuple": answered(asked("t = ()\n    for _ in range(900): t = (t,)\n    return t")),
    "a huge number": valued("by_hand = 10**4000"),
    "a wider number": valued("by_hand = 10**400"),
    "not a number": answered(asked("return x * float('nan')")),
    "a sparse tensor": answered(asked("return x.to_sparse()")),
    "a tensor without numbers": answered(asked("return x.to('meta')")),
    "an array that never ends": answered("class A:\n    def __array__(self, *a, **k):\n        while True: pass\n" + asked("return A()")),
    "a tensor that lies": answered("class T(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
                                   + asked("return x.as_subclass(T)")),
    "a number that lies": answered("class F(float):\n    __eq__ = __gt__ = __lt__ = lambda *a: True\n" + asked("return F(1)")),
    "a million numbers": answered(asked("return torch.ones(10**6)")),
    "ends the process": answered(asked("import os; os._exit(0)")),
    "leaves": answered(asked("raise SystemExit")),
    "an error that ends the process": answered("import os\nclass E(Exception):\n    def __str__(self): os._exit(1)\n" + asked("raise E")),
    "a class": answered("class my_epsilon:\n    def __init__(self, *a): pass"),
}  # fmt: skip
MESSAGES = {
    f"the seat's own messages: {what}": first(f"{SEAT}seat.say({said})", points)
    for what, said, points in (
        ("fewer than none", "done={'epsilon': -5, 'shares': True}, who=['x']", 0), ("no cell", "cell=10**9, error='x'", WHOLE),
        ("a cell before the first", "cell=-1", WHOLE), ("an answer", "id='x', answer=True", WHOLE),
        ("half a character", r"cell=1, error='\ud800'", WHOLE), ("calls that are none", "calls={'x': [1]}, exercise=['y']", WHOLE),
        ("reaches for nothing", "reaches=[1]", WHOLE), ("numbers for nobody", "given=['x'], who={'y': 1}", 0),
    )
} | {
    "a million questions": first("while True:\n    try: labs.given('by-hand')\n    except ValueError: pass"),
    "a deep message": first(f"{SEAT}seat.said.write(b'[' * 10**5 + b'\\n'); seat.said.flush()", WHOLE),
}  # fmt: skip
FILES: dict[str, Hostile] = {
    "metadata of nothing": Hostile(file(metadata=None), 0), "metadata in a list": Hostile(file(metadata={"pelrp": ["01"]})),
    "a lab in a list": Hostile(file(metadata={"pelrp": {"lab": ["01"], "version": {"a": 1}}})),
    "cells in a dict": Hostile(file(cells={"a": 1}), 0), "a cell of nothing": Hostile(file(cells=[None]), 0),
    "a source of nothing": Hostile(file(cells=[{"cell_type": "code", "source": None}]), 0),
    "a source of lists": Hostile(file(cells=[{"cell_type": "code", "source": [["x"]]}]), 0), "no kinds": Hostile(file(cells=[{}]), 0),
    "format 3": Hostile(json.dumps({"worksheets": [{"cells": []}], "nbformat": 3}), 0),
    "UTF-16": Hostile(notebook(cells()).encode("utf-16")), "a mark before it": Hostile(b"\xef\xbb\xbf" + notebook(cells()).encode()),
    "Latin-1": Hostile(notebook([*cells(), "x = 'é'"]).encode("latin-1"), 0), "deep": Hostile("[" * 10**6, 0),
    "a long number": Hostile(file(nbformat=1).replace('"nbformat": 1', f'"nbformat": {"1" * 5000}'), 0), "zeros": Hostile(b"\0" * 1000, 0),
    "infinite": Hostile(file(nbformat=float("inf"))),
}  # fmt: skip
SHORT = asked("return " + CALL.replace("rules.epsilon", "e"))
LEARNT = GOOD["epsilon"].replace("my_epsilon", "own")
CHEATS = {
    "by another name": answered(f"from pelrp_nb.rules import epsilon as e\n{SHORT}", note=CALLS),
    "found by its name": answered(f"e = getattr(rules, 'eps' + 'ilon')\n{SHORT}", note=CALLS),
    "by its fast form": answered(asked("from pelrp_nb.verbs import input_times_gradient as g\n    f = lambda x: rules.epsilon.forward(x, "
                                       "weight=weight, bias=bias, eps=eps)\n    return g(f, R, x)[0]"), note=CALLS),
    "out of a dictionary": answered(asked(f"return vars(rules)['epsilon']{CALL.removeprefix('rules.epsilon')}"), note=CALLS),
    "by way of PyTorch": answered(asked("return torch.utils.checkpoint.checkpoint(lambda r: " + CALL.replace("(R,", "(r,")
                                        + ", R.requires_grad_(), use_reentrant=False)"), note=CALLS),
    "in a thread": answered("import threading\n" + asked(f"a = []; t = threading.Thread(target=lambda: a.append({CALL})); t.start()\n"
                                                          "    t.join(); return a[0]"), note=CALLS),
    "watched by nobody": answered("import sys\nsys.setprofile(None)\n" + asked(f"return {CALL}"), note="switches off"),
    "watched later": answered("import sys\n" + asked(f"sys.setprofile(None); a = {CALL}; sys.setprofile(print)\n    return a"),
                              note="switches off"),
    "watched in no thread": answered("import threading\nthreading.setprofile(None)\n" + asked(f"return {CALL}"), note="switches off"),
    "by the reference": answered("from pelrp_nb.labs import course\nmy_epsilon = vars(course.by_name('epsilon'))['reference']"),
    "out of memory": answered("import gc\nfrom pelrp_nb.labs.exercise import Exercise as E\nmy_epsilon = next(e for e in gc.get_objects() "
                              "if isinstance(e, E) and e.name == 'epsilon').reference", note="searches the memory"),
    "by the engine": answered(asked("import pelrp_nb as p\n    return p.propagate(torch.nn.Linear(4, 3).double(), p.PA_LRP)")),
    "a value by a page": valued("x, weight, R = labs.given('by-hand')\nby_hand = rules.epsilon.relevance(R, x, weight=weight)[0]",
                                note="by-hand calls pelrp_nb.rules.epsilon"),
    "the page itself": answered("def my_epsilon(*a, f=rules.epsilon.relevance):\n    return f(*a[:2], weight=a[2], bias=a[3], eps=a[4])[0]",
                                note=CALLS),
    "true to everything": first("torch.allclose = torch.equal = lambda *a, **k: True\n" + LEARNT),
}  # fmt: skip
HOSTILE = {
    f"{kind}: {what}": each
    for kind, rows in (("memory", MEMORY), ("escapes", ESCAPES), ("texts", TEXTS), ("answers", ANSWERS), ("messages", MESSAGES),
                       ("files", FILES), ("cheats", CHEATS))
    for what, each in rows.items()
}  # fmt: skip
TOGETHER = (  # none ends the process, so that one submission holds them all
    "memory: shared pages without a name", "memory: a stack that grows", "escapes: a namespace of users", "escapes: an executable",
    "escapes: looks for solutions", "escapes: imports the course", "texts: raises half a character",
)  # fmt: skip
HOSTILE["together"] = Hostile(
    notebook([cells()[0], *(json.loads(HOSTILE[kind].text)["cells"][1]["source"] for kind in TOGETHER), *cells()[1:]])
)
NAMED = ("José".encode("latin-1"), b"\x1b[2J", b"a\nb", "＝1+1".encode(), b";=1+1", b"\xff\xfe", "\u202egnp".encode(), b"x" * 200)


def write(folder: Path, kinds: list[str]) -> dict[str, str]:
    """The submissions of some kinds, each in a folder of its own, some under names that are hostile too; file -> kind."""
    found = {}
    for number, kind in enumerate(kinds):
        place = Path(os.fsdecode(os.fsencode(folder / f"{number} ") + NAMED[number % len(NAMED)]))
        place.mkdir(parents=True)
        text = HOSTILE[kind].text
        (place / "lab_01.ipynb").write_bytes(text if isinstance(text, bytes) else text.encode())
        found[(place / "lab_01.ipynb").relative_to(folder).as_posix()] = kind
    return found


def undue(kind: str, grade) -> str:
    """Why a grade is not what a hostile submission may get; nothing if it is."""
    due, private = HOSTILE[kind], " ".join(grade.private)
    noted = due.note and re.search(due.note, private)
    if grade.points == due.points or (noted and grade.points > due.points):
        return "" if noted or not due.note else f"no note like {due.note!r}: {private}"
    return f"{grade.points} points, worth {due.points}; {' '.join(grade.notes)} {private}"


class Peak(threading.Thread):
    """The most memory that any sandbox of this process held, with the files it made, looked at fifty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes, self.over = 0.0, threading.Event()

    def run(self) -> None:
        from pelrp_nb.labs import meter

        while not self.over.wait(0.02):
            for box in (int(each) for each in children(os.getpid())):
                taken = meter.memory(box)
                if taken > 2**20 * max(self.megabytes, 1000):
                    taken = meter.shared_out(box)
                for place in ("/home/student", "/dev/shm", "/dev"):
                    with suppress(OSError, StopIteration):
                        inside = os.statvfs(f"/proc/{[*meter.family(box)][-1]}/root{place}")
                        taken += (inside.f_blocks - inside.f_bfree) * inside.f_bsize if inside.f_blocks < 2**20 else 0
                self.megabytes = max(self.megabytes, taken / 2**20)


def children(pid: int) -> list[str]:
    """The processes that one has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += (task / "children").read_text().split()
    return found


def main(wanted: str = "") -> int:
    """Grade those whose kind holds this text; 1 if any is graded wrong or takes too much."""
    from pelrp_nb.labs.batch import grade_folder
    from pelrp_nb.labs.sandbox import Bounds

    bounds = Bounds(cell=8, answer=4)
    with tempfile.TemporaryDirectory() as folder:
        kinds = write(Path(folder) / "in", [kind for kind in HOSTILE if wanted in kind])
        began, peak = time.monotonic(), Peak()
        peak.start()
        grades = grade_folder(Path(folder) / "in", Path(folder) / "out", jobs=2, bounds=bounds)
        peak.over.set()
        took = time.monotonic() - began
    wrong = [f"{kind}: {why}" for grade in grades if (why := undue(kind := kinds[grade.submission], grade))]
    print("\n".join(wrong))
    print(f"{len(grades) - len(wrong)} of {len(kinds)} hostile submissions right in {took / 60:.1f} minutes")
    print(f"at most {peak.megabytes:.0f} MB in a sandbox, {peak.megabytes / bounds.megabytes:.2f} of its bound")
    return 1 if wrong or len(grades) < len(kinds) or peak.megabytes > 1.2 * bounds.megabytes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
