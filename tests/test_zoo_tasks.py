"""Questions with known answers: the truth is true, nothing held out is trained on, and the six models answer what they state."""

import json
import shutil
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest
import torch

from pelrp_nb import PA_LRP, Options, explain, zoo
from pelrp_nb.__main__ import main
from pelrp_nb.errors import ZooError
from pelrp_nb.zoo import questions as asked
from pelrp_nb.zoo import task_models
from pelrp_nb.zoo.catalogue import KINDS as POSITIONS
from pelrp_nb.zoo.catalogue import MODELS as MODELS_BY_NAME
from pelrp_nb.zoo.train import train

MODELS = Path(zoo.__file__).parent / "models"
KINDS = tuple(asked.KINDS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_model = pytest.mark.parametrize("name", [f"tasks-{kind}" for kind in POSITIONS])


def answer(text: str) -> str:
    """The answer to a question, worked out anew from its words alone."""
    kind, *words = text.split()
    if kind == "recall":
        return dict(pair.split("=") for pair in words[:-2])[words[-1]]
    if kind == "fetch":
        return words[2]
    if kind == "order":
        return next(word for word in words[3:] if word in words[:2])
    if kind == "previous":
        return words[len(words) - 1 - words[::-1].index("mark") - 1]
    counted = [word for word in words if word in asked.WORDS]
    return Counter(counted[: len(words) // 2 if kind == "first-half" else None]).most_common(1)[0][0]


@every_kind
@pytest.mark.parametrize("length", ["usual", "shortest", "longest"])
def test_answers_are_right(kind, length):
    lengths = asked.KINDS[kind].lengths
    length = {"usual": None, "shortest": None, "longest": lengths[-1]}[length] if length != "shortest" else lengths[1]
    for one in zoo.task(kind, length=length, count=40).examples:
        assert asked.WORDS[one.label] == answer(one.text), one.text


@every_kind
def test_only_true_words_decide(kind):
    """Other words in all places that do not matter leave the answer as it is."""
    rng = Random(0)
    for one in zoo.task(kind, count=40).examples:
        words = one.text.split()
        for place in range(1, len(words)):
            if place in one.truth.tokens or words[place] == asked.ASK:
                continue
            same = [w for w in words[1:] if (w in asked.FILLERS) == (words[place] in asked.FILLERS) and w not in ("mark", "?")]
            pairs = [f"{words[place].split('=')[0]}={word}" for word in asked.WORDS]
            words[place] = rng.choice(pairs if "=" in words[place] else same) if words[place] != "mark" else "mark"
        assert answer(" ".join(words)) == asked.WORDS[one.label]


@every_kind
def test_order_matters_where_it_is_said_to(kind):
    """Counted words in another order: the answer changes for some questions, or for none."""
    rng, changed = Random(0), 0
    for one in zoo.task(kind, count=60).examples:
        words = one.text.split()
        start = words.index("?") + 1 if kind == "order" else 1
        free = list(range(start, len(words) - 2 if kind == "recall" else len(words)))
        mixed = rng.sample(free, len(free))
        other = [words[mixed[free.index(i)]] if i in free else word for i, word in enumerate(words)]
        if kind == "previous" and (other[1] == "mark" or any(a == b == "mark" for a, b in pairwise(other))):
            continue
        changed += answer(" ".join(other)) != asked.WORDS[one.label]
    assert bool(changed) == zoo.task(kind).examples[0].truth.order_matters


@every_kind
def test_training_never_meets_what_is_held_out(kind):
    trained = {one.text for one in islice(asked.questions(kind, held_out=False, seed=1), 3000)}
    kept = {one.text for one in zoo.task(kind).examples}
    assert not trained & kept
    assert all(asked.is_held_out(text) for text in kept) and not any(map(asked.is_held_out, trained))


@every_kind
def test_questions_are_the_same_on_every_call(kind):
    first, second = (list(islice(asked.questions(kind, held_out=True, seed=3), 20)) for _ in range(2))
    assert first == second != list(islice(asked.questions(kind, held_out=True, seed=4), 20))


def test_a_task_is_its_questions_in_turn():
    mixed = zoo.task("tasks")
    assert [one.text.split()[0] for one in mixed.examples[:6]] == list(KINDS)
    assert len(mixed.examples) == 6 * len(zoo.task("fetch").examples) == 1200
    assert zoo.task("tasks-alibi") is mixed
    assert zoo.task("fetch").examples == tuple(one for one in mixed.examples if one.text.startswith("fetch"))


def test_harder_and_easier_questions():
    easy = zoo.task("fetch", classes=2, length=5, count=10)
    assert easy.labels == asked.WORDS[:2] and {one.label for one in easy.examples} <= {0, 1}
    assert {len(one.text.split()) for one in easy.examples} == {6} and len(easy.examples) == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "fetch", "classes": 9}, "2 to 8 classes, but 9"),
        ({"name": "recall", "classes": 1}, "2 to 8 classes, but 1"),
        ({"name": "recall", "length": 7}, "2, 3, 4, 5, 6; got 7"),
        ({"name": "first-half", "length": 8}, "must be one of 2, 6, 10"),
        ({"name": "order", "classes": 2, "length": 2}, "too few different questions"),
        ({"name": "reviews", "classes": 2}, "no classes"),
        ({"name": "order", "count": 0}, "at least one example"),
        ({"name": "ordre"}, "Did you mean `order`"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_a_task_does_not_have_is_refused(given, said):
    with pytest.raises(ZooError, match=said):
        zoo.task(**given)


@every_model
def test_each_kind_of_position_answers_what_it_can(name):
    card = zoo.card(name)
    assert set(card["solves"]) | set(card["unsolved"]) == set(KINDS)
    assert all(card["accuracies"][kind] >= 0.99 for kind in card["solves"]), card["accuracies"]
    assert zoo.check(name, limit=240) >= card["packaged_accuracy"] - 0.01


def test_without_positions_every_order_has_the_same_answer():
    model, tokenizer = zoo.load("tasks-none")
    card = zoo.card("tasks-none")
    assert set(card["unsolved"]) == {kind for kind in KINDS if zoo.task(kind).examples[0].truth.order_matters}
    assert all(card["accuracies"][kind] < 0.9 for kind in card["unsolved"])
    words = ["previous", "sun", "moon", "mark", "star", "bird", "mark", "fish"]
    lines = [" ".join(Random(i).sample(words, len(words))) for i in range(4)]
    logits = model(**tokenizer(lines, return_tensors="pt")).logits
    torch.testing.assert_close(logits, logits[:1].expand_as(logits), rtol=0, atol=1e-4)


@every_model
def test_the_six_are_small_and_of_one_vocabulary(name):
    assert sum(zoo.card(f"tasks-{kind}")["bytes"] for kind in POSITIONS) <= 2_000_000
    tokenizer = zoo.load(name)[1]
    text = zoo.task("recall").examples[0].text
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["[CLS]", *text.split(), "[SEP]"]
    assert (MODELS / name / "tokenizer.json").read_text() == (MODELS / "tasks-none" / "tokenizer.json").read_text()


@every_model
def test_ledgers_close_and_sinks_are_of_their_kind(name):
    model, tokenizer = zoo.load(name)
    for kind in KINDS:
        found = explain(model, zoo.task(kind).examples[0].text, processor=tokenizer, options=Options(audit=True))
        assert found.ledger.closed, found.ledger
    heard = {sink for sink, paid in zip(found.sink_kinds, found.positional, strict=True) if paid.abs().sum() > 0}
    assert heard == {zoo.card(name)["positions"]} - {"none"}


def test_the_zero_table_of_the_relative_model_receives_nothing():
    model, tokenizer = zoo.load("tasks-relative")
    found = explain(model, zoo.task("order").examples[0].text, processor=tokenizer, composite=PA_LRP)
    tables = [i for i, name in enumerate(found.sinks) if "position_embeddings" in name]
    assert all(float(found.positional[i].abs().max()) == 0 for i in tables)


def test_200_steps_lower_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(task_models, "MEASURED", 100)
    card = train("tasks-learnable", steps=200, out=tmp_path / "trained")
    first, last = card["losses"]
    assert last < 0.8 * first and card["steps"] == 200 and json.dumps(dict(card))


@pytest.mark.parametrize("name", ["tasks-rotary", "scenes-rotary", "reviews-lm-rotary"])
def test_what_has_no_epochs_says_so(name, tmp_path):
    with pytest.raises(ZooError, match="--steps N"):
        train(name, epochs=2, out=tmp_path / "never")


def test_the_same_seed_trains_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(task_models, "MEASURED", 20)
    cards = [train("tasks-none", seed=seed, steps=3, out=tmp_path / str(i))["sha256"] for i, seed in enumerate((5, 5, 6))]
    assert cards[0] == cards[1] != cards[2]


def test_every_kind_of_position_has_its_builder():
    assert set(task_models.BUILDERS) == set(POSITIONS.values())


def test_check_fails_where_a_model_does_worse_than_its_card(tmp_path, capsys):
    """Any folder works in place of a name; the exit status tells."""
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tasks-none", folder)
    assert main(["zoo", "check", str(folder), "--limit", "60"]) == 0
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"packaged_accuracy": 1.2}))
    assert main(["zoo", "check", str(folder), "--limit", "60"]) == 1
    assert "100.0% of 60 held-out examples, stated 120.0%: too low" in capsys.readouterr().out


def test_the_zoo_is_complete():
    assert zoo.names() == tuple(MODELS_BY_NAME)
