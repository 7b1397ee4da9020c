"""Routes with the model at hand: what passes through a head, or a place, by a walk of its own instead of by mixing in proportion."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from ..engine.options import Options, as_options
from ..errors import InputError
from ..explain import explain
from ..results.explanation import Explanation
from ..views.data import single
from ..views.payload import label
from ..views.sheet import Sheet
from ..views.text import visible

PLACE = re.compile(r"(.*\blayer \d+)( .+)?")  # of an attention: its layer, and more where it is not the first of it


def routed(model: nn.Module, inputs: Any, processor: Any = None, options: Options | None = None, **given: Any) -> Sheet:
    """The view of routes, whose heads and places can be walked through while a kernel runs; `given` as for `explain`.

    Raises InputError for several inputs, and for options that already let relevance through some part only.
    """
    wanted = as_options(options)
    if wanted.only:
        raise InputError("Routes of all of it are shown, and `only` leaves a part. Type options=Options(), then open a head.")
    ask = partial(explain, model, inputs, processor=processor, **given)
    found = ask(options=replace(wanted, detail=wanted.detail | {"routes"}))
    if not isinstance(found, Explanation):
        raise InputError(f"One input at a time is shown, got {len(found)}. Type live.routes(model, inputs[0], processor=...).")
    sheet = found.routes.sheet()
    exact: dict[str, Callable[[], Any]] = {}
    for name in found.routes.names:
        place = PLACE.fullmatch(name)
        for head in range(found.routes.found[name]["heads"].shape[0]) if place else ():
            only = {place[1]: {"cross" if place[2] else "heads": [head]}}  # type: ignore[index]
            exact[visible(f"exact {name} head {head}", 120)] = partial(_through, ask, replace(wanted, only=only))
        total = next((total for total, node in found.routes.nodes.items() if name in node["attentions"]), None)
        for at in range(found.routes.found[name]["heads"].shape[-1] if total else 0):
            only = {total: {"places": [at]}}
            options = replace(wanted, detail=wanted.detail | {"routes"}, only=only)
            exact[f"exact {visible(name, 60)} place {at}"] = partial(_through, ask, options)
    return replace(sheet, data={**sheet.data, "exact": True}, asked={**sheet.asked, **exact})


def _through(ask: Callable[..., Any], options: Options) -> dict[str, Any]:
    """What the inputs carry of what passes through: [[stream, tokens, relevance], ...]; or why that cannot be walked.

    levels: where routes are asked for, by name what each attention handed on of it
    """
    try:
        found = ask(options=options)
    except InputError as error:
        return {"refused": visible(str(error), 400)}
    streams = (found.streams or {"": found}).items()
    told = {"streams": [[visible(name), [label(token) for token in one.tokens], single(one.relevance().numpy())] for name, one in streams]}
    if "routes" not in options.detail:
        return told
    return {**told, "levels": {level["name"]: level for group in found.routes.sheet().data["groups"] for level in group["levels"]}}
