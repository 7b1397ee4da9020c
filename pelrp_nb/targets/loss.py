"""The loss as a target: why the model is wrong, or how badly a text is predicted; it is the model's own loss, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import TargetError
from ..inputs.arguments import RAISED, call, of_transformers, takes
from ..inputs.model_input import Encoded
from .given import whole
from .labels import label_names, label_number, problem_type
from .logits import Chosen, matches, one_per_token, row_of
from .places import default_place, fills_masks, writes
from .target import Computed, number_of

IGNORED = -100  # the label of a place that is not asked about, as in torch
CLOSE = {torch.float64: 1e-4, torch.float32: 1e-4}  # how near the model's own loss must be: language models compute it in float32


@dataclass(frozen=True)
class Loss(Computed):
    """The loss that the model has with these labels: mean cross-entropy, or a squared error where it answers with a number.

    shifted: whether place t is asked for the label of t + 1; `explain` learns it from the model's own loss
    """

    labels: Any = None
    shifted: bool = False

    def chosen(self, output: Any, model: Any, processor: Any, tokens: Sequence[str]) -> Chosen:
        if matches(output):
            raise TargetError(f"{type(model).__name__} has no labels, so it has no loss of one input. Type target=None for the match.")
        row = row_of(output, model)
        wanted = self.wanted(row, model, processor, tokens)
        if row.dim() == 2 and bool((wanted[int(self.shifted) :] == IGNORED).all()):
            raise TargetError(f"A loss needs a label that is not {IGNORED}. Type target.loss([...]) with the labels of all tokens.")
        return Chosen(self.of(row, wanted, model), "loss", ("loss", str(self.labels)))

    def of(self, row: Tensor, wanted: Tensor, model: Any) -> Tensor:
        """The loss of logits (classes,) or (T, classes) with these labels."""
        kind = problem_type(model, row.shape[-1])
        if row.dim() == 1 and kind == "regression":
            return F.mse_loss(row, wanted)
        if row.dim() == 1 and kind == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(row, wanted)
        if row.dim() == 1:
            return F.cross_entropy(row[None], wanted[None])
        row, wanted = (row[:-1], wanted[1:]) if self.shifted else (row, wanted)
        return F.cross_entropy(row, wanted, ignore_index=IGNORED)

    def wanted(self, row: Tensor, model: Any, processor: Any, tokens: Sequence[str]) -> Tensor:
        """The labels as numbers: a class (), one number for each logit (classes,), or a class for each place (T,)."""
        if one_per_token(row[None], model, len(tokens)):
            raise TargetError(
                f"{type(model).__name__} gives each token one logit, and its loss is its own. "
                "Type explain(model, dict(..., labels=...), target=lambda output: output.loss)."
            )
        if row.dim() == 2:
            return torch.tensor(self.by_place(row, model, processor, tokens), device=row.device)
        if problem_type(model, len(row)) in ("regression", "multi_label_classification"):
            return numbers(self.labels, row)
        number, _ = number_of(needed(self.labels), row, label_names(model, len(row)), processor)
        return torch.tensor(number, device=row.device)

    def by_place(self, row: Tensor, model: Any, processor: Any, tokens: Sequence[str]) -> list[int]:
        """A class for every place."""
        T, classes = row.shape
        names = label_names(model, classes)
        if isinstance(self.labels, str | int) and not isinstance(self.labels, bool) and fills_masks(model, row):
            found = [IGNORED] * T
            found[int(default_place(row, model, processor, tokens) or 0)] = number_of(self.labels, row[0], names, processor)[0]
            return found
        given = needed(self.labels)
        given = given.tolist() if hasattr(given, "tolist") else given
        given = given[0] if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list) else given
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != T:
            came = f"{len(given)}" if isinstance(given, Sequence) and not isinstance(given, str) else repr(given)
            raise TargetError(
                f"The loss needs a label for each of {T} tokens, {IGNORED} where none is asked; got {came}. Type target.loss([...])."
            )
        found = [IGNORED if x is None else label_number(x, names) if isinstance(x, str) else int(whole(x)) for x in given]
        if any(not (n == IGNORED or 0 <= n < classes) for n in found):
            raise TargetError(f"Labels must lie between 0 and {classes - 1}, or be {IGNORED}; got {max(found)}. Type others.")
        return found

    @torch.no_grad()
    def as_of(self, model: Any, row: Encoded, processor: Any, tokens: Sequence[str]) -> Loss:
        """The loss as the model itself computes it, its labels shifted or not. Raises TargetError if it computes another one."""
        if not of_transformers(model) or not takes(model, "labels"):
            return replace(self, shifted=writes(model))
        row = row.without_padding()
        given = {k: x for k, x in {**row.tensors, **row.more}.items() if k not in ("labels", "return_dict")}
        with torch.random.fork_rng():
            try:
                logits = row_of(call(model, given), model)
            except RAISED:
                return self  # an input that the model refuses is refused in its own words when it is explained
            wanted = self.wanted(logits, model, processor, tokens)
            output = with_labels(model, given, wanted[None])
        own, logits = float(output[0].mean()), row_of(output[1], model)
        close = CLOSE.get(logits.dtype, 3e-2)
        logits = logits if logits.dtype in CLOSE else logits.float()
        ways = [replace(self, shifted=s) for s in ((False, True) if logits.dim() == 2 else (False,))]
        ours = [float(way.of(logits, wanted, model)) for way in ways]
        best = min(range(len(ways)), key=lambda i: apart(ours[i], own))
        if apart(ours[best], own) > close * max(1.0, abs(own)):
            raise TargetError(
                f"{type(model).__name__} computes another loss of these labels, {own:.4g}, than the mean over them, {ours[best]:.4g}. "
                "Type explain(model, dict(..., labels=...), target=lambda output: output.loss)."
            )
        return ways[best]


def apart(ours: float, theirs: float) -> float:
    """How far two losses are apart; where no label is asked about, both are not a number."""
    if math.isnan(ours) or math.isnan(theirs):
        return 0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf
    return abs(ours - theirs)


def with_labels(model: Any, given: Mapping[str, Any], labels: Tensor) -> tuple[Tensor, Any]:
    """The model's own loss of these labels, and its output; the configuration, in which some note what labels they saw, stays."""
    config, came = model.config, "none"
    before = getattr(config, "problem_type", None)
    try:
        output = call(model, {**given, "labels": labels})
    except RAISED as error:
        output, came = None, f"{type(error).__name__}: {error}"
    finally:
        if getattr(config, "problem_type", None) != before:
            config.problem_type = before
    if isinstance(output, tuple) and len(output) > 1 and isinstance(output[0], Tensor):  # as config.return_dict=False gives it
        return output[0], output[1]
    if not isinstance(getattr(output, "loss", None), Tensor):
        raise TargetError(
            f"{type(model).__name__} must give a loss of labels {tuple(labels.shape)}, got {came}. "
            "Type target=lambda output: ..., a loss of the logits."
        )
    return output.loss, output


