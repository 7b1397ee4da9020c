"""The language model of the reviews: what its card states, what it writes, and why one word rather than another."""

from dataclasses import replace

import pytest
import torch
from test_zoo import made_up_sentences

from pelrp_nb import Options, explain, target, zoo
from pelrp_nb.composites import NAMED
from pelrp_nb.zoo import data, language_model
from pelrp_nb.zoo.measure import of_words
from pelrp_nb.zoo.train import train

NAME = "reviews-lm-rotary"
BEGINNING = "a film that is very"


@pytest.fixture(scope="module")
def loaded():
    return zoo.load(NAME)


def test_the_card_is_measured_again(loaded):
    card = zoo.card(NAME)
    found = of_words(*loaded, zoo.task(NAME).examples)
    assert found["next token"] == pytest.approx(card["packaged_accuracy"], abs=2e-3)
    assert found["perplexity"] == pytest.approx(card["packaged_perplexity"], rel=1e-2)
    assert card["bytes"] <= 2_000_000 and card["perplexity"] < 4_000 / 10  # far below a guess among 4,000 pieces


def test_a_text_begins_with_the_first_token_and_stays_open(loaded):
    _, tokenizer = loaded
    assert tokenizer.convert_ids_to_tokens(tokenizer("the film is")["input_ids"]) == ["[CLS]", "the", "film", "is"]


def test_every_next_token_is_explained_from_one_pass(loaded):
    model, tokenizer = loaded
    steps = explain(model, BEGINNING, processor=tokenizer, target=target.generated(4))
    ids = tokenizer(BEGINNING, return_tensors="pt")["input_ids"]
    written = model.generate(ids, max_new_tokens=len(steps), do_sample=False)[0, ids.shape[1] :]
    words = tokenizer.convert_ids_to_tokens(written)
    assert [step.target for step in steps] == [f"{word!r} at {at}" for at, word in enumerate(words, ids.shape[1] - 1)]
    assert all(step.ledger.closed and set(step.sink_kinds) == {"rotary"} for step in steps)


def test_one_continuation_rather_than_another(loaded):
    model, tokenizer = loaded
    funny, bad = (target.token(word, at=-1) for word in ("funny", "bad"))
    found = explain(model, BEGINNING, processor=tokenizer, target=funny, contrast=bad, options=Options(audit=True))
    with torch.no_grad():
        logits = model(**tokenizer(BEGINNING, return_tensors="pt")).logits[0, -1]
    first, second = tokenizer.convert_tokens_to_ids(["funny", "bad"])
    assert found.ledger.closed and found.ledger.value == pytest.approx(float(logits[first] - logits[second]), abs=1e-4)


def test_30_steps_lower_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(language_model, "COURSE", replace(language_model.COURSE, batch=8, warmup=5))
    sentences = tmp_path / "sentences.tsv"
    data.write(made_up_sentences(), sentences)
    first, last = train(NAME, steps=30, out=tmp_path / "trained", archive=sentences)["losses"]
    assert last < 0.9 * first


# --- all of the zoo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("composite", NAMED.values(), ids=NAMED)
@pytest.mark.parametrize("name", zoo.names())
def test_every_ledger_closes_under_every_composite(name, composite):
    model, processor = zoo.load(name)
    example = zoo.task(name).examples[0]
    given = example.image if hasattr(example, "image") else example.text
    found = explain(model, given, processor=processor, composite=composite, options=Options(audit=True))
    assert found.ledger.closed, found.ledger
