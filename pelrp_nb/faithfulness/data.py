"""Data by name: a task of the zoo, a recipe with the user's path, a local file, a dataset of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .. import zoo
from ..errors import InputError, ZooError
from ..inputs.files import SUFFIXES, rows_of
from .examples import Example, first
from .recipes import RECIPES, example_of
from .sources import of_the_hub

ALSO = {"first-half majority": "first-half"}  # other names of tasks
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")


def load(name: str, limit: int | None = None, *, split: str = "test", columns: Mapping[str, str] | None = None) -> Iterator[Example]:
    """The examples of a data set, one after the other; nothing is read before it is needed.

    Args:
        name: a task of the zoo (`reviews`), a recipe (`imdb=FOLDER`), a file (csv, tsv, json, jsonl, parquet), a folder of
            `datasets`, or a dataset of the hub (`owner/name`, `owner/name:configuration`): only that one may be fetched.
        limit: at most so many.
        split: which part, for the hub and recipes.
        columns: which columns hold text, label, image, mask, truth, where they are not called so.

    Raises:
        InputError: there is no such data, they are empty, or a column is missing.
    """
    return first(_found(name, split, dict(columns or {})), limit)


def _found(name: str, split: str, columns: Mapping[str, str]) -> Iterator[Example]:
    recipe, given, path = name.partition("=")
    if given:
        if recipe not in RECIPES:
            raise InputError(f"There is no recipe {recipe!r}. The recipes are: {', '.join(f'{r}=PATH' for r in RECIPES)}.")
        return RECIPES[recipe](Path(path), split)
    if name in RECIPES:
        raise InputError(f"The recipe {name} needs the path of your data. Type --data {name}=PATH.")
    if Path(name).suffix.lower() in SUFFIXES:
        return (example_of(row, columns, Path(name).parent) for row in rows_of(Path(name)))
    if _HUB_NAME.fullmatch(name) or Path(name).is_dir():
        return (example_of(row, columns, Path(name)) for row in of_the_hub(name, split))
    try:
        return map(of_the_zoo, zoo.task(ALSO.get(name, name)).examples)
    except ZooError as error:
        near = get_close_matches(name, RECIPES, 1)
        hint = f" Or did you mean the recipe {near[0]}=PATH?" if near else ""
        raise InputError(f"{error}{hint} Or name a file ({', '.join(SUFFIXES)}) or a dataset of the hub, owner/name.") from error


def of_the_zoo(example: Any) -> Example:
    """An example of a task of the zoo: a text with or without truth, or a scene whose mask depends on the explained class."""
    truth = getattr(example, "truth", None)
    if hasattr(example, "image"):
        return Example(label=example.label, image=example.image, mask=truth)
    return Example(example.text, example.label, None if truth is None else words_at(example.text, truth.tokens))


def words_at(text: str, places: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The character spans (start, end) of words, counted from 0."""
    spans = [word.span() for word in re.finditer(r"\S+", text)]
    return tuple(spans[i] for i in places)
