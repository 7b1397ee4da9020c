"""Rules of one's own: made from two functions, and proved on their examples."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from ..errors import InputError, RuleError
from ..verbs import input_times_gradient
from ._rule import SHAPES, UNSAID, Example, Rule, base


def make(
    name: str,
    forward: Callable[..., Tensor] | None = None,
    relevance: Callable[..., tuple[Tensor, ...]] | None = None,
    *,
    example: Callable[[Generator], Example] | None = None,
    conserves: str = UNSAID,
    doc: str | None = None,
    keyword: str | None = None,
) -> Rule:
    """A rule from its bent gradient and its definition, for composites, `register` and `check_rule`.

        def forward(x, *, weight, bias=None, apply=F.linear): ...
        square = rules.make("square", forward, relevance, example=rules.epsilon(0).example, conserves="all")

    Args:
        name: as it is typed; one word.
        forward: `forward(*inputs, **constants)`, the value of the operation with the gradient of the rule (`pelrp_nb.verbs`).
        relevance: `relevance(R, *inputs, **constants)`, the definition, one tensor per input; without it `forward` is all there is.
        example: `example(generator) -> (R, inputs, constants)`, a small case in float64; any rule's will do that takes the same.
        conserves: "all", or "all but ..."; what a rule says that it keeps has a line in the ledger. Of one that says "all", or
            nothing, what is lost is the ledger's gap.
        doc: what is shown of it; the docstring of `relevance`, else of `forward`, if not given.
        keyword: the option that a bare argument sets, as in `gamma(0.05)`.

    Raises InputError if something is no function. Pickles where its functions stand in a file.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f'The name of a rule must be one word, as it is typed; got {name!r}. Type rules.make("square", forward).')
    if not callable(forward):
        raise InputError(f"The rule {name} needs a function `forward`, got {forward!r}. Write {SHAPES['forward']}.")
    return Rule(
        name,
        partial(bent, forward) if relevance is None else relevance,
        forward,
        partial(unwritten, name) if example is None else example,
        page="",
        keyword=keyword,
        text=documentation(name, doc or inspect.getdoc(relevance) or inspect.getdoc(forward) or "", conserves),
    )


def documentation(name: str, text: str, conserves: str) -> str:
    """The text of a page: what was given, and its last line where that was not."""
    text = inspect.cleandoc(text) or f"{name}: a rule of one's own."
    return text if re.search(r"Conserves:[^()]*\([^()]*\)\s*$", text) else f"{text}\n\nConserves: {conserves}.  (a rule of one's own)"


def bent(forward: Callable[..., Tensor], R: Tensor, *inputs: Tensor, **constants: Any) -> tuple[Tensor, ...]:
    """What a rule without a definition pays: input times the gradient of its fast form."""
    return input_times_gradient(partial(forward, **constants), R, *inputs)


def unwritten(name: str, rng: Generator) -> Any:
    """The example of a rule that has none. Raises InputError."""
    raise InputError(f"The rule {name} has no example. Write {SHAPES['example']}, and type rules.make({name!r}, ..., example=example).")


# --- the proof -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """What `check_rule` found; it shows itself.

    cases:      how many were tried
    difference: the largest |definition - fast form|, as a part of the largest payment of its case
    kept:       the largest part of what came in that was paid to no input: |sum in - sum out| over the sum of all amounts
    conserves:  what the rule says it conserves
    """

    rule: str
    cases: int
    difference: float
    kept: float
    conserves: str

    def __repr__(self) -> str:
        keeps = f"up to {self.kept:.1%} of the amounts stays" if self.kept > 1e-6 else "all that comes in goes out"
        return (
            f"{self.rule}: the fast form is the definition in {self.cases} cases, but for rounding; "
            f"{keeps} (it says that it conserves: {self.conserves})"
        )


def check_rule(rule: Rule, *, seeds: int = 5) -> Proof:
    """Prove a rule: its fast form pays what its definition pays, and what it says of conservation holds, on its own example.

        pelrp_nb.check_rule(square)

    The example is drawn `seeds` times, with its own R and with one at random. Raises RuleError at the first number that differs,
    and where a rule that says it conserves all does not; InputError for what is no rule, or has no definition or no example.
    """
    if not isinstance(rule, Rule):
        raise InputError(f"check_rule needs a Rule, got {type(rule).__name__}. Type check_rule(rules.make(name, forward, relevance)).")
    if base(rule.relevance) is bent:
        raise InputError(f"{rule} has no definition that its fast form could equal. Write {SHAPES['relevance']}.")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise InputError(f"seeds must be a number of draws from 1 on, got {seeds!r}. Type check_rule(rule, seeds=5).")
    difference = kept = 0.0
    for seed in range(seeds):
        rng = Generator().manual_seed(seed)
        R, inputs, constants = drawn(rule, rng)
        for case, given in (("", R), (" with R at random", R * torch.randn(R.shape, generator=rng, dtype=torch.float64).to(R.dtype))):
            where = f"draw {seed}{case}"
            paid = payments(rule, where, given, inputs, constants)
            fast = fast_form(rule, where, given, inputs, constants)
            difference = max(difference, compared(rule, where, paid, fast))
            amounts = float(given.abs().sum() + sum(p.abs().sum() for p in paid)) or 1.0
            kept = max(kept, abs(float(given.sum() - sum(p.sum() for p in paid))) / amounts)
    if rule.conserves == "all" and kept > tolerance(R):
        raise RuleError(
            f"{rule} says that it conserves all, but up to {kept:.1%} of the amounts is paid to no input. "
            'Mend its shares, or say what it keeps: rules.make(..., conserves="all but ...").'
        )
    return Proof(repr(rule), 2 * seeds, difference, kept, rule.conserves)


def drawn(rule: Rule, rng: Generator) -> Example:
    """The rule's example. Raises InputError where it is none."""
    case = rule.example(rng)
    if isinstance(case, tuple) and len(case) == 3:
        R, inputs, constants = case
        if isinstance(R, Tensor) and isinstance(inputs, tuple) and inputs and isinstance(constants, dict):
            return R, inputs, constants
    raise InputError(f"The example of {rule} must give (R, inputs, constants): a tensor, a tuple of tensors, a dict; got {case!r:.80}.")


