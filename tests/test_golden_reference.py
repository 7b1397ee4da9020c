"""The authors' numbers: their code on small models and on a pretrained one, against the reference walked by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tolerance import rounding
from torch import Tensor

from pelrp_nb import reference
from pelrp_nb.composites import ATTN_LRP, PA_LRP

LLAMAS = (
    "llama_soft_S5", "llama_soft_S17", "llama_sharp_S5", "llama_sharp_S17", "llama_cls_S5", "llama_cls_S17", "llama_cls_S17_pad7",
    "stories260K_0", "stories260K_2", "stories260K_4",
)  # fmt: skip
CLOSE = 2e-3

pytestmark = pytest.mark.golden


@dataclass
class Loaded:
    """A model's files as the reference reads them, without any library."""

    config: SimpleNamespace
    weights: dict[str, Tensor]

    def state_dict(self) -> dict[str, Tensor]:
        return self.weights


def walked(golden: Path, case: str, composite=PA_LRP) -> tuple[reference.Walk, dict[str, np.ndarray]]:
    """The case's model walked back from its target, and the authors' arrays."""
    folder = golden / "models" / next(m for m in ("llama_soft", "llama_sharp", "llama_cls", "stories260K") if case.startswith(m))
    model = Loaded(SimpleNamespace(**json.loads((folder / "config.json").read_text())), load_file(folder / "model.safetensors"))
    arrays = dict(np.load(golden / "cases" / f"{case}.npz"))
    visible = torch.tensor(arrays["attention_mask"]) if "attention_mask" in arrays else None
    walk = reference.walk(model, torch.tensor(arrays["input_ids"]), int(arrays["target"]), composite, visible=visible)
    return walk, arrays


def off(ours: Tensor, theirs: np.ndarray) -> float:
    """The largest difference, as a part of the largest value."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max())


def rotary(walk: reference.Walk, role: str) -> Tensor:
    """(layers, cos and sin, heads, T, d) of all queries or all keys."""
    return torch.stack([torch.stack((both[role]["cos"], both[role]["sin"])) for both in walk.positions.values()])


@pytest.mark.parametrize("case", LLAMAS)
def test_reference_is_the_authors_pa_lrp(golden, case):
    walk, theirs = walked(golden, case)
    query, key = rotary(walk, "query"), rotary(walk, "key")
    assert walk.value == pytest.approx(float(theirs["target_logit"]), abs=rounding(walk.ledger.scale))
    assert off(walk.tokens, theirs["rel_embeds"]) < CLOSE
    assert off(query.sum(2) + key.sum(2), theirs["rel_pos"]) < CLOSE
    assert off(torch.stack(walk.boundaries), theirs["rel_hidden"]) < CLOSE
    if "rel_pos_q" in theirs:
        assert off(query, theirs["rel_pos_q"]) < CLOSE
        assert off(key, theirs["rel_pos_k"]) < CLOSE


@pytest.mark.parametrize("case", LLAMAS)
def test_reference_is_the_authors_attn_lrp(golden, case):
    walk, theirs = walked(golden, case, ATTN_LRP)
    assert off(walk.tokens, theirs["attnlrp_rel_embeds"]) < CLOSE
    assert not walk.positions


@pytest.mark.parametrize("case", LLAMAS)
def test_ledger_closes_on_the_authors_models(golden, case):
    walk, _ = walked(golden, case)
    assert walk.ledger.closed and walk.ledger.audited


def test_cases_hold_what_is_compared(golden):
    """Queries and keys apart are in at least one case, padding in one."""
    arrays = [set(np.load(golden / "cases" / f"{case}.npz").files) for case in LLAMAS]
    assert any({"rel_pos_q", "rel_pos_k"} <= names for names in arrays)
    assert all({"rel_embeds", "rel_pos", "rel_hidden", "attnlrp_rel_embeds"} <= names for names in arrays)
