"""A rule is a page: its formula, its definition, its fast form, one small case."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Generator, Tensor

from ..errors import CallError, InputError

Example = tuple[Tensor, tuple[Tensor, ...], dict[str, Any]]        # R, inputs, constants
Linear = Callable[..., Tensor]                    # (x, weight, bias) -> z


@dataclass(frozen=True, eq=False, repr=False)
class Rule:
    """One rule of relevance propagation; calling it with options gives a variant, `gamma(0.05)`.

    name:      as it is typed
    relevance: `relevance(R, *inputs, **constants) -> tuple of Tensor`, the definition, one tensor per input
    forward:   `forward(*inputs, **constants) -> Tensor`, the same rule as a bent gradient
    example:   `example(generator) -> (R, inputs, constants)`, one small case in float64
    page:      the module the rule stands in (its docstring is the rule's documentation)
    keyword:   the option that a bare positional argument sets, if any
    options:   what the variant was given, in order
    text:      the documentation itself, for a rule that stands in no page (`rules.make`)

    Two rules are equal if they have the same name, options and functions. Raises InputError where a function is missing.
    """

    name: str
    relevance: Callable[..., tuple[Tensor, ...]]
    forward: Callable[..., Tensor]
    example: Callable[[Generator], Example]
    page: str
    keyword: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        for field, shape in SHAPES.items():
            if not callable(came := getattr(self, field)):
                raise InputError(
                    f"The rule {self.name} needs a function `{field}`, got {came!r}. Write {shape}, and type rules.make(name, forward)."
                )

    def __call__(self, *value: Any, **options: Any) -> Rule:
        """The same rule with options set: `gamma(0.05)`, `epsilon(eps=1e-6)`."""
        if len(value) > 1 or (value and self.keyword is None):
            raise CallError(f"{self.name} takes {'one option' if self.keyword else 'no bare option'}, got {value}")
        if value:
            options = {str(self.keyword): value[0], **options}
        known = {k for f in (self.relevance, self.forward) for k, p in _parameters(f) if p.kind is p.KEYWORD_ONLY}
        if unknown := set(options) - known:
            raise CallError(f"{self.name} has no option {sorted(unknown)[0]!r}; it has {', '.join(sorted(known))}")
        merged = {**dict(self.options), **options}
        return replace(
            self,
            relevance=partial(self.relevance, **options),
            forward=partial(self.forward, **options),
            example=partial(_without, self.example, frozenset(options)),
            options=tuple(merged.items()),
        )

    def option(self, name: str, default: Any = None) -> Any:
        """What the variant set for `name`, or `default`."""
        return dict(self.options).get(name, default)

    def __repr__(self) -> str:
        if not self.options:
            return self.name
        shown = [repr(v) if k == self.keyword else f"{k}={v!r}" for k, v in self.options]
        return f"{self.name}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Rule):
            return self is other
        named = (self.name, self.options) == (other.name, other.options)
        return named and (base(self.relevance), base(self.forward)) == (base(other.relevance), base(other.forward))

    def __hash__(self) -> int:
        return hash((self.name, self.options))

    @property
    def doc(self) -> str:
        """The page's docstring: plain sentence, formula, what it conserves, paper."""
        import importlib

        if self.text:
            return self.text
        return importlib.import_module(self.page).__doc__ or ""

    @property
    def sentence(self) -> str:
        """What the rule does, in the page's first sentence."""
        said = " ".join(self.doc.split("\n\n")[0].split()).split(": ", 1)[-1]
        return said[:1].upper() + said[1:]

    @property
    def conserves(self) -> str:
        """What the page says it conserves: `all`, `all but ...` or `nothing ...`."""
        return _last_paragraph(self.doc)[0]

    @property
    def keeps(self) -> bool:
        """Whether the page says that it keeps something; nothing is said of most rules of one's own."""
        return self.conserves not in ("all", UNSAID)

    @property
    def paper(self) -> str:
        """Where the rule comes from."""
        return _last_paragraph(self.doc)[1]


SHAPES = {
    "forward": "forward(*inputs, **constants) -> Tensor, the value with a bent gradient",
    "relevance": "relevance(R, *inputs, **constants) -> tuple of Tensor, one per input",
    "example": "example(generator) -> (R, inputs, constants)",
}
UNSAID = "unsaid"                                # what a rule conserves where nobody said it


def base(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, without what a variant has set."""
    while isinstance(function, partial):
        function = function.func
    return function


def _last_paragraph(doc: str) -> tuple[str, str]:
    """The end of a page's docstring, `Conserves: what.  (paper)`, in its two parts."""
    found = re.search(r"Conserves:\s*(.*?)\s*\(([^()]*)\)\s*$", doc, re.DOTALL)
    if found is None:
        raise ValueError("a page's docstring must end in `Conserves: what it conserves.  (paper)`")
    what, paper = (" ".join(part.split()) for part in found.groups())
    return what.rstrip("."), paper


def _parameters(function: Callable[..., Any]):
    return inspect.signature(function).parameters.items()


def _without(example: Callable[..., Any], options: frozenset[str], rng: Generator) -> Example:
    """The example of a variant: what the variant has set is no longer a constant of the case."""
    R, inputs, constants = example(rng)
    return R, inputs, {k: v for k, v in constants.items() if k not in options}


def _restore(name: str, options: tuple[tuple[str, Any], ...]) -> Rule:
    """A rule out of a pickle of version 0.1, which gave its page and options; a newer one holds the rule itself."""
    import importlib

    rule = getattr(importlib.import_module(f"{__package__}.{name}"), name)
    return rule(**dict(options)) if options else rule
