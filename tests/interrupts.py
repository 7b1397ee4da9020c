"""A Ctrl-C at a chosen place of entering or leaving: raised by a trace function at the k-th line, or between two instructions.

python tests/interrupts.py [--every N] [--opcodes] [--twice]        the full sweep over three models
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FrameType
from typing import Any

import torch
from models import build, inputs, score
from torch import nn
from torch.utils.hooks import RemovableHandle

import pelrp_nb
from pelrp_nb.composites import PA_LRP
from pelrp_nb.engine import attach, checkpointing, leaving, module_hooks, saved
from pelrp_nb.engine.backward import conditional
from pelrp_nb.engine.options import Options
from pelrp_nb.engine.propagation import propagate

MODELS = ("llama", "gpt2", "checkpointing llama")
PLACES = (
    attach.attach, attach.walking.__wrapped__, conditional.listen, propagate.__wrapped__, checkpointing.Layer.again, pelrp_nb.explain,
    sys.modules["pelrp_nb.explain"].Run.together, nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook,
    RemovableHandle.__init__, torch.overrides.TorchFunctionMode.__enter__, torch.overrides._push_mode,
)  # fmt: skip
FILES = {leaving.__file__, module_hooks.__file__, contextlib.__file__}


def traced(code: CodeType) -> bool:
    """Whether the code enters or leaves; not where it holds a lock, which C code gives back whatever comes, but for a trace function."""
    if code in (module_hooks.Entry.instead.__code__, module_hooks.Entry._restore.__code__):
        return False
    return code.co_filename in FILES or any(code is place.__code__ for place in PLACES)


class Interrupt:
    """Inside the `with`, a KeyboardInterrupt at the `at`-th step of entering or leaving, and others so many steps later each.

    A trace function that raises is taken off by Python, so it is set again whenever leaving begins, and begins once more.
    """

    def __init__(self, at: int | None = None, *later: int, opcodes: bool = False) -> None:
        self.left, self.opcodes = [] if at is None else [at, *later], opcodes
        self.steps: list[tuple[str, int]] = []  # all that were passed
        self.raised = 0  # how often

    def __enter__(self) -> Interrupt:
        self.exit, self.finish = leaving.Leaving.__exit__, leaving.finish
        leaving.Leaving.__exit__, leaving.finish = self.once_more(self.exit), self.once_more(self.finish)
        sys.settrace(self.call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        leaving.Leaving.__exit__, leaving.finish = self.exit, self.finish

    def once_more(self, function: Callable) -> Callable:
        """The function, with the trace function set before."""

        def call(*given: Any) -> None:
            if self.left:
                sys.settrace(self.call)
            function(*given)

        return call

    def call(self, frame: FrameType, event: str, _: Any) -> Callable | None:
        """A function begins."""
        if not traced(frame.f_code):
            return None
        frame.f_trace_opcodes = self.opcodes
        return self.step

    def step(self, frame: FrameType, event: str, _: Any) -> Callable:
        """One line or one instruction."""
        if event == ("opcode" if self.opcodes else "line"):
            self.steps.append((frame.f_code.co_qualname, frame.f_lasti if self.opcodes else frame.f_lineno))
            if self.left and len(self.steps) > self.left[0]:
                del self.left[0]
                self.steps.clear()
                self.raised += 1
                raise KeyboardInterrupt
        return self.step


def model_of(name: str) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """One of the three, an input, and the options that it is explained with."""
    family = name.split()[-1]
    model = build(family, "eager" if family == "gpt2" else "sdpa")
    if name == "checkpointing llama":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    only_head = {"only": {"layer 1": {"heads": [1]}}} if name == "gpt2" else {}
    return model, inputs(family, 5), only_head


def explained(model: nn.Module, x: dict[str, Any], **options: Any) -> Any:
    """An explanation by the public door."""
    return pelrp_nb.explain(model, x, options=Options(**options))


def by_hand(model: nn.Module, x: dict[str, Any], **options: Any) -> Any:
    """The same by the engine's own."""
    with propagate(model, PA_LRP, Options(**options)) as flow:
        return flow.trace(score(model(**x)))


DOORS = {"explain": explained, "propagate": by_hand}
HOOKS = (
    "_forward_pre_hooks", "_forward_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_hooks",
)  # fmt: skip


