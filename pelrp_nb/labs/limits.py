"""A student's code may raise, hang or leave: it runs in a thread of its own, for a limited time, and the notebook goes on."""

from __future__ import annotations

import ctypes
import threading
import traceback
from collections.abc import Callable
from typing import Any

SECONDS = 10.0
GRACE = 0.5
LEAST = 0.05  # of what is left for the last cases
TOO_LONG = "It did not finish"  # how these three begin or read: the checks tell them apart by that
NOTHING = "It gives nothing back yet: a function ends in a `return`."
UNWRITTEN = "It is not written yet: it raises NotImplementedError."


class Problem(Exception):
    """Why there is nothing to look at: a sentence for the student."""


class TimeUp(BaseException):
    """Raised inside code that ran too long."""


def within(seconds: float, run: Callable[[], Any], allowed: float | None = None) -> Any:
    """What `run` returns, if it returns in time; `allowed` is what is said to be allowed, for all cases together.

    Works in any thread of any host, without signals. Raises Problem where `run` raises, leaves the interpreter, or takes too
    long; code that does not stop when told to is left behind in its thread.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(run())
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: the notebook must go on
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True, name="a student's answer")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Problem(_too_long(allowed or seconds, thread))
    if failed:
        error = failed[0]
        raise error if isinstance(error, Problem) else Problem(said(error))
    return found[0]


def _too_long(seconds: float, thread: threading.Thread) -> str:
    stop(thread)
    thread.join(GRACE)
    what = f"{TOO_LONG} within {seconds:g} seconds for all cases; look for a loop that never ends."
    return what + (" It still runs in the background: restart the kernel." if thread.is_alive() else "")


def stop(thread: threading.Thread) -> None:
    """Raise TimeUp in a thread as soon as it runs Python code again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeUp))


def said(error: BaseException) -> str:
    """An exception in one sentence, with the line of the student's own code that raised it."""
    if isinstance(error, NotImplementedError) and not str(error):
        return UNWRITTEN
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "pelrp_nb" not in frame.filename and "/torch/" not in frame.filename.replace("\\", "/")]
    where = f" in line {own[-1].lineno} of its cell or file, `{own[-1].line}`" if own and own[-1].line else ""
    text = " ".join(str(error).split())[:300]
    return f"It raised {type(error).__name__}{where}: {text}" if text else f"It raised {type(error).__name__}{where}."
