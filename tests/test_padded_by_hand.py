"""Padding of the user's own: a batch of ids with a mask and no positions is explained as what the model computes of each row."""

from __future__ import annotations

import pytest
import torch
from models import build, build_position, randomise

from pelrp_nb import explain, target

LONG, SHORT = torch.tensor([[7, 8, 9, 10, 11, 12]]), torch.tensor([[20, 21, 22, 23]])
OWN = {"right": slice(0, 4), "left": slice(2, 6)}
COUNTED = ("bert", "electra", "gpt2")  # positions are counted from the first id, padding or not


def electra(head: str = "ForSequenceClassification"):
    """A random discriminator, or what else stands on it."""
    import transformers as t

    sizes = {"vocab_size": 96, "hidden_size": 48, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = t.ElectraConfig(**sizes, intermediate_size=80, max_position_embeddings=64)
    return randomise(getattr(t, f"Electra{head}")(config).double())


def made(family: str):
    return electra() if family == "electra" else build(family)


def padded(side: str) -> dict[str, torch.Tensor]:
    """Both rows, and which of their places count."""
    ids, mask = torch.zeros(2, 6, dtype=torch.long), torch.zeros(2, 6, dtype=torch.long)
    ids[0], mask[0] = LONG[0], 1
    ids[1, OWN[side]], mask[1, OWN[side]] = SHORT[0], 1
    return {"input_ids": ids, "attention_mask": mask}


def asked(family: str):
    return target.label(1) if family in ("bert", "electra") else target.token(7, at=-1)


def alike(ours, theirs, tolerance: float = 1e-9) -> bool:
    """Tokens, positions and every reduction of them, relative to the ledger's scale."""
    pairs = [(ours.semantic, theirs.semantic), (ours.positional, theirs.positional)]
    pairs += [(ours.relevance(name), theirs.relevance(name)) for name in ("signed", "absolute", "positive", "l2")]
    return all(a.shape == b.shape and float((a - b).abs().max()) <= tolerance * theirs.ledger.scale for a, b in pairs)


@pytest.mark.parametrize("family", ["electra", "bert", "gpt2", "llama"])
def test_a_row_padded_behind_is_the_row_alone(family):
    model = made(family)
    for found, ids in zip(explain(model, padded("right"), target=asked(family)), (LONG, SHORT), strict=True):
        alone = explain(model, {"input_ids": ids}, target=asked(family))
        assert found.tokens == alone.tokens and found.value == pytest.approx(alone.value, abs=1e-9) and alike(found, alone)


@pytest.mark.parametrize("family", COUNTED)
def test_a_row_padded_before_is_what_the_model_makes_of_it(family):
    """Its positions are others, so it is another number than that of the row alone; the number is the model's own."""
    model, x = made(family), padded("left")
    found = explain(model, x, target=asked(family))[1]
    with torch.no_grad():
        logits = model(**x).logits[1]
    own = float(logits[1] if logits.dim() == 1 else logits[-1, 7])
    alone = explain(model, {"input_ids": SHORT}, target=asked(family))
    assert found.value == pytest.approx(own, abs=1e-9) and abs(found.value - alone.value) > 1e-2 and found.ledger.closed


def test_a_rotary_row_padded_before_has_the_signed_totals_of_the_row_alone_and_other_sizes():
    """Its angles are others, their differences the same, up to the model's own tables in float32."""
    model = build("llama")
    found, alone = explain(model, padded("left"))[1], explain(model, {"input_ids": SHORT})
    scale = alone.ledger.scale
    assert found.tokens == alone.tokens and found.value == pytest.approx(alone.value, abs=1e-5)
    assert float((found.semantic - alone.semantic).abs().max()) < 1e-6 * scale
    assert float((found.positional.sum(-1) - alone.positional.sum(-1)).abs().max()) < 1e-6 * scale
    assert float((found.relevance("absolute") - alone.relevance("absolute")).abs().max()) > 1e-3 * scale


def test_what_xlnet_takes_away_from_hidden_scores_is_a_mask_and_its_row_padded_before_is_the_row_alone():
    """Its mask is made of the user's and of an identity, and a large number of it is subtracted; its positions are relative."""
    model, _ = build_position("xlnet")
    found, alone = explain(model, padded("left"), target=asked("xlnet"))[1], explain(model, {"input_ids": SHORT}, target=asked("xlnet"))
    assert found.value == pytest.approx(alone.value, abs=1e-9) and all("relative embedding" in name for name in found.sinks)
    assert float((found.positional.sum(-1) - alone.positional.sum(-1)).abs().max()) < 1e-9


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_with_positions_counted_from_its_first_token_such_a_row_is_the_row_alone(family):
    x = padded("left")
    x["position_ids"] = (x["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    model = made(family)
    assert alike(explain(model, x, target=asked(family))[1], explain(model, {"input_ids": SHORT}, target=asked(family)))


@pytest.mark.parametrize(
    "pick",
    [target.label("logit", at=2), target.label("logit", at=-1), lambda output: output.logits[0, -1]],
    ids=["at 2", "last", "computed"],
)
def test_one_logit_for_each_token_is_found_among_padding(pick):
    """Padding has logits as well: a place is one of the row's own."""
    model = electra("ForPreTraining")
    found, alone = explain(model, padded("right"), target=pick)[1], explain(model, {"input_ids": SHORT}, target=pick)
    assert found.target == alone.target and found.value == pytest.approx(alone.value, abs=1e-9) and alike(found, alone)
    moved = explain(model, padded("left"), target=pick)[1]
    with torch.no_grad():
        logits = model(**padded("left")).logits[1, 2:]
    assert moved.tokens == alone.tokens and moved.value == pytest.approx(float(logits[2 if "at 2" in moved.target else -1]), abs=1e-9)
