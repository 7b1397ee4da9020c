"""Baselines that look at attention weights: rollout (Abnar and Zuidema 2020), and weights times gradients (Chefer et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..targets.logits import logits_of
from .gradients import patch_size, picked
from .subject import Case, Subject, vectors, visible_attention


def attention_rollout(subject: Subject, case: Case) -> Tensor:
    """The product over layers of head-mean weights, half of each the skip connection, read at the place that answers."""
    weights, _, reader = looked(subject, case)
    T = weights[0].shape[-1]
    flow = torch.eye(T, dtype=torch.float64)
    for A in weights:
        A = 0.5 * A.mean(0) + 0.5 * torch.eye(T, dtype=torch.float64)
        flow = A / A.sum(-1, keepdim=True) @ flow
    return spread(reader @ flow, subject, case)


def gradient_attention(subject: Subject, case: Case) -> Tensor:
    """R = R + mean over heads of (A * gradient)+ R, layer by layer from the identity, read at the place that answers."""
    weights, gradients, reader = looked(subject, case)
    T = weights[0].shape[-1]
    R = torch.eye(T, dtype=torch.float64)
    for A, g in zip(weights, gradients, strict=True):
        R = R + (A * g).clamp(min=0).mean(0) @ R
    R = R - torch.eye(T, dtype=torch.float64)  # what a token keeps of itself by the skip connections alone
    return spread(reader @ R, subject, case)


def looked(subject: Subject, case: Case) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """(H, T, T) weights and gradients of each layer, and (T,) how much the answer is read at each place of the last layer."""
    return case.once("attention", lambda: _looked(subject, case))


def _looked(subject: Subject, case: Case) -> tuple[list[Tensor], list[Tensor], Tensor]:
    model = subject.model
    with visible_attention(model), torch.enable_grad():
        output = _asked(subject, case)
        weights, last = output.attentions, output.hidden_states[-1]
        if not weights or any(A is None for A in weights):
            raise InputError(f"{type(model).__name__} hands out no attention weights. Leave the attention methods out.")
        logit = picked(logits_of(output), case.target)[0]
        gradients = torch.autograd.grad(logit, [last, *weights], allow_unused=True)
    if gradients[0] is None:
        raise InputError(f"The answer of {type(model).__name__} does not depend on its last hidden state.")
    reader = gradients[0][0].norm(dim=-1).double().cpu()
    plain = [A[0].detach().double().cpu() for A in weights]
    bent = [torch.zeros_like(A) if g is None else g[0].double().cpu() for A, g in zip(plain, gradients[1:], strict=True)]
    return plain, bent, reader / reader.sum()


def _asked(subject: Subject, case: Case) -> Any:
    """The model's output with attentions and hidden states, with a graph even where no parameter wants a gradient."""
    tensors, wanted = subject.inputs(case.row), {"output_attentions": True, "output_hidden_states": True}
    if case.seen:
        pixels = tensors["pixel_values"].clone().requires_grad_()
        return subject.model(pixel_values=pixels, **wanted)
    x = subject.model.get_input_embeddings()(tensors["input_ids"]).detach().requires_grad_()
    with vectors(subject.model, x):
        return subject.model(**tensors, **subject.extra(), **wanted)


def spread(R: Tensor, subject: Subject, case: Case) -> Tensor:
    """Tokens as they are; of a picture, the patches' part over their pixels, without the tokens before them."""
    if not case.seen:
        return R
    H, W = case.row["pixel_values"].shape[-2:]
    size = patch_size(subject, H)
    rows, columns = H // size, W // size
    grid = R[len(R) - rows * columns :].view(rows, columns) / size**2
    found = torch.zeros(H, W, dtype=R.dtype)
    found[: rows * size, : columns * size] = grid.repeat_interleave(size, 0).repeat_interleave(size, 1)
    return found
