"""Views that run models: the monitor, the rule bench, the switch that breaks a rule, the dial that shifts positions.

    live.monitor(model, tokenizer)                  type a text, watch relevance walk back
    live.card(rules.gamma)                          a page of the textbook with its example computed
    live.bench(rules.gamma)                         sliders for inputs, weights, options; shares and leak at once
    live.break_it(model, text, processor=...)       one mistake in force, and where the ledger opens
    live.shift(model, text, processor=...)          all positions later by a constant: what changes, what cannot
    live.routes(model, text, processor=...)         which way relevance went, and what passes through a head, exactly
    live.inspector(model, text, processor=...)      which rule applies where, and why

`live.broken` holds the mistakes themselves; each is a composite. Nothing here loads a widget library before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import MissingError
from . import broken

if TYPE_CHECKING:
    from ..composites import Composite
    from ..engine.options import Options
    from ..rules import Rule
    from ..views.sheet import Sheet
    from .benching import Bench
    from .breaking import Breaks
    from .monitoring import Models, Monitor
    from .shifting import Shifts

__all__ = ["bench", "break_it", "broken", "card", "inspector", "monitor", "routes", "shift"]


def monitor(
    models: Models = None,
    processor: Any = None,
    *,
    texts: Sequence[str] = (),
    composites: Mapping[str, Composite] | None = None,
    **settings: Any,
) -> Monitor:
    """A live view: type or pick a text, press run, and watch the boundaries fill in while the backward pass runs.

    Args:
        models: a model with its `processor`; a name of the zoo, or several; or names with (model, processor) or a zoo name each.
            Without any, all of the zoo. What is named is loaded when it is chosen.
        texts: to pick from.
        composites: methods to choose from, by name.
        settings: text, model, target, contrast, method, device, audit, typing: what is set at first.

    It is an ipywidget whose settings are traits. `monitor.run("text")` runs and returns the Explanation; `monitor.result` is the
    last one. Raises InputError for a setting that does not exist, MissingError where the widget library is missing.
    """
    _widgets()
    from .monitoring import Monitor

    return Monitor(models, processor, texts=texts, composites=composites, **settings)


def card(rule: Rule | str | None = None) -> Sheet:
    """A rule's page: formula, both sources, what it conserves, its example computed; without a rule, all of them to choose from."""
    from . import cards

    return cards.sheet(rule)


def bench(rule: Rule | str, **values: float | str) -> Bench:
    """A small case of a rule under sliders: inputs, weights, options; every move is computed by the rule itself.

    `values`: what is set at first, by the names on the bench; a name with a space in it as `**{"x 1": 2.0}`.
    """
    _widgets()
    from .benching import Bench

    return Bench(rule, **values)


def break_it(
    model: nn.Module, inputs: Any, *, processor: Any = None, variants: Iterable[broken.Broken] = broken.ALL, **given: Any
) -> Breaks:
    """The stepper with a switch that puts a mistake in force, and a ledger that shows where it opens.

    `given` as for `explain`: target, contrast, options (audited if nothing else is said).
    """
    from .breaking import broken_on

    return broken_on(model, inputs, variants, processor=processor, **given)


def shift(model: nn.Module, inputs: Any, *, processor: Any = None, shifts: Sequence[int] = range(0, 33, 4), **given: Any) -> Shifts:
    """The same input with all positions later by each of `shifts`: shows itself as an x-ray with a dial, `.plain()` is the numbers.

    `given` as for `explain`: target, composite, options. Raises InputError where the model takes no position_ids.
    """
    from .shifting import shifted

    return shifted(model, inputs, shifts, processor, **given)


def routes(model: nn.Module, inputs: Any, *, processor: Any = None, options: Options | None = None, **given: Any) -> Sheet:
    """The view of routes with the model at hand: `.explore()` walks through a head when it is asked to, by `Options(only=...)`.

    `given` as for `explain`: target, contrast, composite. Raises InputError for several inputs.
    """
    from .routing import routed

    return routed(model, inputs, processor, options, **given)


def inspector(
    model: nn.Module, inputs: Any, *, processor: Any = None, composite: Composite | None = None, options: Options | None = None
) -> Sheet:
    """Which rule applies to each module and operation of the model, why, and what it keeps, drawn from `plan`."""
    from ..composites import PA_LRP
    from ..plan import plan

    return plan(model, inputs, processor=processor, composite=composite or PA_LRP, options=options).sheet()


def _widgets() -> None:
    """Raises MissingError that says what to type where the widget library is missing."""
    try:
        import anywidget  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "A live view needs the widget library anywidget, and it is not here. Type %pip install anywidget, then restart the kernel."
        ) from error
