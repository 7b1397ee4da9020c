"""Targets that are computed: each is the number that one would compute, its ledger closes, and its place is where one means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import SIZES, build, randomise
from shapes import same_answer, words
from tolerance import assert_same

from pelrp_nb import CP_LRP, Options, explain, target
from pelrp_nb.errors import InputError, TargetError

AUDIT = Options(audit=True)
USUAL = {**SIZES, "max_position_embeddings": 64}


def bert(kind: str, **more):
    """A random BERT with a head of that kind."""
    import transformers as t

    return randomise(getattr(t, f"BertFor{kind}")(t.BertConfig(**USUAL, **more)).double())


@pytest.fixture(scope="module")
def llama():
    return build("llama")


@pytest.fixture(scope="module")
def masked():
    return bert("MaskedLM")


TEXT = "w7 w8 w9 w10 w11"


def logits(model, text: str, tokenizer=None) -> torch.Tensor:
    with torch.no_grad():
        return model(**(tokenizer or words())(text, return_tensors="pt")).logits[0]


def closed(model, text, wanted, tokenizer=None, **more):
    """The explanation, audited and closed, with something that arrived at the tokens."""
    found = explain(model, text, processor=tokenizer or words(), target=wanted, options=AUDIT, **more)
    assert found.ledger.closed and found.ledger.audited and float(found.semantic.abs().sum()) > 1e-6
    return found


# --- numbers of one place --------------------------------------------------------------------------------------------

NUMBERS = {
    "logprob": (target.logprob("w30"), lambda z: z.log_softmax(-1)[30], "log p('w30') at 4"),
    "likeliest": (target.logprob(), lambda z: z.log_softmax(-1).max(), None),
    "probability": (target.probability("w30"), lambda z: z.softmax(-1)[30], "p('w30') at 4"),
    "entropy": (target.entropy(), lambda z: torch.distributions.Categorical(logits=z).entropy(), "entropy at 4"),
    "margin": (target.margin(), lambda z: z.topk(2).values @ z.new_tensor([1, -1]), None),
    "margin of one": (target.margin("w30"), lambda z: z[30] - torch.cat([z[:30], z[31:]]).max(), None),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_computed_target_is_the_number_one_would_compute(llama, name):
    wanted, compute, called = NUMBERS[name]
    found = closed(llama, TEXT, wanted)
    assert found.value == pytest.approx(float(compute(logits(llama, TEXT)[-1])), abs=1e-9)
    assert called is None or found.target == called


@pytest.mark.parametrize("name", NUMBERS)
def test_a_computed_target_has_the_explanation_of_the_function_written_out(llama, name):
    wanted, compute, _ = NUMBERS[name]
    theirs = explain(
        llama, TEXT, processor=words(), target=lambda output: compute(output.logits[0, -1]) if name != "entropy" else written(output)
    )
    ours = explain(llama, TEXT, processor=words(), target=wanted)
    assert_same(ours.semantic, theirs.semantic, theirs.ledger.scale)
    assert_same(ours.positional, theirs.positional, theirs.ledger.scale)


def written(output) -> torch.Tensor:
    """The entropy by hand."""
    p = output.logits[0, -1].softmax(-1)
    return -(p * p.log()).sum()


def test_what_the_log_softmax_keeps_is_minus_the_entropy(llama):
    """METHOD: at k, R(z_j) = z_j (1[j=k] - p_j) g, left -g H; the softmaxes of the layers have lines of their own."""
    found = closed(llama, TEXT, target.logprob("w30"))
    outside = [amount for name, amount in found.ledger.softmax.items() if "logsumexp" in name]
    z = logits(llama, TEXT)[-1]
    assert outside == [pytest.approx(-float(torch.distributions.Categorical(logits=z).entropy()), abs=1e-9)]


def test_under_constant_softmaxes_a_logprob_is_its_logit_and_a_constant(llama):
    ours, logit = (explain(llama, TEXT, processor=words(), target=t, composite=CP_LRP) for t in (target.logprob("w30"), "w30"))
    assert_same(ours.semantic, logit.semantic, logit.ledger.scale)
    assert ours.ledger.closed


@pytest.mark.parametrize("wanted", [target.logprob("w30"), target.entropy(), target.probability(30), target.margin(), target.loss()])
def test_a_computed_target_in_a_batch_is_that_of_its_rows(llama, wanted):
    texts = ["w7 w8 w9", "w20 w21"]
    together = explain(llama, texts, processor=words("left"), target=wanted)
    for ours, text in zip(together, texts, strict=True):
        same_answer(ours, explain(llama, text, processor=words(), target=wanted))


def test_as_many_classes_as_rows_do_not_mix_their_books():
    """Two rows and two classes: an amount for each class must not be taken for one of each row."""
    model = bert("SequenceClassification", num_labels=2)
    for wanted in (target.logprob(1), lambda output: output.logits[0].log_softmax(-1)[1]):
        texts = ["w7 w8 w9", "w5 w6 w10"]
        for ours, text in zip(explain(model, texts, processor=words(), target=wanted), texts, strict=True):
            same_answer(ours, explain(model, text, processor=words(), target=wanted))
            assert ours.ledger.closed


def test_a_contrast_of_logprobs_is_that_of_logits(llama):
    a, b = (explain(llama, TEXT, processor=words(), target=f("w30"), contrast=f("w40")) for f in (target.logprob, target.token))
    assert a.value == pytest.approx(b.value) and a.ledger.closed
    assert_same(a.semantic, b.semantic, b.ledger.scale)


BESIDE = {
    "a logprob": (target.logprob("w30"), "w40", lambda z: z.log_softmax(-1), "log p('w30') at 4 rather than log p('w40') at 4"),
    "a probability": (target.probability("w30"), 40, lambda z: z.softmax(-1), "p('w30') at 4 rather than p('w40') at 4"),
    "a token": (target.token("w30"), "w40", lambda z: z, "'w30' at 4 rather than 'w40' at 4"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_contrast_typed_alone_is_of_the_kind_of_its_target(llama, name):
    wanted, foil, compute, called = BESIDE[name]
    found = closed(llama, TEXT, wanted, contrast=foil)
    z = compute(logits(llama, TEXT)[-1])
    assert found.value == pytest.approx(float(z[30] - z[40])) and found.target == called


def test_a_contrast_typed_alone_is_of_its_targets_kind_where_there_is_one_answer_and_in_words_and_spans(llama):
    model = bert("SequenceClassification", num_labels=3)
    p = logits(model, TEXT).log_softmax(-1)
    found = closed(model, TEXT, target.logprob(0), contrast=1)
    assert found.value == pytest.approx(float(p[0] - p[1])) and found.target == "log p(LABEL_0) rather than log p(LABEL_1)"
    found = closed(llama, TEXT, target.logprob("w30 w31"), contrast="w40")
    assert found.target == "log p('w30 w31') from 4 rather than log p('w40') at 4"
    found = closed(llama, TEXT, target.logprob("w30", at=target.span("w8 w9")), contrast="w40")
    z = logits(llama, TEXT)[1:3].log_softmax(-1)
    assert found.value == pytest.approx(float((z[:, 30] - z[:, 40]).sum()))


def test_a_label_beside_a_label_of_a_token_is_a_label():
    model = bert("TokenClassification", id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1})
    found = closed(model, TEXT, target.label("PER", at=1), contrast="O")
    z = logits(model, TEXT)[1]
    assert found.value == pytest.approx(float(z[1] - z[0])) and found.target == "PER at 1 rather than O at 1"


def test_a_match_that_has_a_probability_of_its_own_has_it():
    import transformers as t

    sizes = {k: v for k, v in SIZES.items() if k != "vocab_size"}
    text, picture = {**USUAL, "projection_size": 48}, {**sizes, "image_size": 16, "patch_size": 4}
    model = randomise(t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=picture)).double())
    given = {"input_ids": torch.tensor([[7, 8, 2]]), "pixel_values": torch.linspace(-1, 1, 768).double().reshape(1, 3, 16, 16)}
    found = explain(model, given, target=target.probability(0))
    with torch.no_grad():
        assert found.value == pytest.approx(float(model(**given).logits_per_image.sigmoid()))
    assert found.target == "p(match of picture and text 0)"


def test_several_labels_at_once_have_probabilities_of_their_own():
    model = bert("SequenceClassification", num_labels=3, problem_type="multi_label_classification")
    z = logits(model, TEXT)
    assert closed(model, TEXT, target.probability(1)).value == pytest.approx(float(z[1].sigmoid()))
    assert closed(model, TEXT, target.logprob(1)).value == pytest.approx(float(torch.nn.functional.logsigmoid(z[1])))


# --- words of several tokens, spans ----------------------------------------------------------------------------------


def test_a_logprob_of_a_word_of_two_tokens_is_the_sum_of_both(llama):
    found = closed(llama, TEXT, target.logprob("w30 w31"))
    z = logits(llama, TEXT + " w30").log_softmax(-1)
    assert found.value == pytest.approx(float(z[4, 30] + z[5, 31]), abs=1e-9)
    assert found.tokens == (*TEXT.split(), "w30") and found.target == "log p('w30 w31') from 4"


def test_a_word_of_several_tokens_is_each_of_them_where_it_is_predicted(llama):
    found = closed(llama, TEXT, "w30 w31 w32")
    parts = explain(llama, TEXT + " w30 w31 w32", processor=words(), target=target.read(first=5))
    assert found.value == pytest.approx(sum(p.value for p in parts))
    total = sum(torch.nn.functional.pad(p.semantic, (0, 7 - len(p.semantic))) for p in parts)
    assert_same(found.semantic, total, sum(p.ledger.scale for p in parts))


def test_a_word_of_several_tokens_may_stand_against_one_token(llama):
    found = closed(llama, TEXT, target.logprob("w30 w31"), contrast=target.logprob("w40"))
    z, first = logits(llama, TEXT + " w30").log_softmax(-1), logits(llama, TEXT)[-1].log_softmax(-1)
    assert found.value == pytest.approx(float(z[4, 30] + z[5, 31] - first[40]), abs=1e-9)
    assert found.target == "log p('w30 w31') from 4 rather than log p('w40') at 4"


def test_the_probability_of_a_word_is_the_product(llama):
    z = logits(llama, TEXT + " w30").softmax(-1)
    assert closed(llama, TEXT, target.probability("w30 w31")).value == pytest.approx(float(z[4, 30] * z[5, 31]))


def test_a_span_is_its_tokens_as_places_added_up(llama):
    found = closed(llama, TEXT, target.token("w30", at=target.span("w8 w9")))
    z = logits(llama, TEXT)
    assert found.value == pytest.approx(float(z[1, 30] + z[2, 30])) and found.target == "'w30' at 'w8 w9' (1 to 2)"
    logs = closed(llama, TEXT, target.logprob("w30", at=target.span("w8 w9"))).value
    assert logs == pytest.approx(float(z.log_softmax(-1)[1:3, 30].sum()))


def test_a_span_of_different_answers_is_named_after_all_of_them(llama):
    best = logits(llama, TEXT)[1:3].max(-1)
    first, second = (f"w{i}" for i in best.indices.tolist())
    assert first != second
    found = closed(llama, TEXT, target.token(None, at=target.span("w8 w9")))
    assert found.value == pytest.approx(float(best.values.sum())) and found.target == f"'{first}' + '{second}' at 'w8 w9' (1 to 2)"
    found = closed(llama, TEXT, target.logprob(at=target.span("w8 w9")))
    assert found.target == f"log p('{first}') + log p('{second}') at 'w8 w9' (1 to 2)"


def test_a_span_as_a_target_is_what_is_predicted_there(llama):
    found = closed(llama, TEXT, target.span("w9 w10"))
    z = logits(llama, TEXT)
    assert found.value == pytest.approx(float(z[1, 9] + z[2, 10]))


# --- losses ----------------------------------------------------------------------------------------------------------


def theirs(model, text: str, labels, tokenizer=None) -> float:
    """The loss that the model itself computes."""
    with torch.no_grad():
        return float(model(**(tokenizer or words())(text, return_tensors="pt"), labels=labels).loss)


def test_a_loss_is_the_models_own(llama, masked):
    """Language models of transformers compute theirs in float32."""
    ids = words()(TEXT, return_tensors="pt")["input_ids"]
    assert closed(llama, TEXT, target.loss()).value == pytest.approx(theirs(llama, TEXT, ids), abs=1e-6)
    labels = [-100, -100, 30, 31, -100]
    assert closed(llama, TEXT, target.loss(labels)).value == pytest.approx(theirs(llama, TEXT, torch.tensor([labels])), abs=1e-6)
    text = "w7 [MASK] w9"
    assert closed(masked, text, target.loss("w30")).value == pytest.approx(theirs(masked, text, torch.tensor([[-100, 30, -100]])), abs=1e-6)


@pytest.mark.parametrize("name", ["XLNetLMHeadModel", "XLMWithLMHeadModel"])
def test_a_loss_is_not_shifted_where_the_head_does_not_shift(name):
    import transformers as t

    sizes = {"vocab_size": 96, "n_layer": 2, "n_head": 4}
    config = t.XLNetConfig(**sizes, d_model=48, d_inner=80) if "XLNet" in name else t.XLMConfig(**sizes, n_layers=2, n_heads=4, emb_dim=48)
    model = randomise(getattr(t, name)(config).double())
    for labels in (None, [-100, -100, 30, 31, -100]):
        own = words()(TEXT, return_tensors="pt")["input_ids"] if labels is None else torch.tensor([labels])
        found = explain(model, TEXT, processor=words(), target=target.loss(labels))
        assert found.value == pytest.approx(theirs(model, TEXT, own), abs=1e-6)


WRITES_IN_PLACE = {
    "XLNetLMHeadModel": {"n_layer": 2, "n_head": 4, "d_model": 48, "d_inner": 80},
    "XLMWithLMHeadModel": {"n_layers": 2, "n_heads": 4, "emb_dim": 48, "mask_token_id": 4},
    "FlaubertWithLMHeadModel": {"n_layers": 2, "n_heads": 4, "emb_dim": 48, "mask_token_id": 4},
}


def writing_in_place(name: str):
    import transformers as t

    kind = getattr(t, name)
    return randomise(kind(kind.config_class(vocab_size=96, **WRITES_IN_PLACE[name])).double()).float()


@pytest.mark.parametrize("wanted", [target.generated(2), target.read(), target.span("w9 w10"), "w30 w31"], ids=str)
@pytest.mark.parametrize("name", WRITES_IN_PLACE)
def test_where_a_model_writes_in_a_place_of_its_own_no_place_of_the_text_predicts(name, wanted):
    """What it writes depends on a token that it puts behind the text; the logits one place before are another number."""
    with pytest.raises(TargetError, match=r"in a place of its own behind the text.*prepare_inputs_for_generation\(input_ids\)"):
        explain(writing_in_place(name), TEXT, processor=words(), target=wanted)


@pytest.mark.parametrize("name", WRITES_IN_PLACE)
def test_what_such_a_model_writes_is_explained_where_it_writes_it(name):
    model, ids = writing_in_place(name), words()(TEXT, return_tensors="pt")["input_ids"]
    new = int(model.generate(ids, max_new_tokens=1, do_sample=False, pad_token_id=0, eos_token_id=None)[0, -1])
    found = explain(model, model.prepare_inputs_for_generation(ids), target=target.token(new, at=-1))
    with torch.no_grad():
        logits = model(**model.prepare_inputs_for_generation(ids)).logits
    assert found.value == pytest.approx(float(logits[0, -1, new]), abs=1e-6) and int(logits[0, -1].argmax()) == new
    assert found.ledger.closed and found.positional.abs().sum() > 0
    assert "target_mapping" not in found.streams, "which place is predicted is no content"


def test_a_loss_leaves_the_models_configuration_as_it_was():
    """transformers notes the kind of problem when it first sees labels."""
    model = bert("SequenceClassification", num_labels=3)
    explain(model, TEXT, processor=words(), target=target.loss(1))
    assert model.config.problem_type is None


def test_a_loss_of_a_padded_text_is_that_of_the_text(llama):
    padded = dict(words("left")(TEXT, return_tensors="pt", padding="max_length", max_length=8))
    found = explain(llama, padded, target=target.loss())
    assert found.value == pytest.approx(theirs(llama, TEXT, words()(TEXT, return_tensors="pt")["input_ids"]), abs=1e-6)


@pytest.mark.parametrize(
    ("more", "label"),
    [({"num_labels": 3}, 2), ({"num_labels": 1}, 0.7), ({"num_labels": 2, "problem_type": "regression"}, [0.7, -1.0]),
     ({"num_labels": 3, "problem_type": "multi_label_classification"}, [1.0, 0.0, 1.0])],
)  # fmt: skip
def test_a_classifiers_loss_is_its_own_whatever_it_answers(more, label):
    model = bert("SequenceClassification", **more)
    own = torch.tensor([label]) if isinstance(label, int) else torch.tensor([label], dtype=torch.float64)
    assert closed(model, TEXT, target.loss(label)).value == pytest.approx(theirs(model, TEXT, own), abs=1e-9)


def test_a_token_classifiers_loss_takes_names():
    model = bert("TokenClassification", id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1})
    found = closed(model, TEXT, target.loss(["O", "PER", None, "O", "O"]))
    assert found.value == pytest.approx(theirs(model, TEXT, torch.tensor([[0, 1, -100, 0, 0]])), abs=1e-9)


def test_a_function_may_use_what_torch_computes_losses_with(llama):
    cross = torch.nn.functional.cross_entropy
    found = closed(llama, TEXT, lambda output: cross(output.logits[0, :-1], torch.tensor([8, 9, 10, 11])))
    assert_same(found.semantic, explain(llama, TEXT, processor=words(), target=target.loss()).semantic, found.ledger.scale)


# --- places ----------------------------------------------------------------------------------------------------------


def test_the_default_place_of_a_masked_language_model_is_its_mask(masked):
    tokenizer, text = words(special=True), "w7 [MASK] w9"
    for wanted in ("w30", 30, target.token("w30"), None):
        found = explain(masked, text, processor=tokenizer, target=wanted)
        at = target.token(wanted if not isinstance(wanted, target.Token) else "w30", at=2)
        same_answer(found, explain(masked, text, processor=tokenizer, target=at), torch.float64)
        assert found.target.endswith(" at 2")
    assert closed(masked, text, "w30", tokenizer, contrast="w40").target == "'w30' at 2 rather than 'w40' at 2"


def test_a_contrast_stands_where_its_target_stands(llama):
    found = explain(llama, TEXT, processor=words(), target=target.token("w30", at=1), contrast="w40")
    assert found.target == "'w30' at 1 rather than 'w40' at 1"
    model = bert("TokenClassification", id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1})
    found = explain(model, TEXT, processor=words(), target=target.label("PER", at="w8"), contrast=0)
    assert found.target == "PER at 1 rather than O at 1"


@pytest.mark.parametrize(
    "make", [np.int64, np.int32, torch.tensor, lambda n: torch.tensor([n]), lambda n: np.array(n), lambda n: np.array([n])]
)
def test_ids_of_numpy_and_torch_are_ids(llama, make):
    known = explain(llama, TEXT, processor=words(), target=30)
    same_answer(explain(llama, TEXT, processor=words(), target=make(30)), known, torch.float64)
    same_answer(explain(llama, TEXT, processor=words(), target=target.token(make(30), at=make(4))), known, torch.float64)


def test_every_takes_the_indices_of_topk(llama):
    top = logits(llama, TEXT)[-1].topk(3)
    found = explain(llama, TEXT, processor=words(), target=target.every(top.indices))
    assert [e.value for e in found] == pytest.approx(top.values.tolist())
    assert target.every(top.indices[None]) == target.every(top.indices.numpy()) == target.every(top.indices.tolist())


# --- modules of one's own ------------------------------------------------------------------------------------------------


class SequenceFirst(torch.nn.Module):
    """(T, B) ids to (T, B, C) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(96, 24)
        self.layer = torch.nn.TransformerEncoderLayer(24, 4, 48, dropout=0.0)
        self.head = torch.nn.Linear(24, 7)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.words(ids)))


