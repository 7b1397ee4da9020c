"""Pictures through an image processor; the size that the user's own picture has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .arguments import processed, refuse_unheard
from .convert import in_numpy, is_array, like_weights
from .text import accepted, tokenizer_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def image_processor_of(processor: Any) -> Any:
    """The image processor that a processor is or holds; None without one."""
    inner = getattr(processor, "image_processor", None)
    if inner is not None:
        return inner
    return processor if "pixel_values" in getattr(processor, "model_input_names", ()) and tokenizer_of(processor) is None else None


def as_picture(given: Any) -> Any:
    """A picture as bytes (H, W, 3): PIL of any mode, grey or colour arrays with or without alpha, channels first or last.

    Numbers between 0 and 1 are shares of white, others bytes.  Raises InputError for other shapes and ranges, with the sizes.
    """
    import numpy as np

    if hasattr(given, "convert"):
        return np.asarray(given.convert("RGB"))
    x = in_numpy(given) if isinstance(given, Tensor) else np.asarray(given)
    if x.dtype.kind not in "biuf":
        raise InputError(f"A picture must hold real numbers, got {x.dtype}. Type np.asarray(x, dtype=float).")
    if x.ndim == 3 and x.shape[0] in (1, 3, 4) and x.shape[2] not in (1, 3, 4):
        x = x.transpose(1, 2, 0)
    x = x[..., None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4) or 0 in x.shape:
        raise InputError(f"A picture must be (height, width), (height, width, 3) or (3, height, width); got {np.shape(given)}.")
    x = np.repeat(x, 3, 2) if x.shape[2] == 1 else x[..., :3]
    if x.dtype == bool or (x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1):
        x = x * 255.0
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 255:
        raise InputError(
            f"A picture must hold numbers from 0 to 1 or from 0 to 255; got {x.min():g} to {x.max():g}. "
            "If it is normalised already, type dict(pixel_values=x)."
        )
    return np.round(x).astype(np.uint8)


def is_pil(x: Any) -> bool:
    """Whether x is a PIL image, without importing PIL."""
    return any(f"{c.__module__}.{c.__name__}" == "PIL.Image.Image" for c in type(x).__mro__)


def is_picture(x: Any, processor: Any) -> bool:
    """Whether x is a picture: PIL, an array of two or three axes, or a path where only pictures are processed."""
    if is_pil(x) or (is_array(x) and x.ndim in (2, 3)):
        return True
    if isinstance(x, Path):
        return True
    return isinstance(x, str) and tokenizer_of(processor) is None and image_processor_of(processor) is not None


def is_batch(x: Any) -> bool:
    """Whether x is an array of several pictures."""
    return is_array(x) and x.ndim == 4


def opened(x: Any) -> Any:
    """The picture itself, if x is a path."""
    if not isinstance(x, str | Path):
        return x
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("A picture's path needs the package pillow. Type pip install pillow, or pass an array.") from error
    try:
        with Image.open(x) as file:
            return file.convert("RGB")
    except FileNotFoundError:
        raise InputError(f"There must be a picture at {x}, and there is none. Type its path, or pass the picture.") from None
    except Exception as error:  # of a broken file PIL raises whatever its reader meets
        raise InputError(f"{x} must be a picture, and cannot be read as one. Pass a file of {', '.join(SUFFIXES[:3])}.") from error


def from_picture(model: nn.Module, given: Any, processor: Any, text: str | None) -> tuple[dict[str, Tensor], Any]:
    """Tensors of one picture, and its bytes (H, W, 3); with a text where the processor makes room for the picture in it."""
    refuse_unheard(model, "A picture, its path, or an array of two or three axes,", ("pixel_values",))
    worker = image_processor_of(processor)
    if worker is None:
        raise InputError(
            f"A picture needs the image processor that {type(model).__name__} was trained with. "
            "Type processor=AutoImageProcessor.from_pretrained(name), or pass dict(pixel_values=...)."
        )
    picture = as_picture(opened(given))
    told = {"input_data_format": "channels_last"} if len(picture) < 5 else {}  # so low that rows could be taken for channels
    made: Mapping[str, Any] = processed(worker, "this picture", images=picture, return_tensors="pt", **told)
    if text is not None and worker is not processor and makes_room(processor):
        made = processed(processor, "this text and picture", text=text, images=picture, return_tensors="pt")
    return {k: like_weights(model, v) for k, v in accepted(model, made).items()}, picture


def small(picture: Any, most: int = 320) -> Any:
    """The picture (H, W, 3) with at most so many pixels a side: squares of pixels are averaged."""
    step = -(-max(picture.shape[:2]) // most)
    rows, columns = (n // step for n in picture.shape[:2])
    if step == 1 or not rows or not columns:
        return picture[::step, ::step]
    squares = picture[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return squares.mean((1, 3)).round().astype(picture.dtype)


def makes_room(processor: Any) -> bool:
    """Whether a processor writes a picture's place into the text."""
    return any(getattr(processor, name, None) is not None for name in ("image_token", "image_token_id", "image_seq_length"))