def loss(labels: Any = None) -> Loss:
    """The loss of `model(..., labels=labels)`: cross-entropy of a class, or of the labels of all tokens (-100 where none is asked).

    None means the text itself for a model that writes: how badly its next tokens are predicted. A model that fills masks takes the
    word behind its one mask; one that answers with a number the number. Whether labels are those of the next place is learned from
    the model's own loss; where that is another number, it is refused.
    """
    return Loss(labels)


def needed(labels: Any) -> Any:
    """The labels; TargetError without any."""
    if labels is None:
        raise TargetError('This model cannot tell by itself what is right, so its loss needs labels. Type target.loss("positive").')
    return labels


def numbers(labels: Any, row: Tensor) -> Tensor:
    """Labels that are numbers, in the shape of the logits."""
    try:
        found = torch.as_tensor(needed(labels), dtype=row.dtype, device=row.device).reshape(-1)
    except (TypeError, ValueError) as error:
        many = f"{len(row)} numbers, got {labels!r}"
        raise TargetError(f"The loss of this model needs {many}. Type target.loss({[0.0] * len(row)}).") from error
    if len(found) != len(row):
        raise TargetError(f"The loss of this model needs {len(row)} numbers, got {len(found)}. Type target.loss({[0.0] * len(row)}).")
    return found
