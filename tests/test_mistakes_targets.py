"""What a person mistypes in targets and contrasts, and what is said: what must hold, what came, what to type.

Every row is one mistake.  The words are asserted whole, so that no message can lose its last part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from models import SIZES, build, build_position, randomise, texts
from shapes import words

from pelrp_nb import explain, target
from pelrp_nb.errors import InputError, PelrpError, TargetError

TEXT = "w7 w8 w9 w10"


def made(kind: str, **more: Any):
    import transformers as t

    config = t.BertConfig(**SIZES, max_position_embeddings=64, **more)
    return randomise(getattr(t, f"BertFor{kind}")(config).double())


def clip():
    import transformers as t

    sizes = {k: v for k, v in SIZES.items() if k != "vocab_size"}
    text = {**sizes, "vocab_size": 96, "max_position_embeddings": 64, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    config = t.CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 4}, projection_dim=24)
    return randomise(t.CLIPModel(config).double())


def smoothed():
    """A classifier whose loss is its own affair."""
    model = made("SequenceClassification")
    kind = type(model)

    class Smoothed(kind):
        def forward(self, input_ids=None, attention_mask=None, labels=None):
            output = super().forward(input_ids, attention_mask)
            output.loss = output.logits.new_tensor(5.0) if labels is not None else None
            return output

    model.__class__ = Smoothed
    return model


MODELS: dict[str, Callable] = {
    "smoothed": smoothed,
    "llama": lambda: build("llama"),
    "labels": lambda: made("SequenceClassification", id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1}),
    "two numbers": lambda: made("SequenceClassification", num_labels=2, problem_type="regression"),
    "several": lambda: made("SequenceClassification", num_labels=3, problem_type="multi_label_classification"),
    "number": lambda: made("SequenceClassification", num_labels=1),
    "tokens": lambda: made("TokenClassification", id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1}),
    "masks": lambda: made("MaskedLM"),
    "questions": lambda: made("QuestionAnswering"),
    "t5": lambda: build_position("t5")[0],
    "clip": clip,
}


@pytest.fixture(scope="module")
def models():
    known: dict[str, Any] = {}
    return lambda name: known.setdefault(name, None) or known.update({name: MODELS[name]()}) or known[name]


PAIR = {"input_ids": torch.tensor([[1, 7, 8, 2]]), "pixel_values": torch.ones(1, 3, 16, 16).double()}
FOUR = 'Type target=1, target="positive" or target=lambda output: output.logits[0, 1].'
KIND = "A target must be a whole number, a text or a function of the output, got"
PLACES = "places are 0 'w7', 1 'w8', 2 'w9', 3 'w10'"

# name -> (model, what is typed, what is said)
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a fraction": ("llama", {"target": 1.5}, f"{KIND} 1.5. {FOUR}"),
    "a truth value": ("llama", {"target": True}, f"{KIND} True. {FOUR}"),
    "a list": ("llama", {"target": [1, 2]}, f"{KIND} list. {FOUR}"),
    "all logits": ("llama", {"target": torch.zeros(96)}, f"{KIND} Tensor of shape (96,). {FOUR}"),
    "ids of a batch": ("llama", {"target": torch.tensor([1, 2])}, f"{KIND} Tensor of shape (2,). {FOUR}"),
    "a fraction of numpy": ("llama", {"target": np.float64(3.0)}, f"{KIND} 3.0. {FOUR}"),
    "an id beyond the vocabulary": (
        "llama", {"target": 96}, "The token id, or class, must lie between 0 and 95, got 96. Type one of these.",
    ),
    "an id of numpy beyond it": (
        "llama", {"target": np.int64(-1)}, "The token id, or class, must lie between 0 and 95, got -1. Type one of these.",
    ),
    "a function of what the output has not": (
        "labels", {"target": lambda output: output.score},
        "The target function raises AttributeError: 'SequenceClassifierOutput' object has no attribute 'score'. It is given the model's "
        "output, a SequenceClassifierOutput with output.logits (1, 2). Type target=lambda output: output.logits[0, 1].",
    ),
    "a function of a class that is not there": (
        "labels", {"target": lambda output: output.logits[0, 7]},
        "The target function raises IndexError: index 7 is out of bounds for dimension 1 with size 2. It is given the model's output, a "
        "SequenceClassifierOutput with output.logits (1, 2). Type target=lambda output: output.logits[0, 1].",
    ),
    "a class beyond the labels": ("labels", {"target": 2}, "The class must lie between 0 and 1, got 2. Type one of these."),
    "a label misspelt": (
        "labels", {"target": "postive"},
        "The model has no label 'postive'; its labels are negative, positive. Did you mean 'positive'?",
    ),
    "a label of another model": ("labels", {"target": "PER"}, "The model has no label 'PER'; its labels are negative, positive."),
    "a word the vocabulary lacks": (
        "llama", {"target": "gorgeous"}, "The vocabulary has no token 'gorgeous'. Type a token's id, or another word.",
    ),
    "words of which one is lacking": (
        "llama", {"target": "w7 gorgeous"}, "The vocabulary has no token 'w7 gorgeous'. Type a token's id, or another word.",
    ),
    "several tokens where none is written": (
        "masks", {"target": target.token("w7 w8", at=1)},
        "A target must be one token, 'w7 w8' is 2: ['w7', 'w8']. Type one of them, or an id, target=7.",
    ),
    "several tokens at a place": (
        "llama", {"target": target.logprob("w7 w8", at=1)},
        "'w7 w8' is 2 tokens, which are written behind the text; at=1 names a place in it. Type it without at.",
    ),
    "a place beyond the text": (
        "llama", {"target": target.token("w30", at=9)}, "at must lie between -4 and 3 for 4 tokens, got 9. Type at=-1 for the last.",
    ),
    "a place that is no place": (
        "llama", {"target": target.token("w30", at=1.0)},
        "at must be a place, its token or target.span(\"fox\"), got 1.0. Type at=0.",
    ),
    "a token that is not there": (
        "llama", {"target": target.token("w30", at="w99")},
        "There must be a token 'w99' in the text; its tokens are 'w7', 'w8', 'w9', 'w10'. Type one of them, or at=0.",
    ),
    "a place in one answer": (
        "labels", {"target": target.label("positive", at=2)},
        "This model gives one answer per text, so at=2 has no meaning. Type target=... without at.",
    ),
    "no place among labels of tokens": (
        "tokens", {}, f"BertForTokenClassification labels each of 4 places, so a target needs one; {PLACES}. Type target.label('O', at=1).",
    ),
    "a label without a place": (
        "tokens", {"target": "PER"},
        f"BertForTokenClassification labels each of 4 places, so a target needs one; {PLACES}. Type target.label('O', at=1).",
    ),
    "no mask to fill": (
        "masks", {"target": "w30"},
        "BertForMaskedLM fills masks, and there is none in the input (its mask is [MASK]). Or say a place: type "
        "target.token(\"word\", at=2).",
    ),
    "two masks to fill": (
        "masks", {"inputs": "w7 [MASK] w9 [MASK]", "target": "w30"},
        "BertForMaskedLM fills masks, and the text has 2, at 1, 3. Say which: type target.token(\"word\", at=1).",
    ),
    "a mask without its tokenizer": (
        "masks", {"inputs": {"input_ids": torch.tensor([[7, 3, 9]])}, "processor": None},
        "BertForMaskedLM fills masks, and there is none in the input. Without its tokenizer nobody knows which token is the mask: type "
        "processor=tokenizer. Or say a place: type target.token(\"word\", at=1).",
    ),
    "a question without an answer": (
        "questions", {"inputs": ("w7 w8", "w9 w10")},
        "A model that answers questions says where the answer starts and where it ends. Type target=target.answer(), or target=lambda "
        "output: output.start_logits[0, 7] for place 7.",
    ),
    "an answer of a classifier": (
        "labels", {"target": target.answer()},
        "target.answer() is for a model with start and end logits, not BertForSequenceClassification. Type target=None.",
    ),
    "an answer that is not in the text": (
        "questions", {"inputs": ("w7 w8", "w9 w10"), "target": target.answer("w50")},
        "A span must stand in the text once; 'w50' does not stand in 'w9 w10'. Type a piece of it, or at=3, a place.",
    ),
    "a span that stands twice": (
        "llama", {"inputs": "w7 w8 w7", "target": target.token("w30", at=target.span("w7"))},
        "A span must stand in the text once; 'w7' stands there 2 times. Type more of the text around it, or at=3, a place.",
    ),
    "an empty span": ("llama", {"target": target.span(" ")}, "A span is a piece of the text, got ' '. Type target.span(\"fox\")."),
    "a span among ids": (
        "llama", {"inputs": texts(), "target": target.token(3, at=target.span("w7")), "processor": None},
        "A span is looked up in a text; this input is none, or its tokenizer is not fast. Type at=3, a place.",
    ),
    "a span that nothing predicts": (
        "labels", {"target": target.span("w8")},
        "A span as a target is what a model predicts there; BertForSequenceClassification predicts no next token. Type target.token(None, "
        "at=target.span('w8')).",
    ),
    "the first span": (
        "llama", {"target": target.span("w7")},
        "A span as a target is what a model predicts there; it has none before it. Type target.token(None, at=target.span('w7')).",
    ),
    "a loss without labels": (
        "labels", {"target": target.loss()},
        "This model cannot tell by itself what is right, so its loss needs labels. Type target.loss(\"positive\").",
    ),
    "a loss with too few labels": (
        "llama", {"target": target.loss([7, 8])},
        "The loss needs a label for each of 4 tokens, -100 where none is asked; got 2. Type target.loss([...]).",
    ),
    "a loss with nothing asked": (
        "tokens", {"target": target.loss([-100] * 4)},
        "A loss needs a label that is not -100. Type target.loss([...]) with the labels of all tokens.",
    ),
    "a loss with labels beyond the classes": (
        "tokens", {"target": target.loss([0, 1, 2, 0])}, "Labels must lie between 0 and 1, or be -100; got 2. Type others.",
    ),
    "a word where a number is meant": (
        "number", {"target": target.loss("positive")}, "The loss of this model needs 1 numbers, got 'positive'. Type target.loss([0.0]).",
    ),
    "a margin of one answer": (
        "number", {"target": target.margin()}, "A margin needs at least two answers; the model has one. Type target=None.",
    ),
    "an entropy of one answer": (
        "number", {"target": target.entropy()},
        "BertForSequenceClassification answers with a number, which has no probability. Type target=0 for the number.",
    ),
    "a probability of a number": (
        "number", {"target": target.probability(0)},
        "BertForSequenceClassification answers with a number, which has no probability. Type target=0 for the number.",
    ),
    "a logprob of one of two numbers": (
        "two numbers", {"target": target.logprob(1)},
        "BertForSequenceClassification answers with a number, which has no probability. Type target=0 for the number.",
    ),
    "an entropy of several labels at once": (
        "several", {"target": target.entropy()},
        "Entropy needs probabilities that exclude each other; BertForSequenceClassification has none. Type target.probability(0).",
    ),
    "a word beside an entropy": (
        "llama", {"target": target.entropy(), "contrast": "w30"},
        "A contrast is of the same kind as its target, target.entropy(...), and 'w30' alone is a logit. Type "
        "contrast=target.entropy(...), or contrast=target.token('w30') for that logit.",
    ),
    "a class beside a loss": (
        "labels", {"target": target.loss(1), "contrast": 0},
        "A contrast is of the same kind as its target, target.loss(...), and 0 alone is a logit. Type "
        "contrast=target.loss(...), or contrast=target.token(0) for that logit.",
    ),
    "a probability of a match": (
        "clip", {"inputs": PAIR, "target": target.probability(0)},
        "CLIPModel compares matches of several texts, and here each is a question of its own, so the match of one has no probability. "
        "Type target=None for the match.",
    ),
    "a loss of a match": (
        "clip", {"inputs": PAIR, "target": target.loss([1.0])},
        "CLIPModel has no labels, so it has no loss of one input. Type target=None for the match.",
    ),
    "a loss that the model computes otherwise": (
        "smoothed", {"target": target.loss(1)},
        "Smoothed computes another loss of these labels, 5, than the mean over them, 0.3601. Type explain(model, dict(..., labels=...), "
        "target=lambda output: output.loss).",
    ),
    "a contrast with itself": (
        "llama", {"target": "w30", "contrast": 30},
        "Target and contrast are the same, 'w30' at 3; their difference is zero. Type another contrast.",
    ),
    "a computed contrast with itself": (
        "llama", {"target": target.entropy(), "contrast": target.entropy()},
        "Target and contrast are the same, entropy at 3; their difference is zero. Type another contrast.",
    ),
    "a target for each of one input": (
        "llama", {"target": target.each([1, 2])}, "target.each gives one target per input, but there is one input. Type target=... itself.",
    ),
    "several inside several": (
        "llama", {"target": target.every([target.every([1]), 2])},
        "target.every cannot stand inside another target. Type the targets themselves.",
    ),
    "a function of no number": (
        "llama", {"target": lambda output: output.logits[0, -1]},
        "A target function must return one number as a tensor, got shape (96,). Type lambda output: output.logits[0, 1].",
    ),
    "words for a match": (
        "clip", {"inputs": PAIR, "target": "w7"},
        "CLIPModel says how well a picture and a text match; its answers are the texts by number, not words. Type target=None, and "
        "explain(model, [(one mapping of text and picture for each text)]).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_what_to_type_is_said(models, name):
    model, given, said = MISTAKES[name]
    tokenizer = words(special=model == "questions")
    with pytest.raises(TargetError) as refused:
        explain(models(model), **{"inputs": TEXT, "processor": tokenizer, **given})
    assert str(refused.value) == said


ALONE: dict[str, tuple[Callable, str]] = {
    "no targets": (lambda: target.every([]), "target.every needs at least one target, got none. Type target.every([0, 1])."),
    "no targets in a tensor": (
        lambda: target.every(torch.tensor([])), "target.every needs at least one target, got none. Type target.every([0, 1]).",
    ),
    "a word for a list": (lambda: target.every("w7"), "target.every takes a list of targets, got 'w7'. Type target.every(['w7'])."),
    "a number for a list": (lambda: target.each(3), "target.each takes a list of targets, got 3. Type target.each([3])."),
    "ids of a batch": (
        lambda: target.every(torch.ones(2, 3).long()),
        "target.every takes ids of one input in a row, got a tensor of (2, 3). Type target.every(ids[0]), or "
        "target.each([target.every(row) for row in ids]).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_a_list_of_targets_that_is_none_is_refused_where_it_is_made(name):
    make, said = ALONE[name]
    with pytest.raises(TargetError) as refused:
        make()
    assert str(refused.value) == said


def test_a_row_of_the_head_without_a_token_is_no_target():
    """Heads are padded to round sizes."""
    import transformers as t
    from models import ROTARY

    model = randomise(t.LlamaForCausalLM(t.LlamaConfig(**{**ROTARY, "vocab_size": 128})).double())
    with pytest.raises(TargetError) as refused:
        explain(model, TEXT, processor=words(), target=100)
    assert str(refused.value) == "The tokenizer has tokens 0 to 95; 100 is a row of the head without one. Type an id below 96."


def test_one_picture_and_several_texts_are_several_questions(models):
    """Zero-shot classification: each text is matched by itself, and its number is the model's own."""
    from PIL import Image

    given = {"text": ["w7 w8", "w9 w10"], "images": Image.new("RGB", (16, 16))}
    with pytest.raises(InputError) as refused:
        explain(models("clip"), given, processor=words(special=True))
    assert str(refused.value) == (
        "A picture stands beside one text, got 2: each is a question of its own. "
        "Type explain(model, [dict(text=t, images=picture) for t in texts], ...)."
    )
    picture = torch.linspace(-1, 1, 768, dtype=torch.float64).reshape(1, 3, 16, 16)
    pair = {"input_ids": torch.tensor([[1, 7, 8, 2], [1, 9, 10, 2]]), "pixel_values": picture.expand(2, 3, 16, 16)}
    with torch.no_grad():
        theirs = models("clip")(**{**pair, "pixel_values": picture}).logits_per_image[0]
    found = explain(models("clip"), pair)
    assert [one.value for one in found] == pytest.approx(theirs.tolist(), abs=1e-9) and all(one.ledger.closed for one in found)


