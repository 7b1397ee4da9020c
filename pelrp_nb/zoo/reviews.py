"""How the three review classifiers are trained, and measured on the sentences held out from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..errors import ZooError
from . import data, tokens
from .architectures import RECIPES
from .catalogue import Dose, Trained
from .fit import encode, fit
from .loop import Tell
from .measure import accuracy
from .tasks import task


def train(name: str, dose: Dose, tell: Tell) -> Trained:
    """Train a review classifier; the same seed gives the same weights on the same machine."""
    if dose.checkpoint is not None:
        raise ZooError(f"The training of `{name}` takes minutes and keeps no checkpoint. Type: python -m pelrp_nb.zoo.train {name}")
    parts = dealt(dose)
    recipe = RECIPES[name] if dose.epochs is None else replace(RECIPES[name], epochs=dose.epochs)
    tokenizer = tokens.learn([s.text for s in (*parts.train, *parts.validation)], recipe.vocabulary)
    learnt = encode(tokenizer, parts.train), encode(tokenizer, parts.validation)
    model = recipe.build(len(tokenizer), recipe.dropout)
    done = fit(model, *learnt, recipe, torch.Generator().manual_seed(dose.seed), dose.steps, tell)

    def measure(model: Any, tokenizer: Any) -> Mapping[str, Any]:
        packaged = task(name).examples
        return {
            "accuracy": round(accuracy(model, tokenizer, parts.held_out), 4),
            "examples": len(parts.held_out),
            "packaged_accuracy": round(accuracy(model, tokenizer, packaged), 4),
            "packaged_examples": len(packaged),
        }

    facts = {
        "labels": list(data.LABELS),
        "trained_on": len(parts.train),
        "validated_on": len(parts.validation),
        "data": DATA,
        "license": data.LICENSE,
        "credit": data.CREDIT,
        "epochs": done.epochs,
        "steps": done.steps,
        "validation_loss": round(done.validation_loss, 4),
    }
    return Trained(model, tokenizer, facts, measure)


DATA = f"movie review sentences with human ratings, in the source archive of {data.PACKAGE}"


def dealt(dose: Dose) -> data.Split:
    """The sentences in their three parts, none of them empty."""
    parts = data.split(data.sentences(dose.archive))
    if not (parts.train and parts.validation and parts.held_out):
        raise ZooError(
            "Sentences are dealt out by hash to training, validation and held-out, and none may be empty, but they are "
            f"{len(parts.train)}, {len(parts.validation)} and {len(parts.held_out)}. Give more sentences."
        )
    return parts