def surroundings(model: nn.Module) -> dict[str, Any]:
    """All that must be afterwards as it was before: hooks in their order, attributes, and what holds in this thread."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        found |= {f"{name}.{kind}": list(getattr(module, kind).items()) for kind in HOOKS}
        found |= {f"{name}.{n}": x if callable(x) else None for n, x in vars(module).items() if n not in HOOKS}
    found |= {"modes": leaving.modes(), "flows": saved.flows(), "layers": saved.stack(), "entries": module_hooks.entries()}
    found["saved tensors"] = torch._C._autograd._top_saved_tensors_default_hooks(True)
    found["autocast"] = torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled(), torch.get_autocast_dtype("cpu")
    found["functions"] = torch._C._is_torch_function_enabled()
    return found | {"grad": torch.is_grad_enabled(), "training": [m.training for m in model.modules()]}


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as it was."""
    return [name for name in before | after if before.get(name, "nothing") != after.get(name, "nothing")]


def interrupted(run: Callable[[], Any], interrupt: Interrupt | Alarm) -> bool:
    """Whether the interrupt came out of `run`, as it must."""
    try:
        with interrupt:
            run()
    except KeyboardInterrupt:
        return True
    return False


def steps_of(run: Callable[[], Any], opcodes: bool = False) -> list[tuple[str, int]]:
    """Every step of entering and leaving, in order."""
    counted = Interrupt(opcodes=opcodes)
    with counted:
        run()
    return counted.steps


def of_each_line(steps: list[tuple[str, int]], last: bool = False) -> list[int]:
    """The number of the first (or last) step at each line."""
    found: dict[tuple[str, int], int] = {}
    for number, step in enumerate(steps):
        if last or step not in found:
            found[step] = number
    return sorted(found.values())


class Alarm:
    """A real signal after so many seconds, which raises KeyboardInterrupt as Ctrl-C does; none once the `with` is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.raised = seconds, 0

    def __enter__(self) -> Alarm:
        self.before = signal.signal(signal.SIGALRM, self.ring)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def ring(self, *_: object) -> None:
        """The signal has come."""
        self.raised += 1
        raise KeyboardInterrupt


def equal(a: Any, b: Any) -> bool:
    """Two explanations, or two traces, to the bit."""
    tensors = torch.equal(a.semantic, b.semantic) and torch.equal(a.positional, b.positional)
    boundaries = [[(x.name, x.relevance.tolist(), x.gap) for x in one.boundaries] for one in (a, b)]
    return tensors and boundaries[0] == boundaries[1] and a.ledger == b.ledger


# --- the full sweep --------------------------------------------------------------------------------------------------


def attempts(run: Callable[[], Any], given: argparse.Namespace, rng: random.Random) -> Iterator[tuple[str, Any]]:
    """Every interrupt to be tried, and what to call it."""
    steps = steps_of(run, given.opcodes)
    aimed = range(0, len(steps), given.every) if given.every else of_each_line(steps, last=True)
    for k in aimed:
        yield f"{k} {steps[k]}", Interrupt(k, opcodes=given.opcodes)
    for _ in range(given.twice):
        k, later = rng.randrange(len(steps)), int(10 ** rng.uniform(0, 3))
        yield f"{k} {steps[k]} and {later} later", Interrupt(k, later, opcodes=given.opcodes)
    began = time.perf_counter()
    run()
    whole = time.perf_counter() - began
    for _ in range(given.random):
        after = rng.uniform(0.0002, whole)
        yield f"a signal after {after:.6f} s", Alarm(after)


def main() -> int:
    """Try them all; say what was left behind or explained otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=0, help="at every n-th step; 0: the last step at each line")
    parser.add_argument("--opcodes", action="store_true", help="between any two instructions, not lines")
    parser.add_argument("--twice", type=int, default=50, help="so many with a second interrupt while leaving")
    parser.add_argument("--random", type=int, default=50, help="so many at any time, by a signal")
    given, faults = parser.parse_args(), 0
    for name in MODELS:
        model, x, options = model_of(name)
        before = surroundings(model)
        for door in DOORS.values():
            run, tried, came = partial(door, model, x, **options), 0, 0
            right = run()
            for what, interrupt in attempts(run, given, random.Random(0)):
                out = interrupted(run, interrupt)
                came, tried = came + out, tried + 1
                left = changed(before, surroundings(model)) + ["swallowed"] * (interrupt.raised > 0 and not out)
                if left or not equal(run(), right):
                    faults += 1
                    print(f"{name}, {door.__name__}: {what}: {', '.join(left[:4]) or 'explained otherwise'}", flush=True)
            print(f"{name}, {door.__name__}: {tried} tried, {came} interrupted", flush=True)
    print(f"{faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