def payments(rule: Rule, where: str, R: Tensor, inputs: tuple[Tensor, ...], constants: dict[str, Any]) -> tuple[Tensor, ...]:
    """What the definition pays. Raises RuleError where it is not one tensor of its shape for each input."""
    try:
        paid = rule.relevance(R, *inputs, **constants)
    except Exception as error:
        raise uncallable(rule, "definition", constants, error) from error
    came = [tuple(p.shape) for p in paid] if isinstance(paid, tuple) and all(isinstance(p, Tensor) for p in paid) else type(paid).__name__
    wanted = [tuple(x.shape) for x in inputs]
    if came != wanted:
        raise RuleError(f"The definition of {rule} must return a tuple of one tensor per input, of shapes {wanted}; got {came} ({where}).")
    return paid


def fast_form(rule: Rule, where: str, R: Tensor, inputs: tuple[Tensor, ...], constants: dict[str, Any]) -> tuple[Tensor, ...]:
    """What the fast form pays. Raises RuleError where its output has not the shape of R."""
    shapes = []

    def forward(*xs: Tensor) -> Tensor:
        try:
            out = rule.forward(*xs, **constants)
        except Exception as error:
            raise uncallable(rule, "fast form", constants, error) from error
        shapes.append(tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__)
        if shapes[-1] != tuple(R.shape):
            raise RuleError(f"The fast form of {rule} must return a tensor of R's shape, {tuple(R.shape)}; got {shapes[-1]} ({where}).")
        return out

    return input_times_gradient(forward, R, *inputs)


def uncallable(rule: Rule, form: str, constants: dict[str, Any], error: Exception) -> RuleError:
    """What is said where a form of the rule raises on the rule's own example."""
    return RuleError(
        f"The {form} of {rule} must take the example's inputs and its constants by name ({', '.join(constants) or 'none'}); "
        f"it raised {type(error).__name__}: {error}. Change the function, or its example."
    )


def compared(rule: Rule, where: str, paid: tuple[Tensor, ...], fast: tuple[Tensor, ...]) -> float:
    """The largest difference as a part of the largest payment. Raises RuleError where it is no rounding."""
    scale = max(float(p.detach().abs().max()) for p in paid if p.numel()) or 1.0
    largest = 0.0
    for i, (ours, theirs) in enumerate(zip(paid, fast, strict=True)):
        away = ((ours - theirs).abs() / scale).nan_to_num(nan=torch.inf).detach()
        if not away.numel():
            continue
        at = tuple(int(n) for n in torch.unravel_index(away.argmax(), away.shape))
        largest = max(largest, float(away[at]))
        if largest > tolerance(ours):
            raise RuleError(
                f"{rule}: the fast form is not the definition. At {list(at)} of input {i + 1} of {len(paid)} the definition pays "
                f"{float(ours[at]):.6g}, the fast form {float(theirs[at]):.6g} ({where})."
            )
    return largest


def tolerance(x: Tensor) -> float:
    """What is rounding: 1.5e-8 in float64, 3e-4 in float32."""
    return torch.finfo(x.dtype).eps ** 0.5
