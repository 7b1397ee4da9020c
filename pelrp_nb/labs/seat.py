"""The student's seat: runs a notebook's cells inside the sandbox, then answers the grader's questions with what they defined.

Nothing it says is believed: an answer counts only if it is right for inputs that were drawn after the cells had run.
"""

from __future__ import annotations

import ast
import os
import resource
import sys
from typing import Any, BinaryIO

MEGABYTE = 2**20


def main() -> None:
    """Take the channel away from the cells, give up privileges, run what is sent, answer until the end."""
    asked, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    confine(int(sys.argv[1]), int(sys.argv[2]))
    import torch

    from . import channel
    from . import course as course  # loaded before the cells run: no answer may wait for it

    torch.set_num_threads(1)
    Seat(asked, said, channel).serve()


def confine(user: int, megabytes: int) -> None:
    """Another user where this one is root, and hard limits on memory, processes, files; none of it can be undone."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for what, most in (
        (resource.RLIMIT_DATA, megabytes * MEGABYTE), (resource.RLIMIT_NPROC, 24), (resource.RLIMIT_FSIZE, 16 * MEGABYTE),
        (resource.RLIMIT_NOFILE, 128), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))
    os.chdir(os.environ["HOME"])


class Seat:
    """The namespace of one notebook, and what its cells handed in."""

    def __init__(self, asked: BinaryIO, said: BinaryIO, channel: Any) -> None:
        self.asked, self.said, self.channel = asked, said, channel
        self.space: dict[str, Any] = {"__name__": "__main__"}
        self.handed: dict[str, list[Any]] = {}
        self.who = self.token = ""

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.said.write(self.channel.line({"token": self.token, **message}))
        self.said.flush()

    def serve(self) -> None:
        """Run the cells, say what was handed in, answer questions until there are no more."""
        first = self.channel.message(self.asked.readline())
        self.listen()
        self.token, skipped = first["token"], set(first["skip"])
        for number, source in enumerate(first["cells"]):
            if number not in skipped:
                self.say(cell=number)
                self.run(number, source)
        exercises = first["exercises"].items()
        self.say(done={exercise: len(self.candidates(exercise, name)) for exercise, name in exercises}, who=self.who[:200])
        for raw in self.asked:
            self.answer(self.channel.message(raw))

    def listen(self) -> None:
        """Take what a notebook hands to `labs.check`, and who it says it is; look at nothing here."""
        from pelrp_nb import labs

        def check(name: str, answer: Any) -> bool:
            self.handed.setdefault(str(name)[:80], []).append(answer)
            return True

        def student(who: str) -> str:
            self.who = str(who)
            return real(who)

        real = labs.student
        labs.check, labs.student = check, student  # type: ignore[assignment]

    def run(self, number: int, source: str) -> None:
        """One cell, as a notebook would run it: what it raises ends the cell, not the rest."""
        try:
            exec(compile(plain(source), f"cell {number}", "exec"), self.space)
        except BaseException as error:
            self.say(cell=number, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def answer(self, question: dict[str, Any]) -> None:
        """The answer of one handed-in function to one case."""
        from .course import by_name
        from .limits import Problem, said

        reply: dict[str, Any] = {"id": question["id"]}
        exercise = by_name(question["exercise"])
        try:
            assert exercise is not None, question["exercise"]
            given = self.candidates(question["exercise"], question["name"])[question["candidate"]]
            inputs = self.channel.decode(question["inputs"])
            found = given if exercise.kind == "value" else given if given is None else exercise.apply(given, inputs)
            reply["answer"] = self.channel.encode(None if found is Ellipsis else found)
        except Problem as problem:
            reply["problem"] = str(problem)
        except BaseException as error:
            reply["problem"] = said(error)[:600]
        self.say(**reply)

    def candidates(self, exercise: str, name: str) -> list[Any]:
        """What may be meant: the last things handed in for the exercise, and what goes by its usual name."""
        named = [self.space[name]] if name in self.space else []
        meant = [*reversed(self.handed.get(exercise, [])), *named]
        return [each for i, each in enumerate(meant) if all(each is not other for other in meant[:i])]


def plain(source: str) -> ast.Module:
    """A cell without the lines that only a notebook understands."""
    lines = source.splitlines()
    if lines and lines[0].lstrip().startswith("%%"):
        lines = []
    kept = [indent(x) + "pass" if x.lstrip()[:1] in ("%", "!") else x for x in lines]
    return ast.parse("\n".join(kept))


def indent(text: str) -> str:
    """The blanks a line begins with."""
    return text[: len(text) - len(text.lstrip())]


if __name__ == "__main__":
    main()
