"""What `python -m pelrp_nb zoo list|card|check|truth` prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ZooError
from ..results.generated import put_between
from .catalogue import MODELS
from .shelf import card, check, names, packaged


def run(action: str, name: str | None, limit: int | None, json_file: str | None, markdown_file: str | None) -> int:
    """One command; the exit status: 0, or 1 where a model does worse than its card states."""
    if limit is not None and limit < 1:
        raise ZooError(f"There must be at least one example, but --limit is {limit}. Type --limit 1.")
    if action == "truth":
        return _truth(limit, json_file, markdown_file)
    found = [name] if name else names()
    return max([_ACTIONS[action](one, card(one), limit) for one in found], default=0)


def _list(name: str, stated: Mapping[str, Any], limit: int | None) -> int:
    print(f"{name:<20} {accuracy(stated)}, {stated['bytes'] / 1e6:.1f} MB")
    return 0


def _card(name: str, stated: Mapping[str, Any], limit: int | None) -> int:
    print(json.dumps(dict(stated), indent=1, ensure_ascii=False))
    return 0


def _check(name: str, stated: Mapping[str, Any], limit: int | None) -> int:
    """Measured again on the packaged examples; a subset may miss what is stated by its own sampling error, all of them may not."""
    found, count = check(name, limit=limit), len(packaged(stated).examples[:limit])
    expected = stated["packaged_accuracy"]
    whole = count == stated["packaged_examples"]
    allowed = 0.005 if whole else 3 * (max(expected * (1 - expected), 0.01) / count) ** 0.5
    right = found >= expected - allowed
    print(f"{name:<20} {found:.1%} of {count} held-out examples, stated {expected:.1%}{'' if right else ': too low'}")
    return 0 if right else 1


_ACTIONS = {"list": _list, "card": _card, "check": _check}


def accuracy(stated: Mapping[str, Any]) -> str:
    """The accuracy of a card in words."""
    what = {
        "tasks": "questions", "digit-scenes": "scenes", "next-word": "next tokens in sentences", "reviews": "sentences",
        "induction": "lines",
    }.get(stated["task"], "examples")  # fmt: skip
    return f"{stated['accuracy']:.1%} of {stated['examples']:,} {what}"


def _truth(limit: int | None, json_file: str | None, markdown_file: str | None) -> int:
    from . import truth, truth_page

    with _bar() as tell:
        rows = truth.table(truth.LIMIT if limit is None else limit, tell=tell)
    print(truth_page.markdown(rows))
    if json_file:
        Path(json_file).write_text(json.dumps(truth_page.plain(rows), indent=1) + "\n", encoding="utf-8")
    if markdown_file:
        truth_page.write(rows, Path(markdown_file))
    return 0


def truth_of_seeds(seeds: str, limit: int | None, markdown_file: str | None) -> int:
    """The table of truth over several seeds of each model, those of the package or of a folder, printed and written."""
    from . import truth, truth_of_seeds

    with _bar() as tell:
        rows = truth_of_seeds.table(Path(seeds) if seeds else None, truth.LIMIT if limit is None else limit, tell)
    print(made := truth_of_seeds.markdown(rows))
    if markdown_file:
        put_between(Path(markdown_file), made, truth_of_seeds.BEGIN, truth_of_seeds.END)
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[str], None]]:
    """A progress bar over kinds of positions and of questions."""
    from tqdm.auto import tqdm

    from .questions import KINDS

    positions = [entry for entry in MODELS.values() if entry.task == "tasks"]
    with tqdm(total=len(positions) * len(KINDS), desc="truth", unit="task", disable=not sys.stderr.isatty()) as bar:

        def tell(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        yield tell
