"""Rows that other packages compute: they are run and not rewritten, where they are installed.

    auto-lrp    autoLRP (Alasad 2026), by its own rules; pip install autolrp

DynamicLRP (arXiv 2512.07010) is in no registry, so it has no row: only a clone of its repository runs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from sys import modules
from typing import Any

import torch
from torch import Tensor

from ..errors import MissingError
from ..targets.logits import logits_of
from .subject import Case, Subject, vectors

PACKAGES = {"auto-lrp": "autolrp"}  # row -> the package that computes it


def missing(names: Iterable[str]) -> dict[str, str]:
    """The rows of these whose package is not installed, each with a sentence that says so."""
    return {
        name: f"The row {name} is left out: it needs the package {package}, and it is not installed. Type pip install {package}."
        for name in names if (package := PACKAGES.get(name)) and not there(package)
    }  # fmt: skip


def there(package: str) -> bool:
    """Whether it can be imported."""
    return modules[package] is not None if package in modules else find_spec(package) is not None


def auto_lrp(subject: Subject, case: Case) -> Tensor:
    """What autoLRP says of token vectors, or of pixels. Raises MissingError where it is not installed."""
    if said := missing(["auto-lrp"]):
        raise MissingError(said["auto-lrp"])
    import autolrp

    inputs = subject.inputs(case.row)
    with torch.enable_grad():
        if case.seen:
            x = autolrp.tensor(inputs["pixel_values"].detach())
            logits = logits_of(subject.model(**{**inputs, "pixel_values": x}, **subject.extra()))
        else:
            x = autolrp.tensor(subject.model.get_input_embeddings()(inputs["input_ids"]).detach())
            with vectors(subject.model, x):
                logits = logits_of(subject.model(**inputs, **subject.extra()))
        answer: Any = (logits[0, -1] if logits.dim() == 3 else logits[0])[case.target]
        answer.lrp()
    R = x.relevance[0].detach()
    return R.sum(0) if case.seen else R.sum(-1)
