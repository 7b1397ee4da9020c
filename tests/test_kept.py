"""The head of a language model computes the logits that are read, and no others; the explanation is that of all of them."""

from __future__ import annotations

import pytest
import torch
from models import build
from shapes import drawn, same_answer, text_of, together, words

from pelrp_nb import Explanation, batches, explain, plan, target
from pelrp_nb.errors import TargetError

TEXT = "w7 w8 w9 w10 w11 w12 w13 w14"


def heard(model) -> list[int]:
    """How many places the head is applied to, call by call."""
    found: list[int] = []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: found.append(args[0].shape[1]))
    return found


def answers(given) -> list[Explanation]:
    return [given] if isinstance(given, Explanation) else [e for one in given for e in answers(one)]


def both(model, monkeypatch, *given, **more) -> tuple[list[Explanation], list[Explanation], list[int]]:
    """The answers from the logits that are read, those from all of them, and how many places the head was applied to for the first."""
    rows = heard(model)
    ours, count = answers(explain(model, *given, **more)), len(rows)
    monkeypatch.setattr(batches, "keeping", lambda *_: {})
    return ours, answers(explain(model, *given, **more)), rows[:count]


TARGETS = {
    "the last": (None, None, 1),
    "a token": ("w5", None, 1),
    "a place": (target.token("w5", at=2), None, 1),
    "a token that stands there": (target.token("w5", at="w9"), None, 1),
    "beside its target": (target.token("w5", at=2), "w6", 1),
    "elsewhere": (target.token("w5", at=2), target.token("w6", at=-3), 2),
    "a span": (target.token("w5", at=target.span("w9 w10")), None, 2),
    "what stands there": (target.span("w9 w10"), None, 2),
    "several": (target.every([3, target.logprob("w5", at=1), target.entropy(at=4)]), None, 3),
    "a margin": (target.margin(at=0), None, 1),
    "a word of two tokens": (target.logprob("w20 w21"), None, 2),
    "a neuron": (target.neuron(1, 3, at=2), None, 1),
}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", TARGETS)
def test_the_logits_that_are_read_alone_give_the_answer_of_all(name, family, monkeypatch):
    asked, foil, places = TARGETS[name]
    model = build(family)
    ours, theirs, rows = both(model, monkeypatch, TEXT, processor=words(), target=asked, contrast=foil)
    assert rows == [places]
    for mine, other in zip(ours, theirs, strict=True):
        same_answer(mine, other)
        assert mine.card["own"] == other.card["own"] and mine.card["roles"] == other.card["roles"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_a_batch_are_read_where_each_ends(side, monkeypatch):
    model = build("llama")
    texts = [text_of(ids) for ids in drawn((4, 9, 8, 9))]
    ours, theirs, rows = both(model, monkeypatch, texts, processor=words(side))
    assert rows[-1] == (1 if side == "left" else 3)  # the last of each; before it, all places of two rows, to try the padding
    for mine, other in zip(ours, theirs, strict=True):
        same_answer(mine, other)


def test_a_padded_row_of_tensors_is_read_at_its_own_end(monkeypatch):
    ours, theirs, rows = both(build("llama"), monkeypatch, together(drawn((4, 7))))
    assert rows[-1] == 2
    for mine, other in zip(ours, theirs, strict=True):
        same_answer(mine, other)


def test_tokens_that_are_read_are_read_where_they_are_predicted(monkeypatch):
    ours, theirs, rows = both(build("llama"), monkeypatch, TEXT, processor=words(), target=target.read(first=5))
    assert rows == [3] and [e.target for e in ours] == ["'w12' at 4", "'w13' at 5", "'w14' at 6"]
    for mine, other in zip(ours, theirs, strict=True):
        same_answer(mine, other)


ALL = {
    "a function of the output": ({}, {"target": lambda output: output.logits[0, -1, 5]}),
    "a loss": ({}, {"target": target.loss()}),
    "a contrast that is a function": ({}, {"target": 5, "contrast": lambda output: output.logits[0, -1, 6]}),
    "labels": ({"labels": torch.arange(8)[None]}, {}),
    "as the user says": ({"logits_to_keep": 3}, {}),
}


@pytest.mark.parametrize("name", ALL)
def test_what_may_read_other_places_has_the_logits_that_the_model_makes(name):
    more, asked = ALL[name]
    model = build("llama")
    rows = heard(model)
    explain(model, {"input_ids": torch.arange(5, 13)[None], **more}, **asked)
    assert rows[-1] == more.get("logits_to_keep", 8)


def test_a_place_that_is_not_there_is_told_as_before():
    model = build("llama")
    with pytest.raises(TargetError, match="at must lie between -8 and 7 for 8 tokens, got 8"):
        explain(model, TEXT, processor=words(), target=target.token("w5", at=8))
    with pytest.raises(TargetError, match="There must be a token 'w50' in the text"):
        explain(model, TEXT, processor=words(), target=target.token("w5", at="w50"))


def test_the_value_is_the_models_own_to_the_bit():
    model, ids = build("llama", dtype=torch.float32), torch.arange(5, 13)[None]
    with torch.no_grad():
        wanted = model(input_ids=ids, logits_to_keep=torch.tensor([7])).logits[0, 0].max()
    assert explain(model, {"input_ids": ids}).value == float(wanted)


def test_a_plan_has_the_logits_of_one_place():
    model = build("llama", dtype=torch.float32)
    rows = heard(model)
    plan(model, {"input_ids": torch.arange(5, 45)[None]})
    assert rows == [1]


def test_a_text_of_as_many_tokens_as_the_model_knows_is_asked_about_its_last_place():
    """Its logits are as many as the tokens, and they are those of one place."""
    model = build("llama", dtype=torch.float32)
    model.config.max_position_embeddings = 96
    assert explain(model, {"input_ids": torch.arange(96)[None] % 90}).target.endswith("at 95")
