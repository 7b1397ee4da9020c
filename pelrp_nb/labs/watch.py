"""Sees, inside the sandbox, when a student's own code calls the library's pages, and when it reaches for what watches it.

Calls are seen while they happen, by whatever name and way the function was found. The source of a page pasted into a cell is the
student's own code here, and is not seen; nor is somebody who takes this process apart with some knowledge of it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
PAGES = ("rules/", "reference.py", "engine/in_a_page.py")  # the answers to exercises, in other words
TOOLS = ("verbs.py", "errors.py", "extras.py", "__init__.py", "labs/")  # what answers are written with
CELL = "cell "  # how the file of a student's cell is called
REACHES = {
    "sys.setprofile": "switches off what watches its calls", "sys.settrace": "traces the grader",
    "gc.get_objects": "searches the memory", "gc.get_referrers": "searches the memory", "sys._current_frames": "searches the memory",
}  # fmt: skip


class Watch:
    """What the student's own code called of the library since `begin`.

    `anything`: whether all of the library is meant, or its pages alone, which a cell beside an answer has other reasons to call.
    """

    def __init__(self, reaches: Callable[[str], None]) -> None:
        self.called: dict[str, None] = {}
        self.anything, self.reaches, self.on = False, reaches, False

    def start(self) -> None:
        """Watch this thread and those to come, until the end."""
        threading.setprofile(self.event)
        sys.setprofile(self.event)
        sys.getprofile = lambda: None
        threading.setprofile = lambda func: self.reaches(REACHES["sys.setprofile"])
        sys.addaudithook(self.audit)
        self.on = True

    def begin(self, anything: bool) -> None:
        """A new cell, or a new answer."""
        self.anything, self.called = anything, {}

    def event(self, frame: FrameType, event: str, arg: Any) -> None:
        """Python calls this for each call of a function."""
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            file = frame.f_code.co_filename[len(PACKAGE) :]
            if (self.anything or file.startswith(PAGES)) and not file.startswith(TOOLS) and computes(frame, file) and by_student(frame):
                self.called[f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"] = None

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python calls this when something out of the ordinary is asked of it."""
        if self.on and (what := REACHES.get(event)) and sys._getframe(1).f_code.co_filename != threading.__file__:
            self.reaches(what)  # a new thread sets its own watch: that is no reach


def computes(frame: FrameType, file: str) -> bool:
    """Whether a call gives relevance or a result, and does not import, build or describe a rule."""
    code = frame.f_code
    return code.co_name not in ("<module>", "example", "__init__") and not file.startswith(("rules/_", "rules/__init__"))


def by_student(frame: FrameType) -> bool:
    """Whether the library was called from outside, however many functions of others (Python's, PyTorch's) lie between."""
    back = frame.f_back
    while back is not None:
        file = back.f_code.co_filename
        if file.startswith(CELL):
            return True
        if file.startswith(PACKAGE) and not file.startswith(PACKAGE + "verbs.py"):
            return file.startswith(PACKAGE + "labs")
        back = back.f_back
    return True