def test_a_text_for_a_model_that_hears_is_what_it_writes():
    from test_streams import written

    with pytest.raises(InputError) as refused:
        explain(written("whisper"), {"audio": np.zeros(1600, dtype=np.float32), "text": "w7"}, processor=words())
    assert str(refused.value) == (
        "WhisperForConditionalGeneration reads no text beside the sound; what it has written so far is `labels`, what it may write "
        'a target. Type dict(audio=samples, labels="the words so far"), or target=target.logprob("words").'
    )


def test_a_word_of_several_tokens_after_sound_is_written_by_the_decoder():
    from test_streams import heard, written

    model = written("whisper")
    found = explain(model, {**heard(), "decoder_input_ids": torch.tensor([[0, 7]])}, processor=words(), target=target.logprob("w8 w9"))
    with torch.no_grad():
        z = model(**heard(), decoder_input_ids=torch.tensor([[0, 7, 8]])).logits[0].log_softmax(-1)
    assert found.value == pytest.approx(float(z[1, 8] + z[2, 9]), abs=1e-9) and found.ledger.closed


def test_every_mistake_says_what_to_type():
    said = [words for _, _, words in MISTAKES.values()] + [words for _, words in ALONE.values()]
    assert len(said) >= 45 and len(set(said)) >= 40
    assert [one for one in said if "Type " not in one and "type " not in one and "labels are" not in one] == []
    assert issubclass(TargetError, PelrpError)
