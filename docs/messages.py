"""What every error of ours may say, read from the package, and the section of its page that says why and what to type."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pelrp_nb import errors

HERE = Path(__file__).parent
PACKAGE = Path(errors.__file__).parent
KINDS = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.PelrpError)}


@dataclass(frozen=True)
class Message:
    """One thing that an error says: its kind, its words with … for what is filled in (none where they are made elsewhere), its place."""

    kind: str
    words: str
    file: str
    line: int

    @property
    def section(self) -> str | None:
        """The section that it belongs to: "" for a page without sections, None where nothing claims it."""
        if self.kind not in claims():
            return ""
        fitting = [(bool(words), len(room), len(words), title) for title, room, words in claims()[self.kind] if self.fits(room, words)]
        return max(fitting)[-1] if fitting else None

    def fits(self, room: str, words: str) -> bool:
        """Whether a claim is on it."""
        return (not room or f"{self.file}/".startswith(f"{room}/")) and words in self.words


@cache
def claims() -> dict[str, list[tuple[str, str, str]]]:
    """`docs/errors/sections.toml`: kind -> title of a section, room, words."""
    found = tomllib.loads((HERE / "errors" / "sections.toml").read_text(encoding="utf-8"))
    return {
        kind: [(title, *claim.partition(": ")[::2]) for title, lines in sections.items() for claim in lines]
        for kind, sections in found.items()
    }


@cache
def messages() -> tuple[Message, ...]:
    """Everything that the package says by an error of `pelrp_nb.errors`, raised or handed out to be raised."""
    return tuple(message for path in sorted(PACKAGE.rglob("*.py")) for message in read(path.read_text(encoding="utf-8"), name_of(path)))


def name_of(path: Path) -> str:
    """A file as the claims name it."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def read(text: str, file: str) -> Iterator[Message]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and node.args:
            kind = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if kind in KINDS:
                yield Message(kind, words(node.args[0]), file, node.lineno)


def words(node: ast.expr) -> str:
    """The text of a literal, an f-string, or several in a row; empty where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if isinstance(node, ast.JoinedStr):
        return " ".join("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values).split())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return words(node.left) + words(node.right)
    return ""


def anchor(title: str) -> str:
    """What a heading is linked to by."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def page() -> str:
    """All messages, each below a link to the section that it belongs to."""
    lines = [
        "# All messages", "",
        "What each kind of error may say; … stands for what is filled in. Search this page for the words you met; the heading above them "
        "leads to why, and to what to type.", "",
    ]  # fmt: skip
    for kind in sorted({message.kind for message in messages()}):
        lines += [f"## {kind}", ""]
        titles = list(dict.fromkeys(title for title, *_ in claims().get(kind, [("",)])))
        for title in titles:
            said = sorted({message.words for message in messages() if message.kind == kind and message.section == title and message.words})
            link = f"../errors/{kind}.md" + (f"#{anchor(title)}" if title else "")
            lines += [f"### [{title or kind}]({link})", "", *(f"- `` {one} ``" for one in said), ""]
    return "\n".join(lines)