OWN = {
    "a token": (lambda **at: target.token(3, **at), lambda z: z[3]),
    "a logprob": (lambda **at: target.logprob(3, **at), lambda z: z.log_softmax(-1)[3]),
    "a probability": (lambda **at: target.probability(3, **at), lambda z: z.softmax(-1)[3]),
    "an entropy": (target.entropy, lambda z: torch.distributions.Categorical(logits=z).entropy()),
    "a margin": (lambda **at: target.margin(3, **at), lambda z: z[3] - torch.cat([z[:3], z[4:]]).max()),
}


@pytest.mark.parametrize("B", [1, 2])
@pytest.mark.parametrize("name", OWN)
def test_a_target_is_found_where_the_sequence_comes_first(name, B):
    make, compute = OWN[name]
    model = randomise(SequenceFirst().double())
    ids = torch.tensor([[7, 8, 9, 10], [20, 21, 22, 23]])[:B].T
    with torch.no_grad():
        z = model(ids)
    for place, given in ((-1, {}), (-1, {"at": -1}), (1, {"at": 1})):
        found = explain(model, ids, target=make(**given))
        found = found if isinstance(found, list) else [found]
        assert [e.value for e in found] == pytest.approx([float(compute(z[place, b])) for b in range(B)])
        assert all(e.ledger.closed for e in found)


