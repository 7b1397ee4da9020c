"""What a model's `forward` takes: names, those it documents, those it must have; and the call with them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from ..engine.signature import parameters_of
from ..errors import InputError, PelrpError

# what a model's own code raises for an input that does not fit it
RAISED = (ValueError, RuntimeError, IndexError, NotImplementedError, TypeError, KeyError, AttributeError, AssertionError)
RAW = ("text", "text_pair", "images", "audio", "sampling_rate", "labels")  # what a processor takes
POSITIONAL = "input "  # what the engine calls arguments that have no name: "input 0"


def named(model: nn.Module) -> list[str]:
    """The arguments that `forward` names."""
    return [n for n, p in parameters_of(model).items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def required(model: nn.Module) -> list[str]:
    """Those of them that have no default."""
    found = parameters_of(model)
    return [n for n in named(model) if found[n].default is inspect.Parameter.empty]


def first_of(model: nn.Module) -> str:
    """The name of the first argument; that of no name where there is only `*args`."""
    names = named(model)
    if names:
        return names[0]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters_of(model).values()):
        return f"{POSITIONAL}0"
    raise InputError(f"{type(model).__name__}.forward must take an input, and it takes none. Explain a module that does.")


def of_transformers(model: nn.Module) -> bool:
    """Whether the model follows transformers: a configuration with a type, or a main input with a name."""
    return hasattr(getattr(model, "config", None), "model_type") or hasattr(model, "main_input_name")


def documented(model: nn.Module) -> frozenset[str]:
    """Names that `**kwargs` is for: those its annotation lists, those that a part of the model takes, and the usual ones."""
    parts = [m for m in model.modules() if m is not model and hasattr(m, "main_input_name")]
    inside = {name for part in parts for name in named(part)}
    open_ones = (p for part in (model, *parts) for p in parameters_of(part).values() if p.kind is p.VAR_KEYWORD)
    listed = {name for p in open_ones for kind in typing.get_args(p.annotation) for name in getattr(kind, "__annotations__", ())}
    usual = {"output_hidden_states", "output_attentions", "return_dict"} if of_transformers(model) else set()
    return frozenset(inside | usual | (listed - {"position_ids"}))  # listed for all models, taken by few


def open_ended(model: nn.Module) -> bool:
    """Whether `forward` takes arguments of any name."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters_of(model).values())


def takes(model: nn.Module, name: str) -> bool:
    """Whether `forward` names an argument."""
    return name in parameters_of(model)


def check_names(model: nn.Module, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse arguments that the model does not take, or would swallow without a word; notes on those that nobody names."""
    names, kind = set(named(model)), type(model).__name__
    notes = []
    for name in given:
        if name in names or name.startswith(POSITIONAL):
            continue
        if open_ended(model) and name in documented(model):
            continue
        if open_ended(model) and not of_transformers(model):
            notes.append(f"`{name}` is handed on by {kind}.forward(**kwargs): whether it is used cannot be known")
            continue
        near = get_close_matches(str(name), [*names, *documented(model), *RAW], 1, 0.6)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        taken = ", ".join(named(model) or sorted(documented(model))[:8])
        raise InputError(f"{kind} takes no `{name}`.{hint} Leave it out, or pass some of {taken}.")
    return tuple(notes)


def check_required(model: nn.Module, given: Mapping[str, Any]) -> None:
    """Refuse a call without an argument that has no default."""
    count = sum(name.startswith(POSITIONAL) for name in given)
    missing = [name for name in required(model)[count:] if name not in given]
    if missing:
        called = ", ".join(f"{name}=..." for name in required(model))
        raise InputError(
            f"{type(model).__name__}.forward must have {', '.join(required(model))}; {', '.join(missing)} is missing. "
            f"Type explain(model, dict({called}))."
        )


def refuse_unheard(model: nn.Module, what: str, names: tuple[str, ...]) -> None:
    """Refuse a text, a picture or sound that the model has no argument for."""
    if any(takes(model, name) or name in documented(model) for name in names):
        return
    main = getattr(model, "main_input_name", None) or first_of(model)
    usual = 'explain(model, "some text", processor=tokenizer)' if main == "input_ids" else f"explain(model, dict({main}=...))"
    taken = ", ".join(named(model)[:4])
    raise InputError(f"{what} needs a model that takes {' or '.join(names)}, and {type(model).__name__} takes {taken}. Type {usual}.")


def processed(worker: Any, what: str, *args: Any, **kwargs: Any) -> Any:
    """What a processor makes of an input. Raises InputError in the processor's words where it refuses it, whatever it raises."""
    try:
        return worker(*args, **kwargs)
    except PelrpError:
        raise
    except Exception as error:
        kind = type(getattr(worker, "__self__", worker)).__name__
        said = [*str(error).strip().splitlines(), type(error).__name__][0].rstrip(".")
        raise InputError(f"{kind} itself refuses {what}: {said}. Pass what it takes, or drop that row.") from error


def quiet(model: nn.Module) -> dict[str, Any]:
    """No cache: the model would keep keys that carry relevance."""
    config = getattr(model, "config", None)
    handed_on = hasattr(model, "generation_config") and open_ended(model)
    return {"use_cache": False} if getattr(config, "use_cache", None) is not None and (takes(model, "use_cache") or handed_on) else {}


def call(model: nn.Module, given: Mapping[str, Any]) -> Any:
    """The model's output for these arguments, without a cache."""
    found = parameters_of(model)
    places = [n for n in given if n.startswith(POSITIONAL) or (n in found and found[n].kind is inspect.Parameter.POSITIONAL_ONLY)]
    rest = {n: x for n, x in given.items() if n not in places}
    return model(*(given[n] for n in places), **{**rest, **quiet(model)})
