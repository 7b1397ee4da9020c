"""One explanation in a thread of its own: heard of while it runs, stopped on request.

The rules are in force per thread, so nothing else is touched.  To stop it, an exception of our own is raised inside its next torch
call or boundary; the engine then takes down what it hung up, as after any error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..engine.options import Options
from ..engine.support import device_of
from ..engine.trace import Boundary
from ..errors import InputError
from ..explain import explain
from ..inputs.encode import encode
from ..inputs.model_input import Labels
from ..results.explanation import Explanation
from .memory import Meter

Phase = Literal["waiting", "loading", "forward", "backward", "done", "cancelled", "failed"]
ENDS: tuple[Phase, ...] = ("done", "cancelled", "failed")
BEAT = 0.5  # seconds between two signs of life


class Cancelled(BaseException):
    """Somebody pressed cancel; no `except Exception` on the way may take it for an error of its own."""


@dataclass(frozen=True)
class Request:
    """What to explain.

    model: loads (or hands out) the model and its processor, called in the thread
    given: keywords of `explain`: target, contrast, composite, options
    device: where to run; None: where the model is
    """

    model: Callable[[], tuple[nn.Module, Any]]
    inputs: Any
    given: dict[str, Any] = field(default_factory=dict)
    device: str | None = None


@dataclass(frozen=True)
class State:
    """How far a run is.

    tokens, special: of the text, once known
    boundaries: those that the walk back has reached, the last layer first
    times:   seconds by phase, and "total"
    memory:  bytes at the peak so far, and what was measured
    """

    phase: Phase = "waiting"
    tokens: tuple[str, ...] = ()
    special: tuple[bool, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    times: dict[str, float] = field(default_factory=dict)
    memory: tuple[int, str] | None = None
    result: Explanation | None = None
    error: BaseException | None = None


class Work:
    """A run: `start()`, then `cancel()` or `wait()`; `tell(state)` is called in its thread at every change."""

    def __init__(self, request: Request, tell: Callable[[State], None] = lambda state: None, after: Work | None = None) -> None:
        self.request, self.state = request, State()
        self._tell, self._after = tell, after
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="pelrp_nb live", daemon=True)
        self._began = self._entered = time.perf_counter()
        self._times: dict[str, float] = {}
        self._meter: Meter | None = None

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._thread.is_alive()

    @property
    def mine(self) -> bool:
        """Whether this is asked from inside the run."""
        return threading.current_thread() is self._thread

    def start(self) -> Work:
        """Begin, after the run before this one has ended."""
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Stop at the next operation; nothing happens if it has ended."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> State:
        """The state at the end, or after `timeout` seconds."""
        self._thread.join(timeout)
        return self.state

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if self._after is not None:
            self._after.wait()
            self._after = None
        self._began = self._entered = time.perf_counter()
        pulse = threading.Thread(target=self._beat, name="pelrp_nb pulse", daemon=True)
        try:
            self._check()
            self._enter("loading")
            pulse.start()
            result = self._explain()
            self._enter("done", result=result)
        except Cancelled:
            self._enter("cancelled")
        except Exception as error:  # a library may still have turned our exception into one of its own
            if self._stop.is_set():
                self._enter("cancelled")
            else:
                self._enter("failed", error=error)
        finally:
            self._stop.set()

    def _explain(self) -> Explanation:
        request = self.request
        model, processor = request.model()
        with elsewhere(model, request.device), Meter(model) as meter, Watched(self._check):
            self._meter = meter
            labels = next(iter(encode(model, request.inputs, processor).labels.values()), Labels())
            self._enter("forward", tokens=labels.tokens, special=labels.special)
            options = replace(request.given.get("options") or Options(), watch=self._arrived)
            found = explain(model, request.inputs, processor=processor, **{**request.given, "options": options})
        if isinstance(found, list):
            raise InputError(f"One text and one target are explained at a time; this gives {len(found)} explanations.")
        return found

    def _arrived(self, boundary: Boundary) -> None:
        self._check()
        if self.state.phase == "forward":
            self._enter("backward")
        self._change(boundaries=(*self.state.boundaries, boundary))

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    def _enter(self, phase: Phase, **more: Any) -> None:
        now = time.perf_counter()
        if self.state.phase in ("loading", "forward", "backward"):
            self._times[self.state.phase] = now - self._entered
        self._entered = now
        self._change(phase=phase, **more)

    def _change(self, **more: Any) -> None:
        with self._lock:
            times = {**self._times, "total": time.perf_counter() - self._began}
            self.state = replace(self.state, times=times, memory=self._meter.read() if self._meter else None, **more)
            self._tell(self.state)

    def _beat(self) -> None:
        """A sign of life while nothing else happens."""
        while not self._stop.wait(BEAT) and self.state.phase not in ENDS:
            self._change()


class Watched(TorchFunctionMode):
    """Calls `check` before every torch call of this thread that computes."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """The call itself, unless `check` raises."""
        if func is not torch._C._set_grad_enabled:  # by which others put things back as they were
            self._check()
        return func(*args, **(kwargs or {}))


def devices() -> list[str]:
    """Where a model can run here: the processor, and every accelerator that torch sees."""
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


@contextmanager
def elsewhere(model: nn.Module, device: str | None) -> Iterator[None]:
    """The model on another device inside the `with`, and back where it was afterwards.

    Raises InputError if there is no such device here, or if the model is spread over several.
    """
    home = device_of(model)
    if device is None or torch.device(device) == home or device == home.type:
        yield
        return
    if device not in devices():
        raise InputError(f"The device must be one of {', '.join(devices())}; got {device!r}.")
    if hasattr(model, "hf_device_map"):
        raise InputError("The model is spread over several devices; it runs where it is. Choose no device.")
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