def test_a_loss_is_found_where_the_sequence_comes_first():
    model, ids, labels = randomise(SequenceFirst().double()), torch.tensor([[7], [8], [9]]), [1, -100, 3]
    with torch.no_grad():
        wanted = torch.nn.functional.cross_entropy(model(ids)[:, 0], torch.tensor(labels))
    assert explain(model, ids, target=target.loss(labels)).value == pytest.approx(float(wanted))


# --- answers in a text -----------------------------------------------------------------------------------------------


def test_an_answer_is_the_best_start_and_end_in_the_text_asked_about():
    model, tokenizer, pair = bert("QuestionAnswering"), words(special=True), ("w7 w8", "w9 w10 w11")
    found = closed(model, pair, target.answer(), tokenizer)
    with torch.no_grad():
        out = model(**tokenizer(*pair, return_tensors="pt"))
    best = max(float(out.start_logits[0, i] + out.end_logits[0, j]) for i in range(4, 7) for j in range(i, 7))
    assert found.value == pytest.approx(best) and found.target.startswith("answer 'w")
    given = closed(model, ("w10 w11", "w9 w10 w11"), target.answer("w10 w11"), tokenizer)  # in the text, not in the question
    assert given.target == "answer 'w10 w11' (5 to 6)"
    given = closed(model, pair, target.answer("w10 w11"), tokenizer)
    assert (
        given.value == pytest.approx(float(out.start_logits[0, 5] + out.end_logits[0, 6])) and given.target == "answer 'w10 w11' (5 to 6)"
    )


