"""`bench calls`: how much of the package one short explanation enters: functions, files, calls.

What a newcomer would meet if he followed it in a debugger.  The numbers depend on the code and on Python's version (from 3.12 on
comprehensions are no calls), not on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent
TEXT = "a gorgeous , witty film"


@dataclass(frozen=True)
class Calls:
    """What was entered under one folder, and how often: code objects with their counts."""

    entered: Counter[CodeType]
    root: Path

    @property
    def functions(self) -> int:
        """Functions with a name; lambdas, comprehensions and generator expressions belong to the function around them."""
        return sum(not code.co_name.startswith("<") for code in self.entered)

    @property
    def files(self) -> int:
        return len({code.co_filename for code in self.entered})

    @property
    def calls(self) -> int:
        """Every time that any of them was entered, generators each time that they were resumed."""
        return self.entered.total()

    def most(self, count: int) -> list[tuple[str, int]]:
        """The functions that are entered most often, as `file:line name`."""
        ranked = self.entered.most_common(count)
        return [(f"{Path(c.co_filename).relative_to(self.root)}:{c.co_firstlineno} {c.co_qualname}", n) for c, n in ranked]


def entered(run: Callable[[], Any], root: Path = PACKAGE) -> Calls:
    """Run it in this thread, and count the Python functions of the files under `root` that it enters."""
    found: Counter[CodeType] = Counter()
    within = f"{root}/"

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(within):
            found[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(before)
    return Calls(found, root)


def calls(argv: list[str] | None = None) -> int:
    """`bench calls`: functions, files and calls of the package that one short explanation enters."""
    from .. import zoo
    from ..explain import explain

    parser = argparse.ArgumentParser(prog="python -m pelrp_nb bench calls", description=calls.__doc__)
    parser.add_argument("text", nargs="?", default=TEXT, help=f"what is explained ({TEXT})")
    parser.add_argument("--model", default="reviews-rotary", help="a classifier of the zoo (reviews-rotary)")
    parser.add_argument("--most", type=int, default=0, help="show so many of the functions entered most often")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    model, tokenizer = zoo.load(given.model)
    explained = partial(explain, model, given.text, processor=tokenizer)
    explained()  # what is imported late or kept is so now
    found = entered(explained)
    numbers = {"functions": found.functions, "files": found.files, "calls": found.calls}
    if given.json:
        print(json.dumps({**numbers, "python": platform.python_version(), "most": found.most(given.most)}))
        return 0
    print(f"one explanation of {given.text!r} by {given.model}, Python {platform.python_version()}:")
    print(", ".join(f"{count:,} {what}" for what, count in numbers.items()))
    for name, count in found.most(given.most):
        print(f"{count:>8,}  {name}")
    return 0
