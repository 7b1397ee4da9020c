"""The model of attention alone: what its card states, its lines and their twins, and which of its heads ablation shows to do the work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest
import torch
from torch import nn

from pelrp_nb import zoo
from pelrp_nb.errors import ZooError
from pelrp_nb.zoo import induction, induction_model
from pelrp_nb.zoo.questions import is_held_out
from pelrp_nb.zoo.train import train

NAME = "induction-rotary"
PREVIOUS, INDUCTION = (0, 2), (1, 3)  # (layer, head)


@pytest.fixture(scope="module")
def loaded():
    return zoo.load(NAME)


@contextmanager
def without(model: nn.Module, layer: int, head: int) -> Iterator[None]:
    """The model with one head handing on nothing."""
    size = model.config.head_dim

    def silence(module: nn.Module, args: tuple) -> tuple:
        x = args[0].clone()
        x[..., head * size : (head + 1) * size] = 0
        return (x,)

    handle = model.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def test_the_card_is_measured_again(loaded):
    card = zoo.card(NAME)
    assert zoo.check(NAME) == pytest.approx(card["packaged_accuracy"], abs=5e-3)
    assert card["bytes"] <= 100_000 and card["accuracy"] >= 0.99 and card["architecture"] == "AttentionOnlyLM"


def test_it_is_attention_and_nothing_else(loaded):
    kinds = {type(module).__name__ for module in loaded[0].modules()}
    assert not any("MLP" in kind for kind in kinds) and len(loaded[0].model.layers) == 2
    assert "mlp" not in " ".join(loaded[0].state_dict())


def test_lines_hold_no_word_twice_but_the_last_and_their_twins_differ_in_one_word():
    for line in islice(induction.repeats(held_out=True, length=6), 100):
        words, twin = line.text.split(), line.corrupt.split()
        assert len(set(words)) == len(words) - 1 == 6 and words[-1] == words[line.first]
        assert words[line.first + 1] == line.answer and twin[line.first + 1] == line.other
        assert [i for i, (a, b) in enumerate(zip(words, twin, strict=True)) if a != b] == [line.first + 1]
        assert is_held_out(line.text)


def test_one_head_before_and_one_head_behind_do_all_the_copying(loaded):
    """Without the head that looks back one word, or the one that copies, the answer is lost; without any other it stays."""
    model, tokenizer = loaded
    lines = zoo.task(NAME).examples[:60]
    right = {}
    for layer in range(2):
        for head in range(model.config.num_attention_heads):
            with without(model, layer, head):
                right[layer, head] = zoo.accuracy(model, tokenizer, lines)
    assert {at for at, share in right.items() if share < 0.5} == {PREVIOUS, INDUCTION}
    assert all(share > 0.99 for at, share in right.items() if at not in (PREVIOUS, INDUCTION))


def test_the_two_heads_look_where_their_names_say(loaded):
    model, tokenizer = loaded
    model.set_attn_implementation("eager")
    try:
        for line in zoo.task(NAME).examples[:10]:
            with torch.no_grad():
                weights = model(**tokenizer(line.text, return_tensors="pt"), output_attentions=True).attentions
            before = weights[PREVIOUS[0]][0, PREVIOUS[1]]
            assert before[range(2, len(before)), range(1, len(before) - 1)].mean() > 0.9
            assert weights[INDUCTION[0]][0, INDUCTION[1], -1].argmax() == line.first + 2  # the first token is special
    finally:
        model.set_attn_implementation("sdpa")


def test_150_steps_lower_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(induction_model, "MEASURED", 50)
    monkeypatch.setattr(induction_model, "COURSE", induction_model.COURSE.__class__(steps=150, batch=16, rate=2e-3))
    card = train(NAME, steps=150, out=tmp_path / "trained")
    first, last = card["losses"]
    assert last < 0.97 * first and json.dumps(dict(card))


def test_a_length_that_no_line_has_and_epochs_say_what_to_type(tmp_path):
    with pytest.raises(ZooError, match="Type length=8"):
        next(induction.repeats(held_out=True, length=2))
    with pytest.raises(ZooError, match="--steps N"):
        train(NAME, epochs=2, out=tmp_path / "never")
