"""Docstrings as they are written here, in the words of reStructuredText.

Ours are plain text, made to be read by `help`: paragraphs, indented formulas and code, lists of `name: what it is`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from sphinx.application import Sphinx

ITEM = re.compile(r'(?P<name>[\w"*][\w"*, .=/()\[\]{}]{0,44}?):(?:\s+(?P<said>\S.*))?$')
SECTION = re.compile(r"(Args|Returns|Raises|Yields):$")
CODE = re.compile(r"(?P<tick>`+)(?P<code>.+?)(?P=tick)")


def converted(text: str) -> list[str]:
    """The lines of a docstring for Sphinx; empty where there is none."""
    out: list[str] = []
    for block in re.split(r"\n[ \t]*\n", inspect.cleandoc(text)):
        out += [*paragraph(block.split("\n")), ""]
    return out


def paragraph(lines: list[str]) -> Iterator[str]:
    """One block between empty lines: a section, a list, a formula, or plain prose."""
    if all(line.startswith("    ") for line in lines):
        yield from ("::", "", *(f"    {line}" for line in lines))
    elif SECTION.match(lines[0]):
        yield from (f"**{lines[0][:-1]}**", "", *paragraph(inspect.cleandoc("\n" + "\n".join(lines[1:])).split("\n")))
    elif ITEM.match(lines[0]) and all(line.startswith("  ") or ITEM.match(line) for line in lines) and len(lines) > 1:
        yield from listed(lines)
    else:
        for number, line in enumerate(lines):
            if number and line.startswith("    "):  # a formula below its sentence
                yield from ("", *paragraph(lines[number:]))
                return
            yield prose(line.strip())


def listed(lines: list[str]) -> Iterator[str]:
    for line in lines:
        found = None if line.startswith("  ") else ITEM.match(line)
        if found:
            yield f"* **{prose(found['name'])}**: {prose(found['said'] or '')}".rstrip()
        else:
            yield f"  {prose(line.strip())}"


def prose(text: str) -> str:
    """Text in which nothing is markup but what stands between back ticks."""
    out, at = "", 0
    for found in CODE.finditer(text):
        out += plain(text[at : found.start()]) + f"``{found['code']}``\\ "
        at = found.end()
    return out + plain(text[at:])


def plain(text: str) -> str:
    return re.sub(r"([\\*`|_<])", r"\\\1", text)


def convert(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = converted("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
