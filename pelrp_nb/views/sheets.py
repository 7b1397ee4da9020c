"""The views one asks for by name: each takes results, which are plain data by then, and gives a sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from ..amounts import MINUS
from ..errors import InputError
from .data import Plain, coarse
from .differences import differing
from .module_map import mapped
from .payload import label, parts_of, payload
from .reading import reading
from .sheet import Sheet
from .html_card import beside, fallback
from .table import listing
from .text import line, title, visible
from .worth import of_result


SIDE = 320  # pixels of a picture that is drawn
RAW = 30_000  # bytes of a picture that is sent as it is
CARDS = ("explanation", "image")  # kinds of view that begin with the card of the result


class Result(Protocol):
    """What can be shown: an Explanation, or anything with these."""

    def plain(self) -> Plain: ...
    def sheet(self, kind: str = "explanation") -> Sheet: ...


def explained(
    data: Plain, kind: str = "explanation", *, rules: Mapping[str, Any] | None = None, detail: Mapping[str, Any] | None = None,
    images: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sheet:  # fmt: skip
    """One explanation; `rules` as `pages.pages` gives them, `detail` with arrays, `images` by stream, see `framed`."""
    drawn = payload(data, rules)
    more = parts_of(detail or {})
    drawn["offers"] = sorted(more)
    mapped_over = {name for name, one in (images or {}).items() if "both" in one}
    kind = "image" if kind == "explanation" and mapped_over else kind
    if kind in CARDS:
        drawn["reading"] = reading(data)
        for name, one in (images or {}).items():
            shown = drawn["streams"][name] if name else drawn
            if name in mapped_over:
                shown["image"] = framed(one, (data["streams"][name] if name else data)["tokens"])
            else:
                shown["sound"] = spectrogram(one["picture"])
    state = {"step": max(0, len(drawn["walk"]) - 1)}
    return Sheet(kind, drawn, f"{title(data, MINUS)}, {visible(data['model'], 60)}", line(data), fallback(data), more, state)


def compare(results: Sequence[Result], names: Sequence[str] | None = None) -> Sheet:
    """Several results side by side: methods, targets, models or texts, with linked hover and differences.

    names: one for each result; by default what tells them apart: the method, target, model or text.
    Raises InputError if there is no result, or not one name for each.
    """
    if hasattr(results, "plain") or not all(hasattr(result, "plain") for result in results):
        raise InputError("compare takes a list of results. Type compare([result, other]).")
    found = [result.plain() for result in results]
    if not found:
        raise InputError("compare needs at least one result, got none. Type compare([result, other]).")
    shown = list(names) if names is not None else apart(_facts(found))
    if len(shown) != len(found):
        raise InputError(f"There must be one name per result, {len(found)}, got {len(shown)}. Type names=[...] with all of them.")
    items = [{"name": visible(name, 60), "data": payload(data)} for name, data in zip(shown, found, strict=True)]
    said = "; ".join(f"{visible(name, 40)}: {title(data)}" for name, data in zip(shown, found, strict=True))
    drawn = {"items": items, "said": differing(shown, found)}
    return Sheet("compare", drawn, f"{len(found)} results", f"Comparison({said})", beside(shown, found))


def xray(result: Result, dial: Mapping[str, Any] | None = None, exchange: Any = None) -> Sheet:
    """Positions of one result: sinks, queries and keys, frequencies, pairs.

    dial: what a shift of all positions changes, as `live.dial.shift` computes it; a page holds these shifts and no others.
    exchange: an `Exchange` of the same input: what the positions are worth. Raises InputError if it is of another.
    """
    sheet = result.sheet("xray")
    if exchange is not None:
        found = of_result(exchange.plain(), result.plain()["tokens"])
        sheet = replace(sheet, data={**sheet.data, "exchange": found})
    if dial is None:
        return sheet
    shown = {**dial, "tokens": [label(token) for token in dial["tokens"]], "target": visible(dial["target"], 120)}
    return replace(sheet, data={**sheet.data, "dial": shown})


def image(result: Any, picture: Any = None) -> Sheet:
    """Relevance over a picture, layer by layer.

    result:  an Explanation of an image, with `maps` "content" and "position"
    picture: what it explains: a PIL image or an array (H, W, 3) or (H, W), bytes or numbers from 0 to 1
    Raises InputError if the result is not of an image, or the picture is of another shape.
    """
    if result.map is None:
        raise InputError("This result is not of an image: it has no map. Type result.explore() instead.")
    sheet = result.sheet("image")
    if picture is None:
        return sheet
    frame = sheet.data["image"]
    return replace(sheet, data={**sheet.data, "image": {**frame, "picture": _sent(picture, frame["height"], frame["width"])}})


def framed(image: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, Any]:
    """A picture and its maps at the size in which they are drawn; a large map is summed over squares of pixels.

    image: "both" and its parts "content" and "position", each (H, W); "picture" (h, w, 3) bytes or None
    """
    parts = {name: image[name] for name in ("content", "position") if name in image} or {"content": image["both"]}
    maps = {name: _summed(np.asarray(values, dtype=float)) for name, values in parts.items()}
    maps.setdefault("position", np.zeros_like(maps["content"]))
    height, width = maps["content"].shape
    rows, columns, prefix = _patches(tokens)
    return {
        "height": height, "width": width, "rows": rows, "columns": columns, "prefix": prefix,
        "maps": {name: coarse(values) for name, values in maps.items()}, "most": _largest(maps),
        "picture": _sent(image.get("picture"), height, width),
    }  # fmt: skip


def spectrogram(picture: Any) -> dict[str, Any]:
    """The bands of a sound in time, (bands, times, 3) bytes, as the time line is drawn over them."""
    height, width = np.asarray(picture).shape[:2]
    return {"height": height, "width": width, "picture": _sent(picture, height, width)}


def _largest(maps: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest number of each map and of their sum, which colours are measured by."""
    every = {**maps, "both": maps["content"] + maps["position"]}
    return {name: float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) for name, values in every.items()}


