"""The data of the papers, from files that the user has, in the form in which they are handed out.

imdb=FOLDER                     aclImdb, with test/pos/*.txt and test/neg/*.txt; or a table with text and label
arc-easy=FILE                   jsonl as AI2 hands it out, or parquet as on the hub; asked with ARC_PROMPT
wikipedia=FILE                  any table with a column text; the model's next word is explained
imagenet=FOLDER                 a folder of pictures per class, in the order of their names
imagenet-segmentation=FILE      gtsegs_ijcv.mat (HDF5), or a folder with images/ and masks/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import InputError
from ..extras import extra
from ..inputs.files import Columns, rows_of
from .examples import Example
from .sources import of_the_hub

ARC_PROMPT = "Question: {question}\n{choices}\nAnswer:"
ARC_CHOICE = "{label}. {text}"
PICTURES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")


def imdb(path: Path, split: str) -> Iterator[Example]:
    """Film reviews, 0 negative and 1 positive; the two classes in turn, so that the first few are a fair sample."""
    if not path.is_dir():
        for row in rows_of(path):
            text, label = row.get("text", row.get("review")), row.get("label", row.get("sentiment"))
            number = {"negative": 0, "neg": 0, "positive": 1, "pos": 1}.get(str(label), label)
            yield Example(text, int(number) if number is not None else None)
        return
    root = path / split if (path / split).is_dir() else path
    kinds = [sorted((root / name).glob("*.txt")) for name in ("neg", "pos")]
    if not all(kinds):
        raise InputError(f"imdb needs the folders {root / 'neg'} and {root / 'pos'} with texts, as in aclImdb.")
    for pair in zip(*kinds, strict=False):
        for label, file in enumerate(pair):
            yield Example(file.read_text(encoding="utf-8").replace("<br />", " "), label)


def arc_easy(path: Path, split: str) -> Iterator[Example]:
    """Science questions with named answers; the label is the right answer's letter, as the model's next token."""
    for row in rows_of(path) if path.suffix else of_the_hub(str(path), split):
        question, choices = row.get("question"), row.get("choices")
        if isinstance(question, Mapping):  # as AI2 hands it out
            question, choices = question["stem"], question["choices"]
        if isinstance(choices, Mapping):  # as on the hub
            choices = [{"label": a, "text": b} for a, b in zip(choices["label"], choices["text"], strict=True)]
        if question is None or not choices:
            raise InputError(f"A row of ARC must have a question and choices, got the columns {', '.join(row)}.")
        listed = "\n".join(ARC_CHOICE.format(**choice) for choice in choices)
        yield Example(ARC_PROMPT.format(question=question, choices=listed), row.get("answerKey"))


def wikipedia(path: Path, split: str) -> Iterator[Example]:
    """Articles without a label; cut them with `longest` in the text settings."""
    for row in rows_of(path) if path.suffix else of_the_hub(str(path), split):
        if str(row.get("text") or "").strip():
            yield Example(str(row["text"]).strip())


def imagenet(path: Path, split: str) -> Iterator[Example]:
    """Pictures in a folder per class; the class number is the place of the folder's name in their order."""
    from PIL import Image

    root = path / split if (path / split).is_dir() else path / "val" if (path / "val").is_dir() else path
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if not folders:
        raise InputError(f"imagenet needs a folder with one folder of pictures per class; {root} has none.")
    listed = [sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES) for folder in folders]
    for turn in range(max(map(len, listed))):  # class by class, so that the first few are a fair sample
        for label, files in enumerate(listed):
            if turn < len(files):
                with Image.open(files[turn]) as picture:
                    yield Example(label=label, image=picture.convert("RGB"), picture_of=files[turn].name)


