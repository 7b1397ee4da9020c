"""Every method on every model and task of the zoo, and the page that says what came out.

    python -m pelrp_nb.faithfulness.sweep FOLDER --out tutorials/faithfulness.md             one seed of each, every method
    python -m pelrp_nb.faithfulness.sweep FOLDER --seeds --out tutorials/faithfulness.md     every seed of the task models

Results stay in FOLDER, one file per model and task: what is there is not done again, so a sweep can be stopped at any time, and the
page can be written again in seconds. Each of the two writes its own tables into the page and leaves the rest alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import zoo
from ..errors import ZooError
from ..results.generated import put_between
from . import sweep_page, sweep_seeds, sweep_seeds_page
from .command import ready
from .methods import ALL, CONTROLS
from .result import Result
from .runner import Output, measure
from .settings import OURS_IMAGES, Configuration

KINDS = ("recall", "fetch", "order", "previous", "majority", "first-half")
TASKS = {"reviews": ("reviews",), "tasks": KINDS, "scenes": ("digit-scenes",)}


@dataclass(frozen=True)
class Sizes:
    """How many examples of each task: review sentences, questions of each kind, scenes."""

    reviews: int = 300
    tasks: int = 60
    scenes: int = 40


def wanted(sizes: Sizes, methods: Sequence[str] = (*ALL, *CONTROLS)) -> Iterator[Configuration]:
    """A configuration for every model of the zoo and every task that it was trained for."""
    base = Configuration(methods=tuple(methods))
    for name in zoo.names():
        kind = name.partition("-")[0]
        if "-lm-" in name or kind not in TASKS:
            continue
        for data in TASKS[kind]:
            limit = getattr(sizes, kind)
            everything = kind == "reviews" and limit >= len(zoo.task("reviews").examples)
            images = replace(OURS_IMAGES, explained="labelled") if kind == "scenes" else base.images
            yield replace(base, model=name, data=data, limit=None if everything else limit, images=images)


def run(folder: Path, sizes: Sizes, only: Sequence[str], methods: Sequence[str] = (*ALL, *CONTROLS)) -> list[Result]:
    """The results of all, from their files where they are complete."""
    found = []
    for configuration in wanted(sizes, methods):
        if only and configuration.model not in only:
            continue
        path = folder / f"{configuration.model}-{configuration.data}.jsonl"
        try:
            loaded = ready(configuration, "auto")
        except ZooError as error:
            print(f"{configuration.model} is left out: {error}", file=sys.stderr)
            continue
        print(f"{configuration.model} on {configuration.data}", file=sys.stderr)
        found.append(measure(*loaded, configuration, output=Output(path, "resume", True)))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and write its tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.faithfulness.sweep", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page whose tables are written (Markdown)")
    parser.add_argument("--seeds", action="store_true", help="every seed of the task models, with intervals over models and questions")
    parser.add_argument("--only", default="", metavar="A,B", help="models; all if absent")
    parser.add_argument("--methods", default="", metavar="A,B", help="if absent all, with --seeds " + ", ".join(sweep_seeds.METHODS))
    d = Sizes()
    parser.add_argument("--reviews", type=int, default=d.reviews, metavar="N", help=f"review sentences ({d.reviews})")
    parser.add_argument("--tasks", type=int, default=d.tasks, metavar="N", help=f"questions of each kind ({d.tasks})")
    parser.add_argument("--scenes", type=int, default=d.scenes, metavar="N", help=f"scenes ({d.scenes})")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    only, methods = (tuple(filter(None, text.split(","))) for text in (given.only, given.methods))
    if given.seeds:
        over = sweep_seeds.run(given.folder, given.tasks, only, methods or sweep_seeds.METHODS)
        _put(given.out, sweep_seeds_page.markdown(over), sweep_seeds_page.BEGIN, sweep_seeds_page.END)
    else:
        sizes = Sizes(given.reviews, given.tasks, given.scenes)
        results = run(given.folder, sizes, only, methods or (*ALL, *CONTROLS))
        _put(given.out, sweep_page.page(results), sweep_page.BEGIN, sweep_page.END)
    return 0


def _put(path: Path | None, tables: str, begin: str, end: str) -> None:
    if path is not None:
        put_between(path, tables, begin, end)


if __name__ == "__main__":
    sys.exit(main())
