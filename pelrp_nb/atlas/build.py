"""One architecture with random weights and a random input, whatever it takes to please the library."""

from __future__ import annotations

import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import further, inputs
from .names import Entry
from .recipes import RECIPES
from .shrink import shrink, tree
from .weights import randomise

LARGEST = 60_000_000  # parameters; what is larger after shrinking does not count as tiny


class NotBuilt(Exception):
    """The library would not build it, by any recipe; says why."""


@dataclass(frozen=True)
class Built:
    """A random model in eval mode.

    given:       the keywords of its forward pass
    recipe:      how its configuration was made small
    single_only: why the plain model cannot run in float64; empty if it can
    """

    model: nn.Module
    given: dict[str, Any]
    recipe: str
    single_only: str


def build(entry: Entry, seed: int = 0) -> Built:
    """The architecture by the first recipe that the library accepts.

    Raises NotBuilt with the library's own error of each recipe, shortened.
    """
    reasons: list[str] = []
    for recipe in RECIPES:
        try:
            return _build(entry, recipe, seed)
        except Exception as error:
            reasons.append(shortened(error))
    raise NotBuilt("; else ".join(dict.fromkeys(reasons)))


def _build(entry: Entry, recipe: Any, seed: int) -> Built:
    import transformers

    kind = getattr(transformers, entry.model)
    config = shrink(default(entry, kind), recipe, entry.fields)
    if entry.kind == "causal-lm" and hasattr(config, "is_decoder"):
        config.is_decoder = True
    for part in tree(config):
        if getattr(part, "use_cache", None):
            part.use_cache = False  # the model would keep keys for a next token that never comes
    size = weight(kind, config)
    if size > LARGEST:
        raise NotBuilt(f"{size:,} parameters are left when {recipe.name}")
    torch.manual_seed(seed)
    model: Any = randomise(made(kind, config), seed)
    if hasattr(model.config, "_experts_implementation"):
        model.set_experts_implementation("eager")  # the grouped kernel takes no float64
    calibrate(model, [inputs(model, seed + i) for i in (2, 3, 4, 5)])
    given = fitting(model, inputs(model, seed + 1), seed + 1)
    return Built(model, given, recipe.name, single_only(model, given))


def fitting(model: nn.Module, given: dict[str, Any], seed: int) -> dict[str, Any]:
    """The inputs that the model answers to: these, or with a picture or a sound beside them, where it will not do without."""
    try:
        answer(model, given, torch.float32)
        return given
    except Exception:
        for more in further(model, given, seed):
            with suppress(Exception):
                answer(model, more, torch.float32)
                return more
        raise


def calibrate(model: nn.Module, several: list[dict[str, Any]]) -> None:
    """Batch norms get the statistics of random inputs, or the signal dies on its way through a deep network."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    if not norms:
        return
    batch = {k: torch.cat([one[k] for one in several]) for k in several[0]}
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(**batch)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()


def single_only(model: nn.Module, given: dict[str, Any]) -> str:
    """Why the plain model cannot run in float64; empty if it can."""
    try:
        answer(model, given, torch.float64)
        return ""
    except RuntimeError as error:
        return shortened(error)


def default(entry: Entry, kind: type) -> Any:
    """The default configuration that the class takes: of that name, or the part of it that is meant."""
    import transformers

    whole = transformers.CONFIG_MAPPING[entry.name](**entry.fields)
    wanted = next((c for base in kind.__mro__ if isinstance(c := vars(base).get("__annotations__", {}).get("config"), type)), None)
    if wanted is None or isinstance(whole, wanted):
        return whole
    return next((part for part in tree(whole) if isinstance(part, wanted)), None) or wanted()


def weight(kind: type, config: Any) -> int:
    """How many parameters there would be, without memory for them; 0 where the library cannot tell."""
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in made(kind, config).parameters())
    except Exception:
        return 0


ABSENT = re.compile(r"'(\w+)' object has no attribute '(\w+)'")


def made(kind: type, config: Any) -> nn.Module:
    """The model; where it reads a field that its default configuration lacks, the field is borrowed from a nested part, or None."""
    for _ in range(8):
        try:
            return kind(config)
        except AttributeError as error:
            found = ABSENT.search(str(error))
            parts = [part for part in tree(config) if found and type(part).__name__ == found[1] and found[2] not in vars(part)]
            if found is None or not parts:
                raise
            for part in parts:
                setattr(part, found[2], borrowed(config, found[2]))
    return kind(config)


def borrowed(config: Any, name: str) -> Any:
    """The value of a field in any part of the configuration, or among its rotary parameters; None if nowhere."""
    for part in tree(config):
        for place in (vars(part), vars(part).get("rope_parameters") or {}):
            if place.get(name) is not None:
                return place[name]
    return None


def cast(given: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Pictures and sounds in that precision, ids as they are."""
    return {k: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in given.items()}


def answer(model: nn.Module, given: dict[str, Any], dtype: torch.dtype) -> Tensor:
    """The logits of the plain model in that precision; raises NotBuilt where they are not finite."""
    with torch.no_grad():
        logits = logits_of(model.to(dtype)(**cast(given, dtype)))
    if not torch.isfinite(logits).all():
        raise NotBuilt("the plain model's logits are not finite")
    return logits


def logits_of(output: Any) -> Tensor:
    """What the model answers with: its logits, by whatever name."""
    for name in ("logits", "prediction_logits", "logits_per_image"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    return next(v for v in output.values() if isinstance(v, Tensor) and v.is_floating_point())


def shortened(error: BaseException, most: int = 220) -> str:
    """An error in one line: its kind, its words, the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" ({Path(last.filename).name}:{last.lineno})" if last and not isinstance(error, NotBuilt) else ""
    words = " ".join(str(error).split())
    kind = "" if isinstance(error, NotBuilt) else f"{type(error).__name__}: "
    return f"{kind}{words[:most]}{'...' if len(words) > most else ''}{where}"