def _summed(field: np.ndarray) -> np.ndarray:
    """A map with at most SIDE pixels a side: each is the sum of a square."""
    step = -(-max(field.shape) // SIDE)
    if step == 1:
        return field
    cuts = [np.arange(0, n, step) for n in field.shape]
    return np.add.reduceat(np.add.reduceat(field, cuts[0], 0), cuts[1], 1)


def inspector(tree: Mapping[str, Any], *, model: str, method: str, sinks: Sequence[tuple[str, str]] = (),
              refusals: Sequence[str] = (), pages: Mapping[str, Any] | None = None, unbooked: str = "",
              roles: Sequence[tuple[str, str, str]] = (), notes: Sequence[str] = ()) -> Sheet:  # fmt: skip
    """Which rule applies to each module and operation of a model, why, and what it keeps.

    tree:  {"name", "kind", "rules": [{"operation", "rule", "reason", "conserves"}], "children": [...]}, nested
    sinks: (name, kind) of each place where positions receive; pages: rule -> its page; unbooked: why there is no sink
    roles: (name, what it was taken for, why) of arguments and constants; notes: what could have been read otherwise
    """
    found = mapped(tree, sinks)
    counted = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in ((found["operations"], "operation"), (len(sinks), "sink")))
    drawn = {
        **found, "model": visible(model), "method": visible(method, 120),
        "refusals": [visible(reason, 400) for reason in refusals],
        "sinks": [[visible(name), visible(kind)] for name, kind in sinks], "pages": dict(pages or {}),
        "roles": [[visible(name), visible(role), visible(why, 200)] for name, role, why in roles],
        "notes": [visible(note, 400) for note in notes], "summary": counted, "unbooked": visible(unbooked, 120),
    }  # fmt: skip
    said = f"Plan({visible(model)}, {visible(method)}: {counted}, {len(refusals)} refused)"
    return Sheet("inspector", drawn, f"Rules of {visible(model)}", said, listing(drawn))


def _facts(found: Sequence[Plain]) -> list[list[str]]:
    by = ("method", "target", "model")
    return [*([str(d[name]) for d in found] for name in by), [" ".join(d["tokens"])[:40] for d in found]]  # type: ignore[literal-required]


def apart(columns: Sequence[Sequence[str]]) -> list[str]:
    """What tells results apart, in few words: the first of the columns that does, two of them together, or their numbers."""
    for many in (1, 2):
        for chosen in combinations(columns, many):
            names = [", ".join(parts) for parts in zip(*chosen, strict=True)]
            if len(set(names)) == len(names):
                return names
    return [f"{i + 1}: {', '.join(parts)}" for i, parts in enumerate(zip(*columns[:2], strict=True))]


def _patches(tokens: Sequence[str]) -> tuple[int, int, int]:
    """(rows, columns, tokens before the first patch) from names such as `patch 3,4`."""
    places = [tuple(map(int, t.split()[1].split(","))) for t in tokens if t.startswith("patch ")]
    if not places:
        return 1, 1, 0
    return max(r for r, _ in places) + 1, max(c for _, c in places) + 1, len(tokens) - len(places)


def _sent(picture: Any, height: int, width: int) -> bytes | dict[str, bytes] | None:
    """A picture at this size: its bytes, or where they are many a JPEG of them, about a tenth."""
    if picture is None:
        return None
    pixels = _pixels(picture, height, width)
    if pixels.nbytes <= RAW:
        return pixels.tobytes()
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=90)
    return {"jpeg": file.getvalue()}


def _pixels(picture: Any, height: int, width: int) -> np.ndarray:
    """(height, width, 3) bytes."""
    array = np.asarray(picture)
    if array.ndim == 2:
        array = np.stack([array] * 3, -1)
    if array.ndim != 3 or array.shape[-1] < 3:
        raise InputError(f"picture must be (H, W), (H, W, 3) or a PIL image, got the shape {array.shape}.")
    if array.shape[:2] != (height, width):
        r = np.arange(height) * array.shape[0] // height
        c = np.arange(width) * array.shape[1] // width
        array = array[r][:, c]  # the nearest pixel, as the model saw it
    if array.dtype != np.uint8:
        array = (np.clip(array.astype(float), 0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(array[..., :3])
