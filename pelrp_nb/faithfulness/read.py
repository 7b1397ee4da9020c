"""From an example to a case: tokens, target, truth and mask as the model sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.support import dtype_of
from ..errors import InputError
from ..inputs.encode import encode
from ..inputs.model_input import Labels
from ..targets.labels import label_names, label_number, token_number
from .examples import Example, seed_of
from .subject import Case, Row, Subject


def case_of(subject: Subject, example: Example, index: int) -> Case:
    """What the model reads of an example, and its answer.

    Raises InputError where the text is too long or empty, the label is none of the model's, or a picture has a wrong size.
    """
    if example.image is not None:
        return _picture(subject, example, index)
    if not isinstance(example.text, str):
        raise InputError(f"An example must have a text or an image, got {example}. Look at the columns.")
    encoded = encode(subject.model, shortened(subject, example.text), subject.processor)
    row = {name: value[0].cpu() for name, value in encoded.tensors.items()}
    row.setdefault("attention_mask", torch.ones_like(row["input_ids"]))
    labels = next(iter(encoded.labels.values()), Labels())
    case = Case(row, labels.tokens, labels.special, -1, torch.empty(0), *_identity(subject, example, index), labels.text)
    return _answered(subject, replace(case, truth=places(example.truth, labels)), example.label)


def _picture(subject: Subject, example: Example, index: int) -> Case:
    """A picture with the mask of what is explained."""
    pixels = as_pixels(subject, example.image)
    case = Case({"pixel_values": pixels}, (), (), -1, torch.empty(0), *_identity(subject, example, index))
    case = _answered(subject, case, example.label)
    given = example.mask(case.target) if callable(example.mask) else example.mask
    return case if given is None else replace(case, mask=as_mask(given, (pixels.shape[-2], pixels.shape[-1])))


def _identity(subject: Subject, example: Example, index: int) -> tuple[int, str, int]:
    digest = example.digest()
    return seed_of(subject.configuration.seed, digest, index, "case"), digest, index


def _answered(subject: Subject, case: Case, label: int | str | None) -> Case:
    """The case with the model's answer, and the class that is explained."""
    answer = subject.answers([case.row])[0]
    if not torch.isfinite(answer).all():
        raise InputError("The model's logits must be finite, and are not on this example.")
    settings = subject.configuration
    wanted = settings.images.explained if case.seen else settings.text.explained
    if wanted == "labelled" and label is None:
        raise InputError('explained="labelled" needs a label, and this example has none. Type explained="predicted".')
    number = None if label is None else class_number(subject, label, len(answer))
    target = number if wanted == "labelled" and number is not None else int(answer.argmax())
    return replace(case, target=target, answer=answer)


def class_number(subject: Subject, label: int | str, classes: int) -> int:
    """A label of the data as a class of the model."""
    names = label_names(subject.model, classes)
    if isinstance(label, bool | int | np.integer):
        if not 0 <= int(label) < classes:
            raise InputError(
                f"The data have the label {label}, and the model has {classes} classes, 0 to {classes - 1}. "
                "Take a model trained on these labels, or map the column first."
            )
        return int(label)
    return label_number(label, names) if names else token_number(label, subject.processor, classes)


def shortened(subject: Subject, text: str) -> str:
    """The text cut after so many tokens as the settings say."""
    most = subject.configuration.text.longest
    if most is None or subject.tokenizer is None:
        return text
    encoding = subject.tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=most)
    return text[: max(end for _, end in encoding["offset_mapping"])]


def places(truth: tuple[Any, ...] | None, labels: Labels) -> tuple[int, ...] | None:
    """The tokens that overlap with the relevant spans (start, end) or words of the text."""
    if truth is None or not truth:
        return None
    if labels.offsets is None or labels.text is None:
        raise InputError("Truth in spans or words needs a fast tokenizer, which knows where its tokens stand.")
    spans = []
    for item in truth:
        if isinstance(item, str):
            start = labels.text.find(item)
            if start < 0:
                raise InputError(f"The truth names {item!r}, and the text does not hold it: {labels.text[:80]!r}.")
            spans.append((start, start + len(item)))
        else:
            spans.append((int(item[0]), int(item[1])))
    found = [t for t, o in enumerate(labels.offsets) if o and any(min(o[1], end) > max(o[0], start) for start, end in spans)]
    if not found:
        raise InputError(f"The truth {truth} covers no token of {labels.text[:80]!r}.")
    return tuple(found)


def as_pixels(subject: Subject, image: Any) -> Tensor:
    """(C, H, W) as the model takes them: a tensor as it is, anything else through the processor."""
    if isinstance(image, Tensor):
        pixels = image
    elif subject.processor is None:
        raise InputError("A picture needs the model's image processor. Type processor=AutoImageProcessor.from_pretrained(name).")
    else:
        if isinstance(image, np.ndarray):
            from PIL import Image

            image = Image.fromarray(image)
        picture = image.convert("RGB") if getattr(image, "mode", "RGB") not in ("RGB", "L") else image
        pixels = subject.processor(images=picture, return_tensors="pt")["pixel_values"][0]
    if pixels.dim() != 3:
        raise InputError(f"A picture must have the shape (channels, height, width), got {tuple(pixels.shape)}.")
    return pixels.to(dtype_of(subject.model)).cpu()


def as_mask(mask: Any, size: tuple[int, int]) -> Tensor:
    """(H, W) in float: 1 on the object, 0 beside it, nan where nobody judged; resized to the nearest pixel."""
    found = torch.as_tensor(np.asarray(mask).astype(np.float32))
    if found.dim() == 3:
        found = found[..., 0] if found.shape[-1] in (1, 3, 4) else found[0]
    if found.dim() != 2 or 0 in found.shape:
        raise InputError(f"A mask must have the shape (height, width), got {tuple(found.shape)}.")
    found = torch.where(found == 255, torch.nan if found.max() == 255 and found.unique().numel() > 2 else 1.0, found)
    if not (found > 0).any():
        raise InputError("The mask is empty: what is explained is not in the picture.")
    resized = torch.nn.functional.interpolate(found[None, None], size, mode="nearest-exact")[0, 0]
    return torch.where(resized.isnan(), resized, (resized > 0).float())


def ordinary(case: Case, special: str) -> list[int]:
    """Places of the tokens that may be replaced."""
    return [t for t in range(len(case.tokens)) if special == "replace" or not case.special[t]]


def without(row: Row, places: list[int], token: int) -> Row:
    """The row with another token at these places."""
    ids = row["input_ids"].clone()
    ids[places] = token
    return {**row, "input_ids": ids}
