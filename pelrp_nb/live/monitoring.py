"""The monitor: type a text, press run, and watch relevance walk back through the layers."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from traitlets import Bool, Dict, Unicode, validate

from .. import zoo
from ..composites import NAMED, Composite
from ..engine.options import Options
from ..errors import InputError, PelrpError
from ..results.explanation import Explanation
from ..targets.labels import label_names
from ..views.data import clean
from ..views.text import visible
from .desk import Desk
from .report import TRUNK, crossed, held, pulse, reported
from .worker import ENDS, Request, State, Work, devices

Pair = tuple[nn.Module, Any]
Models = nn.Module | str | Sequence[str] | Mapping[str, "Pair | str"] | None
EVERY = 0.08  # seconds between two messages to the page


class Monitor(Desk):
    """A live view of one explanation at a time; every setting is a trait, so that other widgets can be linked to it.

    text, model, target, contrast, method, device: what is set; audit: measure every softmax
    typing:  run at each pause of typing
    running: whether a run is under way
    report:  the last run as plain data, `report.reported`
    earlier: of the run before it what is shown beside it, where one word was changed; else empty
    """

    kept = ("text", "model", "target", "contrast", "method", "device", "audit", "typing", "earlier", "report")
    text = Unicode().tag(sync=True)
    model = Unicode().tag(sync=True)
    target = Unicode().tag(sync=True)
    contrast = Unicode().tag(sync=True)
    method = Unicode().tag(sync=True)
    device = Unicode().tag(sync=True)
    audit = Bool(False).tag(sync=True)
    typing = Bool(False).tag(sync=True)
    running = Bool(False).tag(sync=True)
    report = Dict().tag(sync=True)
    earlier = Dict().tag(sync=True)

    def __init__(
        self,
        models: Models = None,
        processor: Any = None,
        *,
        texts: Sequence[str] = (),
        composites: Mapping[str, Composite] | None = None,
        **settings: Any,
    ) -> None:
        self._models = offered(models, processor)
        self._loaded: dict[str, Pair] = {name: pair for name, pair in self._models.items() if not isinstance(pair, str)}
        self._composites = dict(composites or NAMED)
        self._work: Work | None = None
        self._result: Explanation | None = None
        self._before: Explanation | None = None
        self._serial, self._sent, self._spoke = 0, 0, 0.0
        texts = tuple(map(sendable, texts)) or examples(self._models)
        start = {"model": next(iter(self._models)), "method": next(iter(self._composites)), "text": texts[0] if texts else ""}
        super().__init__("monitor", {
            "models": [[name, visible(name, 60)] for name in self._models],
            "methods": [[name, visible(name, 60)] for name in self._composites],
            "devices": devices(), "texts": list(texts),
        })  # fmt: skip
        self.report = reported(State(), 0) | {"phase": "idle"}
        self.set({**start, **settings})

    # --- what is set ----------------------------------------------------------------------------------------------------

    def set(self, settings: Mapping[str, Any]) -> None:
        """Change settings by name; raises InputError for one that the monitor does not have."""
        known = self.kept[:-2]
        if unknown := set(settings) - set(known):
            raise InputError(f"The monitor has no setting {sorted(unknown)[0]!r}; it has {', '.join(known)}.")
        for name, value in settings.items():
            setattr(self, name, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)

    @validate("model", "method")
    def _known(self, proposal: Any) -> str:
        name = proposal.trait.name
        there = self._models if name == "model" else self._composites
        if proposal.value not in there:
            raise InputError(f"{name} must be one of {', '.join(there)}; got {proposal.value!r}.")
        return proposal.value

    @property
    def result(self) -> Explanation | None:
        """The explanation of the last run that ended well; None before there is one."""
        return self._result

    @property
    def before(self) -> Explanation | None:
        """The explanation that is shown beside the last one: of the text before one word was changed; None elsewhere."""
        return self._before

    # --- running --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run what is set, in a thread of its own; a run that is under way is cancelled first."""
        self._begin()

    def change(self, word: str, other: str) -> Explanation:
        """Run once more with one word of the text changed; the result before it is kept (`before`), and the view shows both.

        Raises InputError where the text does not hold the word exactly once, and what `run` raises.
        """
        places = [found.span() for found in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", self.text)]
        if len(places) != 1:
            raise InputError(f"The text must hold {word!r} once, and holds it {len(places)} times. Type monitor.run(text).")
        [(start, end)] = places
        return self._waited({"text": self.text[:start] + other + self.text[end:]}, beside=True)

    def _begin(self, beside: bool = False) -> Work:
        self.earlier = held(self.report) if beside else {}
        self._before = self._result if self.earlier else None
        before = self._work
        if before is not None:
            before.cancel()
        self._serial += 1
        self._sent, self._spoke = 0, 0.0
        serial = self._serial
        work = self._work = Work(self._request(), lambda state: self._heard_of(serial, state), after=before)
        self.running = True
        work.start()
        return work

    def cancel(self) -> None:
        """Stop at the next operation; the model is left as it was."""
        if self._work is not None:
            self._work.cancel()

    def run(self, text: str | None = None, **settings: Any) -> Explanation:
        """Run and wait for the explanation; the view shows it being made.

        Raises what `explain` raises, and InputError if the run was cancelled, or where this is called by what observes a run:
        that one cannot end while it waits for another; `start()` can be called there.
        """
        return self._waited(settings if text is None else {"text": text, **settings})

    def _waited(self, settings: Mapping[str, Any], beside: bool = False) -> Explanation:
        if self._work is not None and self._work.mine:
            raise InputError("A run is under way in this thread, so nobody can wait for another here. Type monitor.start().")
        self.set(settings)
        work = self._begin(beside)
        try:
            while work.running:
                work.wait(0.1)  # short, so that an interrupt is heard
        except KeyboardInterrupt:
            work.cancel()
            raise
        end = work.state
        if end.error is not None:
            raise end.error
        if end.result is None:
            raise InputError("The run was cancelled before it ended. Type monitor.run() to start again.")
        return end.result

    def _request(self) -> Request:
        name = self.model
        given = {
            "target": named(self.target), "contrast": named(self.contrast), "composite": self._composites[self.method],
            "options": Options(audit=self.audit),
        }  # fmt: skip
        return Request(lambda: self._pair(name), self.text, given, self.device or None)

    def _pair(self, name: str) -> Pair:
        """The model of that name and its processor, loaded at its first use."""
        if name not in self._loaded:
            self._loaded[name] = zoo.load(str(self._models[name]))
        return self._loaded[name]

    def _heard_of(self, serial: int, state: State) -> None:
        """Called in the run's thread: tell the page, not more often than it can show."""
        if serial != self._serial:
            return
        ended, now = state.phase in ENDS, time.monotonic()
        here = [boundary for boundary in state.boundaries if boundary.kind in TRUNK]
        if ended or state.phase != self.report.get("phase"):
            if state.result is not None:
                self._result = state.result
            self.report = reported(state, serial, self._labels())
            self._sent, self._spoke = len(here), now
            if ended:
                self.running = False
        elif now - self._spoke >= EVERY:
            fresh = here[self._sent :]
            self.send(clean({"serial": serial, "from": self._sent, "boundaries": crossed(fresh), **pulse(state)}))
            self._sent, self._spoke = len(here), now

    def _labels(self) -> list[str]:
        pair = self._loaded.get(self.model)
        config = getattr(pair[0], "config", None) if pair else None
        return list(label_names(pair[0], getattr(config, "num_labels", 0)).values()) if pair and config is not None else []

    # --- what the page asks ---------------------------------------------------------------------------------------------

    def ask_run(self, message: Mapping[str, Any]) -> None:
        """The run button, or a pause of typing; the settings as the page has them."""
        try:
            self.set(message.get("settings") or {})
            self._begin(beside=bool(message.get("beside")))
        except PelrpError as error:
            self.report = reported(State("failed", error=error), self._serial)

    def ask_cancel(self, message: Mapping[str, Any]) -> None:
        """The cancel button."""
        self.cancel()

    def ask_walk(self, message: Mapping[str, Any]) -> None:
        """The stepper of the last result."""
        if self._result is not None:
            sheet = self._result.sheet("stepper")
            self.send({"serial": self._serial, "walk": clean(sheet.data)})


def offered(models: Models, processor: Any) -> dict[str, Pair | str]:
    """Names to choose from, each with its model and processor, or the zoo name or folder that is loaded when it is chosen."""
    if models is None:
        return {name: name for name in zoo.names()}
    if isinstance(models, nn.Module):
        return {called(models): (models, processor)}
    if isinstance(models, str):
        return {models: models}
    if isinstance(models, Mapping):
        found = dict(models)
    elif isinstance(models, Sequence):
        found = {str(name): str(name) for name in models}
    else:
        raise InputError(f"The monitor needs a model, a name, or a mapping of names to models; got {type(models).__name__}.")
    for name, pair in found.items():
        if not isinstance(pair, str) and not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], nn.Module)):
            raise InputError(f"{name!r} must be (model, processor) or a name of the zoo, got {type(pair).__name__}.")
    if not found:
        raise InputError("There is no model to choose from. Type monitor(model, tokenizer).")
    return found


def called(model: nn.Module) -> str:
    """A model's name: the last part of where it was loaded from, else its class."""
    return Path(getattr(getattr(model, "config", None), "_name_or_path", "") or "").name or type(model).__name__


def examples(models: Mapping[str, Any], count: int = 8) -> tuple[str, ...]:
    """A few held-out sentences, where a model of the zoo was trained on such."""
    known = next((name for name in models if name in zoo.names()), None)
    return tuple(example.text for example in zoo.task(known).examples[:count]) if known else ()


def sendable(text: str) -> str:
    """The text without halves of a character (lone surrogates), which no message can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def named(text: str) -> Any:
    """A target as typed: nothing is None, digits are an id, anything else a label or token."""
    text = text.strip()
    return None if not text else int(text) if text.isdecimal() else text
