"""The student's seat: runs a notebook's cells inside the sandbox, then answers the grader's questions with what they defined.

Nothing it says is believed: an answer counts only if it is right for inputs that were drawn after the cells had run.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import resource
import sys
from types import ModuleType
from typing import Any, BinaryIO

MEGABYTE = 2**20
BESIDE = 100  # megabytes of the bound that are kept for what a process does not count as its data: its code, its files
MAGIC = re.compile(r"\s*([%!?]|[\w.]+\?{1,2}\s*$|\w+\s*=\s*[%!])")
OTHER_LANGUAGES = (
    "%%bash",
    "%%sh",
    "%%html",
    "%%javascript",
    "%%js",
    "%%latex",
    "%%markdown",
    "%%writefile",
    "%%script",
    "%%perl",
    "%%ruby",
)


def main() -> None:
    """Take the channel away from the cells, give up privileges, run what is sent, answer until the end."""
    if sys.argv[3:] == ["try"]:  # whether this machine can: errors are told
        return confine(int(sys.argv[1]), int(sys.argv[2]))
    asked, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    confine(int(sys.argv[1]), int(sys.argv[2]))
    import torch

    torch.set_num_threads(1)
    Seat(asked, said).serve()


def confine(user: int, megabytes: int) -> None:
    """Another user where this one is root, hard limits on memory, threads, files, and a filter of system calls, all for good."""
    from pelrp_nb.labs.seccomp import install

    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for what, most in (
        (resource.RLIMIT_DATA, (megabytes - BESIDE) * MEGABYTE), (resource.RLIMIT_STACK, 16 * MEGABYTE), (resource.RLIMIT_NPROC, 256),
        (resource.RLIMIT_FSIZE, 16 * MEGABYTE), (resource.RLIMIT_NOFILE, 128), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))
    os.chdir(os.environ["HOME"])
    install()


class Seat:
    """The namespace of one notebook, and what its cells handed in."""

    def __init__(self, asked: BinaryIO, said: BinaryIO) -> None:
        from pelrp_nb.labs import channel, course
        from pelrp_nb.labs.watch import Watch

        self.asked, self.said, self.channel, self.course = asked, said, channel, course
        main = ModuleType("__main__")
        sys.modules["__main__"], self.space = main, vars(main)
        self.space.update(display=lambda *shown, **how: None, get_ipython=lambda: Notebook())
        self.handed: dict[str, list[Any]] = {}
        self.who, self.signed, self.token = "", False, ""
        self.watch = Watch(lambda what: self.say(reaches=what))

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.said.write(self.channel.line({"token": self.token, **message}))
        self.said.flush()

    def serve(self) -> None:
        """Run the cells, say what was handed in, answer questions until there are no more."""
        first = self.channel.message(self.asked.readline())
        self.course.tell(first["exercises"])  # type: ignore[attr-defined]
        self.listen()
        self.token, skipped, asked = first["token"], set(first["skip"]), self.course.of_lab(first["lab"])
        self.watch.start()
        for number, source in enumerate(first["cells"]):
            if number not in skipped:
                self.say(cell=number)
                self.run(number, source, {each.name: each.answer for each in asked if each.kind == "value"})
        there = {each.name: len(self.candidates(each.name, each.answer)) for each in asked}
        self.say(done=there, who=self.who[:200], signed=self.signed)
        for raw in self.asked:
            self.answer(self.channel.message(raw))

    def listen(self) -> None:
        """Take what a notebook hands to `labs.check`, and who it says it is; look at nothing here."""
        from pelrp_nb import labs

        def check(name: str, answer: Any) -> bool:
            self.handed.setdefault(str(name)[:80], []).append(answer)
            return True

        def student(who: str) -> str:
            self.who, self.signed = str(who), True
            return real(who)

        def given(name: str) -> tuple[Any, ...]:
            self.say(given=str(name)[:80], who=self.who[:200])
            found = self.channel.message(self.asked.readline())
            if "problem" in found:
                raise ValueError(found["problem"])
            return self.channel.decode(found["inputs"])

        real = labs.student
        labs.check, labs.student, labs.given = check, student, given  # type: ignore[assignment]

    def run(self, number: int, source: str, values: dict[str, str]) -> None:
        """One cell, as a notebook would run it: what it raises ends the cell, not the rest."""
        before = {name: self.latest(name, answer) for name, answer in values.items()}
        self.watch.begin(anything=False)
        try:
            code = compile(plain(source), f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            waits = eval(code, self.space)
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(waits)
        except BaseException as error:
            self.say(cell=number, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        for name, answer in values.items():
            if self.watch.called and self.latest(name, answer) is not before[name]:
                self.say(calls=list(self.watch.called)[:3], exercise=name)

    def latest(self, exercise: str, name: str) -> Any:
        """What would be taken as the answer to an exercise now."""
        return next(iter(self.candidates(exercise, name)), None)

    def answer(self, question: dict[str, Any]) -> None:
        """The answer of one handed-in function to one case."""
        from pelrp_nb.labs.limits import Problem, said

        reply: dict[str, Any] = {"id": question["id"]}
        exercise = self.course.by_name(question["exercise"])
        self.watch.begin(anything=True)
        try:
            assert exercise is not None, question["exercise"]
            given = self.candidates(exercise.name, exercise.answer)[question["candidate"]]
            inputs = self.channel.decode(question["inputs"])
            found = given if exercise.kind == "value" else given if given is None else exercise.apply(given, inputs)
            reply["answer"] = self.channel.encode(None if found is Ellipsis else found)
        except Problem as problem:
            reply["problem"] = str(problem)
        except BaseException as error:
            reply["problem"] = said(error)[:600]
        if self.watch.called:
            self.say(calls=list(self.watch.called)[:3], exercise=question["exercise"])
        self.say(**reply)

    def candidates(self, exercise: str, name: str) -> list[Any]:
        """What may be meant: the last things handed in for the exercise, and what goes by its usual name."""
        named = [self.space[name]] if name in self.space else []
        meant = [*reversed(self.handed.get(exercise, [])), *named]
        return [each for i, each in enumerate(meant) if all(each is not other for other in meant[:i])]


class Notebook:
    """What `get_ipython()` gives here: every command of it does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


def plain(source: str) -> ast.Module:
    """A cell without the lines that only a notebook understands: `%magic`, `!command`, `%%magic` above, `name?`."""
    try:
        return parsed(source)
    except SyntaxError:
        lines = source.splitlines()
        while lines and (not lines[0].strip() or lines[0].lstrip().startswith("%%")):
            if lines.pop(0).lstrip().startswith(OTHER_LANGUAGES):
                return parsed("")
        return parsed("\n".join(indent(x) + "pass" if MAGIC.match(x) else x for x in lines))


def parsed(source: str) -> ast.Module:
    """A cell's syntax tree; `await` may stand in it, as in a notebook."""
    return compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def indent(text: str) -> str:
    """The blanks a line begins with."""
    return text[: len(text) - len(text.lstrip())]


if __name__ == "__main__":
    main()