def test_a_computed_target_may_be_one_of_several(llama):
    found = explain(llama, TEXT, processor=words(), target=target.every([target.entropy(), "w30", target.margin()]))
    assert [e.target.split()[0] for e in found] == ["entropy", "'w30'", found[2].target.split()[0]]
    same_answer(found[0], explain(llama, TEXT, processor=words(), target=target.entropy()))


def test_targets_are_values_that_can_be_copied():
    import copy
    import pickle

    for one in (
        target.logprob("a"),
        target.span("b"),
        target.loss(1),
        target.answer(),
        target.margin(),
        target.token("a", at=target.span("b")),
    ):
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one


# --- neurons ---------------------------------------------------------------------------------------------------------


def inside(model, text: str, path: str, tokenizer=None) -> torch.Tensor:
    """What goes into a module, (T, N)."""
    seen = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    logits(model, text, tokenizer)
    hook.remove()
    return seen[0]


def test_a_neuron_is_its_value_and_closes(llama):
    values = inside(llama, TEXT, "model.layers.1.mlp.down_proj")
    found = closed(llama, TEXT, target.neuron("layer 1", 5, at="w9"))
    assert found.value == pytest.approx(float(values[2, 5])) and found.target == "neuron 5 of layer 1 at 2"
    assert not found.semantic[3:].any(), "tokens behind it have no part in it"
    last = closed(llama, TEXT, target.neuron(2, 7))
    assert last.value == pytest.approx(float(inside(llama, TEXT, "model.layers.2.mlp.down_proj")[-1, 7]))


