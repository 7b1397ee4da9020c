"""Formulas as MathML, which browsers draw by themselves: no script, no font, no network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

ANOTHER = {r"\dots": r"\ldots"}  # spellings that docutils does not know


def converted(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    latex = node.astext()
    for spelt, known in ANOTHER.items():
        latex = latex.replace(spelt, known)
    try:
        return tex2mathml(latex, as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("a formula that is not understood: %s in %s", error, latex, location=node)
        return f"<code>{latex}</code>"


def inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(converted(node, as_block=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{converted(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
