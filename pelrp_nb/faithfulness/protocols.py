"""The protocols by name, the measures they yield, and which way is better.

A protocol is a generator: it yields the rows it wants answered, is sent the answers, and returns values and curves. So the rows
of all methods, protocols and examples that are under way go through the model in the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType


from ..errors import InputError
from . import images, moved, text, truth
from .attribution import Attribution
from .examples import Example
from .subject import Case, Inquiry, Subject

Protocol = Callable[[Subject, Case, Attribution], Inquiry]

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "pruning": text.pruning,
        "generation": text.generation,
        "gain": text.gain,
        "agreement": truth.agreement,
        "positions": moved.displaced,
        "truth": truth.ground_truth,
        "perturbation": images.perturbation,
        "segmentation": images.segmentation,
    }
)
BETTER: Mapping[str, int] = MappingProxyType(
    {
        "symmetric-relevance-gain": 1,
        "pruning-au-ac": 1,
        "pruning-au-mse": -1,
        "generation-au-ac": 1,
        "generation-au-mse": -1,
        "generation-merf": 1,
        "generation-lerf": -1,
        "leave-one-out-correlation": 1,
        "position-swap-correlation": 1,
        "position-move-correlation": 1,
        "position-swap-effect": 0,
        "position-move-effect": 0,
        "positional-share": 0,
        "truth-mass": 1,
        "truth-mass-by-size": 1,
        "truth-rank": 1,
        "positive-perturbation-auc": -1,
        "negative-perturbation-auc": 1,
        "pixel-accuracy": 1,
        "mean-iou": 1,
        "mean-average-precision": 1,
    }
)
TEXTS, PICTURES = ("pruning", "generation", "gain", "agreement", "positions"), ("perturbation", "agreement")


def applicable(names: Iterable[str], example: Example) -> tuple[str, ...]:
    """The named protocols, or all that an example of this kind allows; InputError for a name there is none of, or data it lacks."""
    names = tuple(names)
    for name in names:
        if name not in PROTOCOLS:
            near = get_close_matches(name, PROTOCOLS, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"There is no protocol {name!r}.{hint} The protocols are: {', '.join(PROTOCOLS)}.")
    seen = example.image is not None
    if "segmentation" in names and example.mask is None:
        raise InputError("segmentation needs a mask with each image, and the data have none. Type --columns mask=NAME.")
    if "truth" in names and example.truth is None:
        raise InputError("truth needs the relevant part of each text, and the data have none. Type --columns truth=NAME.")
    wrong = [n for n in names if n in (("pruning", "generation", "gain", "positions", "truth") if seen else ("perturbation",))]
    if wrong:
        raise InputError(f"{', '.join(wrong)} cannot judge {'images' if seen else 'texts'}. Leave it out.")
    if names:
        return names
    more = ("segmentation",) * (example.mask is not None) + ("truth",) * (example.truth is not None and not seen)
    return (PICTURES if seen else TEXTS) + more
