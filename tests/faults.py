"""A fault at every call of a forward pass and of the walk back: `python tests/faults.py [--every N]`.

A call of the forward pass is one of torch that the engine sees; a call of the walk back is a hook of a tensor or the backward pass of
one of our functions.  At each of them, one after the other, an exception is raised before it or after it.  It must come out, the
model must be as it was, and the next explanation the same, to the bit.  Entering and leaving themselves: `tests/interrupts.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import torch
from interrupts import DOORS, MODELS, changed, equal, model_of, surroundings
from torch import Tensor, nn

from pelrp_nb.engine.propagation import Propagation

KINDS = (RuntimeError, MemoryError, KeyboardInterrupt)


def functions(of: type = torch.autograd.Function) -> Iterator[type]:
    """Our own functions with a backward pass."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("pelrp_nb") and "backward" in vars(kind):
            yield kind
        yield from functions(kind)


class Fault:
    """Inside the `with`, an exception at the `at`-th call; None counts them. `after`: once the call is done, not before."""

    def __init__(self, at: int | None = None, kind: type[BaseException] = RuntimeError, after: bool = False) -> None:
        self.at, self.kind, self.after = at, kind, after
        self.calls: list[str] = []
        self.raised = False

    def counted(self, function: Callable, name: str) -> Callable:
        """The function as one of the calls."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            mine = self.at is not None and len(self.calls) == self.at + 1
            if mine and not self.after:
                self.fail()
            out = function(*args, **kwargs)
            if mine and self.after:
                self.fail()
            return out

        return call

    def fail(self) -> None:
        self.raised = True
        raise self.kind("injected")

    def __enter__(self) -> Fault:
        self.kept = [(Propagation, "__torch_function__", Propagation.__torch_function__), (Tensor, "register_hook", Tensor.register_hook)]
        self.kept += [(kind, "backward", kind.__dict__["backward"]) for kind in functions()]
        (_, _, seen), (_, _, hang), *backward = self.kept
        Propagation.__torch_function__ = self.counted(seen, "forward")
        Tensor.register_hook = lambda x, hook: hang(x, self.counted(hook, "hook"))
        for kind, _, function in backward:
            kind.backward = staticmethod(self.counted(function.__func__, kind.__name__))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, before in self.kept:
            setattr(owner, name, before)


def weights(model: nn.Module) -> list[tuple[int, Tensor, bool, bool]]:
    """Of each parameter: which it is, its numbers, whether it wants a gradient, whether it has one."""
    return [(id(p), p.detach().clone(), p.requires_grad, p.grad is None) for p in model.parameters()]


def same(before: list[tuple[int, Tensor, bool, bool]], after: list[tuple[int, Tensor, bool, bool]]) -> bool:
    """Whether nothing of them is other than it was."""
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) and a[2:] == b[2:] for a, b in zip(before, after, strict=True))


def calls_of(run: Callable[[], Any]) -> list[str]:
    """What all calls of an explanation are, in order."""
    with Fault() as counted:
        run()
    return counted.calls


def tried(model: nn.Module, run: Callable[[], Any], fault: Fault, right: Any) -> str | None:
    """What is wrong after one fault; None if nothing is."""
    before, numbers = surroundings(model), weights(model)
    try:
        with fault:
            run()
    except fault.kind as error:
        if str(error) != "injected":
            return f"{type(error).__name__}: {error}"
    except BaseException as error:
        return f"another came out: {type(error).__name__}: {error}"
    else:
        return "it was swallowed" if fault.raised else "it was not met"
    left = changed(before, surroundings(model))
    if left or not same(numbers, weights(model)):
        return f"left behind: {', '.join(left[:4]) or 'numbers'}"
    return None if equal(run(), right) else "explained otherwise"


def sweep(name: str, door: str, every: int = 1, first: int = 0, turn: int = 0) -> Iterator[tuple[int, str, str | None]]:
    """(number of the call, what it is, what is wrong) of every so-many-th call; kinds of exceptions take turns, from that one on."""
    model, x, options = model_of(name)
    run = partial(DOORS[door], model, x, **options)
    right, calls = run(), calls_of(run)
    for number, k in enumerate(range(first, len(calls), every), turn):
        fault = Fault(k, KINDS[number % len(KINDS)], after=number // len(KINDS) % 2 == 1)
        yield k, f"{calls[k]}, {fault.kind.__name__} {'after' if fault.after else 'before'}", tried(model, run, fault, right)


def main() -> int:
    """Try them all; say what was left behind or explained otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="at every n-th call")
    given, faults = parser.parse_args(), 0
    for name in MODELS:
        for door in DOORS:
            tries = 0
            for turn in range(len(KINDS)):  # so that each call meets each kind
                for k, what, wrong in sweep(name, door, given.every, turn=turn):
                    tries += 1
                    if wrong:
                        faults += 1
                        print(f"{name}, {door}: call {k} ({what}): {wrong}", flush=True)
            print(f"{name}, {door}: {tries} faults injected", flush=True)
    print(f"{faults} held badly")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
