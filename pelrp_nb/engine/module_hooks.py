"""Hooks on the modules of a model, of one entering each: they act in its thread alone, and go with it.

Nothing is counted and nothing is shared: an entry hangs hooks of its own and takes down those that it finds, so a step that was
interrupted can be repeated, and threads owe each other nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

from torch import nn

from .saved import flows, here


LOCK = threading.RLock()  # for the attributes that threads put their functions around, one after the other


def entries() -> tuple[Entry, ...]:
    """The entries of this thread that have not been left, innermost last."""
    return getattr(here, "entries", ())


def acting(entry: Entry) -> Any:
    """The innermost propagation of this thread, if it is of that entry and the entry is not over; else None."""
    inside = flows()
    return inside[-1] if inside and entry.open and inside[-1].entry is entry else None


class Hook:
    """A forward hook that acts in the thread of its entry alone: `call(flow, module, args, kwargs, ...)`."""

    __slots__ = ("call", "entry")

    def __init__(self, entry: Entry, call: Callable) -> None:
        self.entry, self.call = entry, call

    def __call__(self, module: nn.Module, args: tuple, *rest: Any) -> Any:
        """What `call` says; nothing in another thread, or when the entry is over."""
        inside, entry = getattr(here, "flows", ()), self.entry
        if not inside or not entry.open or inside[-1].entry is not entry:  # as `acting`
            return None
        return self.call(inside[-1], module, args, *rest)

    def __deepcopy__(self, memo: dict) -> Hook:
        """A copied module keeps it, and it does nothing there."""
        return self


class Instead:
    """A function in place of a module's own: in the thread of its entry alone it only calls what it is given."""

    def __init__(self, entry: Entry, original: Callable) -> None:
        self.entry, self.original = entry, original

    def __call__(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """The model's own checkpointing, or none."""
        return self.original(function, *args, **kwargs) if acting(self.entry) is None else function(*args)


class Entry:
    """One time of entering a model: its hooks act while it is `open`."""

    def __init__(self) -> None:
        self.open = False
        self.modules: list[nn.Module] = []  # where hooks of this entry may hang
        self.names: set[str] = set()  # of attributes that may have been replaced on some
        self.owner: ref[Any] | None = None  # who leaves it

    def begin(self, model: nn.Module) -> None:
        """From here on hooks may be hung on the model's modules."""
        here.entries = (*entries(), self)
        self.modules = list(model.modules())
        self.open = True

    def before(self, module: nn.Module, call: Callable) -> None:
        """Call `call(flow, module, args, kwargs)` before the module runs; it may replace both."""
        module.register_forward_pre_hook(Hook(self, call), with_kwargs=True)

    def after(self, module: nn.Module, call: Callable) -> None:
        """Call `call(flow, module, args, kwargs, output)` when the module has run, after an error too; it may replace the output."""
        module.register_forward_hook(Hook(self, call), with_kwargs=True, always_call=True)

    def instead(self, module: nn.Module, name: str) -> None:
        """Take the place of a function that is an attribute of the module."""
        self.names.add(name)
        with LOCK:
            setattr(module, name, Instead(self, vars(module)[name]))

    def close(self) -> None:
        """Take down all hooks of this entry, as many as there are."""
        self.open = False
        for module in self.modules:
            if module._forward_pre_hooks or module._forward_hooks:
                self._unhook(module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs)
                self._unhook(module._forward_hooks, module._forward_hooks_with_kwargs, module._forward_hooks_always_called)
            for name in self.names:
                if name in module.__dict__:
                    self._restore(module, name)
        self.modules = []

    def _unhook(self, hooks: dict, *flags: dict) -> None:
        """The flags first: they are found by their hook."""
        for number in [n for n, hook in list(hooks.items()) if isinstance(hook, Hook) and hook.entry is self]:
            for flag in flags:
                flag.pop(number, None)
            hooks.pop(number, None)

    def _restore(self, module: nn.Module, name: str) -> None:
        """The function itself; or, where another thread has put its own around ours, what is inside that."""
        with LOCK:
            outer, found = None, vars(module)[name]
            while isinstance(found, Instead):
                if found.entry.open:
                    outer, found = found, found.original
                elif outer is None:
                    found = found.original
                    setattr(module, name, found)
                else:
                    outer.original = found = found.original