def test_a_neuron_of_an_encoder_is_asked_at_a_place_or_over_a_span():
    model = bert("SequenceClassification")
    values = inside(model, TEXT, "bert.encoder.layer.1.output.dense")
    found = closed(model, TEXT, target.neuron("layer 1", 3, at=target.span("w8 w9")))
    assert found.value == pytest.approx(float(values[1:3, 3].sum()))
    with pytest.raises(TargetError, match=r"so it needs a place. Type target.neuron\('layer 1', 3, at=0\)"):
        explain(model, TEXT, processor=words(), target=target.neuron("layer 1", 3))


def test_a_neuron_in_a_batch_is_that_of_its_rows(llama):
    wanted, texts = target.neuron("layer 1", 5), ["w7 w8 w9", "w20 w21"]
    for ours, text in zip(explain(llama, texts, processor=words("left"), target=wanted), texts, strict=True):
        same_answer(ours, explain(llama, text, processor=words(), target=wanted))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: target.neuron("layer 1", 80), "Neurons of layer 1 must lie between 0 and 79, got 80. Type another."),
        (
            lambda: target.neuron("layer 1", 1.5),
            "A neuron is a layer and a number, got 'layer 1' and 1.5. Type target.neuron(\"layer 3\", 5, at=-1).",
        ),
        (
            lambda: target.neuron("layer 9", 1),
            "The model shows no neurons of layer 9; layers are called as in the ledger, experts keep theirs hidden. "
            'Type target.neuron("layer 0", 5).',
        ),
    ],
)
def test_a_neuron_that_is_not_there_is_refused(llama, make, said):
    with pytest.raises(InputError) as refused:
        explain(llama, TEXT, processor=words(), target=make())
    assert str(refused.value) == said
