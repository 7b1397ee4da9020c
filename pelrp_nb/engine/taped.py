"""Calls kept as they are made, so that they can be done again (`replay.py`): each on what it made.

Each torch call on what depends on an input leaves a `Call` on what it made: the function and its arguments, among them tensors that have
calls of their own.  Linear maps, however written, look-ups, attention and residual sums are not kept.

What is written into is another tensor from then on: the calls that took it before hold a copy of it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from weakref import ref

from torch import Tensor

from .leaves import Leaf
from .notes import ATTRIBUTE as NOTE
from .places.arguments import tensors, writes
from .places.follow import CONTRACTING, copy_provenance
from .places.maps import words
from .places.products import is_map

ATTRIBUTE = "_pelrp_call"
TAKEN_BY = "_pelrp_taken_by"
numbers = count()
CUTS = words("""linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d addmm embedding bilinear
scaled_dot_product_attention multi_head_attention_forward grouped_mm_fallback _grouped_mm grouped_mm""")


@dataclass(eq=False, slots=True, weakref_slot=True)
class Call:
    """One call of torch.

    entries: places where positions entered in it; relation: the leaf, if what it made is a product with relative embeddings
    number: no other call has it
    """

    func: Callable
    name: str
    args: tuple
    kwargs: dict
    entries: tuple[Leaf, ...]
    relation: Leaf | None = None
    number: int = field(default_factory=numbers.__next__)


def made_by(x: Any) -> tuple[Call, int | None] | None:
    """The call that made a tensor, and which of its results that is."""
    return x.__dict__.get(ATTRIBUTE) if isinstance(x, Tensor) else None


def relates(x: Tensor, leaf: Leaf) -> None:
    """Note that x is a product with relative embeddings."""
    if (made := made_by(x)) is not None:
        made[0].relation = leaf


def before(name: str, args: tuple) -> tuple:
    """The arguments as they are to be remembered: what is about to be written into as it is now, and for the calls that took it, too."""
    if not (args and isinstance(args[0], Tensor) and writes(name)):
        return args
    copy_provenance(x := args[0], old := args[0].detach().clone())
    for known in x.__dict__.pop(TAKEN_BY, ()):
        if (call := known()) is not None:
            call.args, call.kwargs = replaced(call.args, x, old), {k: replaced(v, x, old) for k, v in call.kwargs.items()}
            taken(call, (old,))
    return tuple(replaced(a, x, old) for a in (same(x, old), *args[1:]))


def replaced(given: Any, x: Tensor, old: Tensor) -> Any:
    """An argument with `old` in place of x."""
    if given is x:
        return old
    return type(given)(replaced(one, x, old) for one in given) if type(given) in (tuple, list) else given


def taken(call: Call, given: Sequence[Tensor]) -> None:
    """Note on what the model made that a call has taken it."""
    for x in given:
        if x.grad_fn is not None or made_by(x) is not None:
            x.__dict__.setdefault(TAKEN_BY, []).append(ref(call))


def same(x: Tensor, copy: Tensor) -> Tensor:
    """A copy of x, made by the same call."""
    if (made := made_by(x)) is not None:
        copy.__dict__[ATTRIBUTE] = made
    return copy


def record(func: Callable, name: str, args: tuple, kwargs: dict, target: Any, entries: Sequence[Leaf], carrying: bool) -> None:
    """Leave the call on what it made (`target`), if that depends on an input and the call is one that is followed."""
    pieces = target if isinstance(target, tuple | list) else (target,)
    fresh = [x for x in pieces if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())]
    if not fresh or not (carrying or entries or any(made_by(x) for x in tensors(args, kwargs))):
        return
    if name in CUTS or (name in CONTRACTING and any(made_softmax(x) for x in tensors(args, kwargs))):
        forget(args, kwargs)
        return
    if any(getattr(getattr(x, NOTE, None), "stream", None) is not None for x in fresh):
        return
    call = Call(func, name, args, kwargs, tuple(entries), next((leaf for leaf in entries if leaf.part == "gathered"), None))
    taken(call, tensors(args, kwargs))
    for i, x in enumerate(pieces):
        if isinstance(x, Tensor) and (writes(name) or not any(x is a for a in args)):
            x.__dict__[ATTRIBUTE] = (call, None if x is target else i)


def forget(args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Drop the calls behind what ends here, if no position entered them: else they keep what nobody else needs on the way back."""
    for x in tensors(args, kwargs):
        if (made := made_by(x)) is not None and not enters(made[0], {}):
            del x.__dict__[ATTRIBUTE]


def enters(call: Call, known: dict[int, bool]) -> bool:
    """Whether positions enter in a call or behind it; known: what was found before, by identity."""
    found = known.get(id(call))
    if found is None:
        behind = () if maps(call) else filter(None, map(made_by, tensors(call.args, call.kwargs)))
        here = call.relation is not None or any(leaf.taken is not False for leaf in call.entries)
        found = known[id(call)] = here or any(enters(made[0], known) for made in behind)
    return found


def maps(call: Call) -> bool:
    """Whether a call is a linear map of features by weights: a chain begins with what it made."""
    return is_map(call.name, call.args, tensors(call.args, call.kwargs))


def made_softmax(x: Tensor) -> bool:
    """Whether x holds the weights that a softmax has made."""
    return getattr(getattr(x, NOTE, None), "made", None) == "softmax"