def imagenet_segmentation(path: Path, split: str) -> Iterator[Example]:
    """Pictures with the mask of their object, 4,276 of them in the file of Guillaumin et al. 2014."""
    if path.is_dir():
        yield from _pairs(path)
        return
    if not path.is_file():
        raise InputError(f"imagenet-segmentation needs the file gtsegs_ijcv.mat or a folder; there is no {path}.")
    h5py = extra("h5py", "imagenet-segmentation")
    try:
        with h5py.File(path, "r") as file:
            images, masks = file["value/img"], file["value/gt"]
            for i in range(images.shape[0]):
                image = np.asarray(file[images[i, 0]]).transpose(2, 1, 0)
                mask = np.asarray(file[file[masks[i, 0]][0, 0]]).T
                yield Example(image=image.astype(np.uint8), mask=mask, picture_of=f"{path.name} {i}")
    except (OSError, KeyError) as error:
        raise InputError(f"{path} must be HDF5 with value/img and value/gt, as gtsegs_ijcv.mat is, but {error}.") from error


def _pairs(path: Path) -> Iterator[Example]:
    """Files of the same name in images/ and masks/."""
    from PIL import Image

    if not (path / "images").is_dir() or not (path / "masks").is_dir():
        raise InputError(f"A folder for segmentation must have the folders images and masks; {path} has not.")
    masks = {p.stem: p for p in (path / "masks").iterdir()}
    for file in sorted((path / "images").iterdir()):
        if file.stem not in masks:
            raise InputError(f"{file.name} has no mask of the same name in {path / 'masks'}.")
        with Image.open(file) as picture, Image.open(masks[file.stem]) as mask:
            yield Example(image=picture.convert("RGB"), mask=np.asarray(mask), picture_of=file.name)


Recipe = Callable[[Path, str], Iterator[Example]]
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "imdb": imdb, "arc-easy": arc_easy, "wikipedia": wikipedia, "imagenet": imagenet,
        "imagenet-segmentation": imagenet_segmentation,
    }
)  # fmt: skip


def example_of(row: Columns, columns: Mapping[str, str], folder: Path) -> Example:
    """A row of a table as an example; raises InputError where it has neither text nor image."""
    named = {part: columns.get(part, part) for part in ("text", "label", "image", "mask", "truth")}
    for part, column in columns.items():
        if column not in row:
            raise InputError(f"The data have no column {column!r} for the {part}. They have: {', '.join(map(str, row))}.")
    text, image = row.get(named["text"]), row.get(named["image"])
    if text is None and image is None:
        raise InputError(
            f"A row must have a column text or image, and has: {', '.join(map(str, row))}. "
            "Name it: --columns text=NAME or --columns image=NAME."
        )
    if text is None:
        mask = row.get(named["mask"])
        return Example(label=number(row.get(named["label"])), image=opened(image, folder), mask=opened(mask, folder))
    return Example(str(text), number(row.get(named["label"])), spans(row.get(named["truth"])))


def number(label: Any) -> int | str | None:
    """A label as a number where it is one."""
    if label is None or label == "":
        return None
    if isinstance(label, bool | int | np.integer):
        return int(label)
    if isinstance(label, float) and label == int(label):
        return int(label)
    return int(label) if str(label).removeprefix("-").isdecimal() else str(label)


def spans(truth: Any) -> tuple[Any, ...] | None:
    """Words, or pairs of character offsets; from a text, JSON or words between bars."""
    import json

    if truth is None or truth == "":
        return None
    if isinstance(truth, str):
        try:
            truth = json.loads(truth)
        except ValueError:
            truth = [part.strip() for part in truth.split("|")]
    found = tuple(item if isinstance(item, str) else (int(item[0]), int(item[1])) for item in truth)
    return found or None


def opened(value: Any, folder: Path) -> Any:
    """A picture from a file name, from bytes as the hub has them, or as it is."""
    from PIL import Image

    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        import io

        value = Image.open(io.BytesIO(value))
    elif isinstance(value, str):
        path = Path(value) if Path(value).is_absolute() else folder / value
        if not path.is_file():
            raise InputError(f"There must be a picture {path}, and there is none.")
        value = Image.open(path)
    return value
