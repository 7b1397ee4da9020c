"""Leaving: what a propagation changes in its thread and on its model is undone, whatever happens.

It changes the stack of torch function modes and whether these are on, gradients enabled, autocast, saved-tensor hooks, our own lists
of this thread, and it hangs hooks on modules.  A Ctrl-C may come between any two steps of entering, leaving, and of undoing itself.  So

    nothing is counted    each part is put back by a step that may be repeated: it looks at what is there, not at what was done
    leaving is repeated   until it has run to its end; the interrupt is raised after that
    twice, and again      `with leaving, leaving` has a second exit for an interrupt that comes before the first has begun, and
                          what both have missed goes with the last reference to `leaving`
    the innermost acts    hooks and rules of an entry that is over, or has another one inside, do nothing
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import _GeneratorContextManager
from functools import partial
from typing import Any
from weakref import ref

import torch

from .module_hooks import Entry, entries
from .saved import flows, here, stack

ENDS = {_GeneratorContextManager.__enter__.__code__, _GeneratorContextManager.__exit__.__code__}
TRIES = 100  # how often undoing begins again before its error is taken for a fault of ours


class Thread:
    """This thread as it is when this is made, and the way back to it."""

    def __init__(self) -> None:
        self.local = here.__dict__  # no other thread's
        self.layers = stack()
        self.flows = tuple(flow for flow in flows() if flow.entry.open)  # what is over and still there goes with ours
        self.entries = tuple(entry for entry in entries() if entry.open)
        self.modes = [m for m in modes() if not is_ours(m) or m.entry.open]
        self.grad, self.functions = torch.is_grad_enabled(), torch._C._is_torch_function_enabled()
        self.autocast = [(k, torch.get_autocast_dtype(k), torch.is_autocast_enabled(k)) for k in kinds()]
        self.cache = torch.is_autocast_cache_enabled()
        self.above: list[Any] = []  # modes of others, while one of ours is taken off under them

    def here(self) -> bool:
        """Whether this is asked in that thread."""
        return here.__dict__ is self.local

    def restore(self) -> None:
        """Whatever of ours has come since is gone; may be interrupted and repeated."""
        for entry in set(entries()) - set(self.entries):
            entry.close()
        self._modes()
        self._saved()
        autocast(self.autocast, self.cache)
        torch._C._set_grad_enabled(self.grad)
        if self.functions and not torch._C._is_torch_function_enabled():  # interrupted before a guard of ours could take itself off
            torch._C.DisableTorchFunction().__exit__(None, None, None)
        here.layers, here.flows, here.entries = self.layers, self.flows, self.entries

    def _ours(self) -> list[Any]:
        return [m for m in modes() if is_ours(m) and not any(m is known for known in self.modes)]

    def _modes(self) -> None:
        """Take our modes off the stack; those of others that lie above stay, in their order."""
        while self._ours():
            top = modes()[-1]
            if not is_ours(top) and not any(top is x for x in self.above):
                self.above.append(top)
            torch._C._pop_torch_function_stack()
        while self.above:
            if not any(self.above[-1] is m for m in modes()):
                torch._C._push_on_torch_function_stack(self.above[-1])
            self.above.pop()

    def _saved(self) -> None:
        """Take off the saved-tensor hooks of layers and of flows that have begun since."""
        since = [layer for layer in stack() if layer not in self.layers]
        for layer in since:
            layer.running = False
        wide = [flow.wide for flow in flows() if not any(flow.wide is known.wide for known in self.flows)]
        ours = [*since, *(x for x in wide if x is not None)]
        while (top := torch._C._autograd._top_saved_tensors_default_hooks(True)) is not None:
            if not any(getattr(top[0], "__self__", None) is x for x in ours):
                return
            torch._C._autograd._pop_saved_tensors_default_hooks()


def modes() -> list[Any]:
    """The stack of torch function modes, innermost last."""
    return [torch._C._get_function_stack_at(i) for i in range(torch._C._len_torch_function_stack())]


def is_ours(mode: Any) -> bool:
    """Whether a mode is a propagation."""
    return isinstance(getattr(mode, "entry", None), Entry)


def kinds() -> set[str]:
    """The kinds of device that may compute here."""
    return {"cpu", torch._C._get_accelerator().type}


def autocast(states: list[tuple[str, torch.dtype, bool]], cache: bool) -> None:
    """Set autocast as it was: (kind of device, dtype, enabled), and whether casts are kept."""
    for kind, dtype, enabled in states:
        torch.set_autocast_dtype(kind, dtype)
        torch.set_autocast_enabled(kind, enabled)
    torch.set_autocast_cache_enabled(cache)


def surely(undo: Callable[[], None]) -> None:
    """Run `undo` to its end, from the beginning after each interrupt; the last one is raised then."""
    came: BaseException | None = None
    for _ in range(TRIES):
        try:
            undo()
            break
        except BaseException as error:
            came = error
    if came is not None:
        raise came


def finish(error: BaseException | None) -> None:
    """Let generators' context managers end that an interrupt kept from it: later they would put back what we take off.

    torch calls our mode inside of one, `_pop_mode_temporarily`.
    """
    while error is not None:
        managers, trace = [], error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in ENDS:
                managers.append(trace.tb_frame.f_locals["self"])
            trace = trace.tb_next
        for manager in reversed(managers):
            if not manager.gen.gi_running:
                manager.gen.close()
        error = error.__context__


class Leaving:
    """Leaves this thread, and the modules on which hooks were hung in it since, as they were when this was made.

        leaving = Leaving(flow.entry)
        with leaving, leaving:
            ...

    Without an entry it has no last way out of its own, but that of the one around it.
    """

    done = True

    def __init__(self, entry: Entry | None = None) -> None:
        self.entry, self.thread = entry, Thread()
        if entry is not None:
            entry.owner = ref(self, partial(forsaken, entry, self.thread))
        self.done = False

    def __enter__(self) -> Leaving:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        def undo() -> None:
            finish(error)
            self.leave()

        if not self.done:
            surely(undo)

    def leave(self) -> None:
        """All as it was; in another thread, which may be the one that throws this away, the hooks alone."""
        if self.thread.here():
            self.thread.restore()
        if self.entry is not None:
            self.entry.close()
            self.entry.owner = None
        self.done = True


def forsaken(entry: Entry, thread: Thread, _: object) -> None:
    """The last way out, where both exits were interrupted and `Leaving` is gone; what others have entered since stays."""
    since = set(entries()) - set(thread.entries) if thread.here() else set()
    if since and all(other.owner is None or other.owner() is None for other in since):
        surely(thread.restore)
    surely(entry.close)
