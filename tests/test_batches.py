"""A batch is its rows: each equals its single run, however it was padded, or is run alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from models import build, build_position
from shapes import drawn, same_answer, text_of, together, words
from test_engine import same, state
from torch import nn

import pelrp_nb
from pelrp_nb import Options, Skipped, batches, explain, target
from pelrp_nb.errors import InputError, TargetError
from pelrp_nb.inputs import grouping, model_input, padding
from pelrp_nb.inputs.encode import encode, encode_all

TEXT = ("llama", "qwen2", "gemma", "mixtral", "gpt2", "bert", "distilbert")


@pytest.fixture
def forwards(monkeypatch):
    """Sizes of the batches that a model has seen, from the moment it is watched."""

    def watch(model: nn.Module) -> list[int]:
        seen: list[int] = []
        model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True)
        return seen

    return watch


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", TEXT)
def test_each_row_is_its_single_run(family, attention, side, forwards):
    model, rows = build(family, attention), drawn()
    texts, tokenizer, audit = [text_of(r) for r in rows], words(side), Options(audit=True)
    alone = [explain(model, t, processor=tokenizer, options=audit) for t in texts]
    seen = forwards(model)
    found = explain(model, texts, processor=tokenizer, options=audit)
    assert seen[-1] == 3  # one batch of three, whatever was tried before
    for ours, theirs in zip(found, alone, strict=True):
        same_answer(ours, theirs)
        assert ours.ledger.audited and ours.text == theirs.text and ours.offsets == theirs.offsets


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_in_single_precision_too(family):
    model, rows = build(family, dtype=torch.float32), drawn((3, 30, 12, 21))
    for ours, row in zip(explain(model, together(rows)), rows, strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_mapping_with_several_rows_is_a_batch(family):
    model, rows = build(family), drawn()
    for ours, row in zip(explain(model, together(rows)), rows, strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_padding_before_a_row_is_not_shown_and_its_places_are_those_that_the_model_saw(family):
    model, rows = build(family), drawn()
    x = together(rows, "left")
    logits = model(**x).logits[:, -1].detach()
    for i, (ours, row) in enumerate(zip(explain(model, x), rows, strict=True)):
        moved = {"input_ids": row[None], "position_ids": torch.arange(9 - len(row), 9)[None]}
        same_answer(ours, explain(model, moved))
        assert ours.value == pytest.approx(float(logits[i].max()), rel=1e-12)


def test_a_padded_row_alone_has_no_padding_either():
    model, (row,) = build("llama"), drawn((5,))
    x = {k: v[:1] for k, v in together([row, drawn((9,))[0]], "left").items()}
    same_answer(explain(model, x), explain(model, {"input_ids": row[None], "position_ids": torch.arange(4, 9)[None]}), torch.float64)


def test_detail_is_cut_to_each_row():
    model, rows = build("llama"), drawn((4, 7))
    wanted = Options(detail={"heads"})
    for ours, row in zip(explain(model, together(rows), options=wanted), rows, strict=True):
        theirs = explain(model, {"input_ids": row[None]}, options=wanted)
        assert ours.detail.keys() == theirs.detail.keys() and ours.detail


def test_one_backward_pass_for_all_rows(monkeypatch):
    model, rows, calls = build("llama"), drawn(), []
    plain = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(a[0]) or plain(*a, **k))
    explain(model, together(rows))
    assert [len(c) for c in calls if isinstance(c, list)] == [3]


def test_an_id_to_pad_with_that_a_text_uses_itself_is_no_padding():
    model, tokenizer = build("llama"), words(pad=False)
    assert tokenizer.pad_token_id is None
    texts = ["w7 [PAD] w9", "w5 w6 w7 w8 w9 w10"]
    for ours, text in zip(explain(model, texts, processor=tokenizer), texts, strict=True):
        same_answer(ours, explain(model, text, processor=tokenizer))


def other(name: str) -> nn.Module:
    """A small random model that counts positions, or sees its neighbours, in a way of its own."""
    import transformers as t
    from models import SIZES, randomise

    usual = {**SIZES, "num_hidden_layers": 2, "max_position_embeddings": 64, "pad_token_id": 0}
    opt = {k: v for k, v in usual.items() if k != "intermediate_size"} | {"ffn_dim": 80, "word_embed_proj_dim": 48}
    made = {
        "roberta": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**usual)),  # from the ids that are no padding
        "opt": lambda: t.OPTForCausalLM(t.OPTConfig(**opt)),  # from the mask
        "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(vocab_size=96, hidden_size=48, n_layer=2, n_head=4)),
        "mpnet": lambda: t.MPNetForMaskedLM(t.MPNetConfig(**usual)),
        "mamba": lambda: t.MambaForCausalLM(t.MambaConfig(vocab_size=96, hidden_size=48, num_hidden_layers=2, state_size=8)),
        "convbert": lambda: t.ConvBertForMaskedLM(t.ConvBertConfig(**usual, embedding_size=48)),
        "no padding id": lambda: t.LlamaForSequenceClassification(t.LlamaConfig(**{**usual, "pad_token_id": None}, num_labels=3)),
    }
    return randomise(made[name]().double())


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["roberta", "opt", "bloom", "mpnet", "mamba", "convbert", "no padding id"])
def test_whatever_the_model_counts_by_each_row_is_its_single_run(name, side, forwards):
    model, texts, tokenizer = other(name), [text_of(r) for r in drawn()], words(side)
    last = target.token(None, at=-1)
    alone = [explain(model, text, processor=tokenizer, target=last) for text in texts]
    seen = forwards(model)
    for ours, theirs in zip(explain(model, texts, processor=tokenizer, target=last), alone, strict=True):
        same_answer(ours, theirs)
    assert seen[-1] == (1 if name in ("convbert", "no padding id") else 3)


class Convolved(nn.Module):
    """A classifier that mixes neighbours, so that padding would leak in; it takes a mask and uses it for the mean only."""

    main_input_name = "input_ids"

    def __init__(self, masked: bool = True) -> None:
        super().__init__()
        self.embed, self.conv, self.head = nn.Embedding(96, 8), nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 3)
        nn.init.normal_(self.conv.bias)

    def forward(self, input_ids, attention_mask=None):
        h = torch.relu(self.conv(self.embed(input_ids).transpose(1, 2))).transpose(1, 2)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Unmasked(Convolved):
    """The same, without a mask to take."""

    def forward(self, input_ids):
        return super().forward(input_ids)


@pytest.mark.parametrize("kind", [Convolved, Unmasked])
def test_where_padding_would_leak_rows_of_other_lengths_run_apart(kind, forwards):
    torch.manual_seed(0)
    model, rows = kind().double().eval(), drawn((4, 9, 4))
    alone = [explain(model, {"input_ids": row[None]}) for row in rows]
    seen = forwards(model)
    found = explain(model, [{"input_ids": row[None]} for row in rows])
    assert seen[-2:] == [2, 1] and all(e.ledger.closed for e in found)
    for ours, theirs in zip(found, alone, strict=True):
        same_answer(ours, theirs, torch.float64)


def test_experts_with_biases_keep_the_books_of_each_row():
    import transformers as t
    from models import ROTARY, randomise

    config = t.GptOssConfig(**ROTARY, head_dim=12, num_local_experts=4, num_experts_per_tok=2, pad_token_id=0)
    model, rows = randomise(t.GptOssForCausalLM(config).double()), drawn((4, 9))
    model.set_experts_implementation("eager")
    for ours, row in zip(explain(model, together(rows)), rows, strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}))


def test_many_rows_are_split_by_length_and_come_back_in_order(monkeypatch, forwards, capsys):
    monkeypatch.setattr(grouping, "SHORTEST", grouping.TOKENS // 3)
    monkeypatch.setattr(batches, "LONG", 0.0)
    model, rows = build("llama"), drawn((9, 2, 8, 3, 4))
    seen = forwards(model)
    found = explain(model, [{"input_ids": row[None]} for row in rows])
    assert [len(e.tokens) for e in found] == [9, 2, 8, 3, 4] and seen[-2:] == [3, 2]
    for ours, row in zip(found, rows, strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}))
    assert "explain" in capsys.readouterr().err


@pytest.mark.parametrize("begun", [0.5, 9, 40, 1000])
@pytest.mark.parametrize("tokens", [64, 128, 400])
def test_rows_are_cut_where_padding_and_batches_cost_least(begun, tokens):
    """Of all ways to cut, tried one by one; a batch holds no more places than it may."""
    places = [2, 3, 3, 7, 8, 20, 90]

    def cost(pieces):
        return sum(begun + len(piece) * max(piece) for piece in pieces)

    def fits(piece):
        return len(piece) == 1 or len(piece) * max(64, *piece) <= tokens

    ways = []
    for bits in itertools.product((False, True), repeat=len(places) - 1):
        at = [0, *(i for i, bit in enumerate(bits, 1) if bit), len(places)]
        ways.append([places[a:b] for a, b in itertools.pairwise(at)])
    found = [places[a:b] for a, b in grouping.cut(places, tokens, begun)]
    assert [x for piece in found for x in piece] == places and all(map(fits, found))
    assert cost(found) == min(cost(way) for way in ways if all(map(fits, way)))


def test_rows_of_one_length_share_a_batch_and_a_batch_on_a_device_is_cut_by_its_size_alone(monkeypatch):
    assert grouping.cut([5] * 64, 4096, 1.0) == [(0, 64)] and grouping.cut([], 64, 1.0) == []
    rows = [model_input.Encoded({"input_ids": torch.zeros(1, n, dtype=torch.long)}) for n in (40, 2, 3, 2)]
    assert grouping.grouped(rows, True) == [[1, 3, 2, 0]] and grouping.grouped(rows, True, begun=3.0) == [[1, 3, 2], [0]]
    assert grouping.beginning(build("llama")) > 0 and grouping.beginning(torch.nn.ReLU()) is None
    monkeypatch.setattr(grouping, "device_of", lambda model: torch.device("cuda"))
    assert grouping.beginning(build("llama")) is None


def test_one_batch_shows_no_bar(capsys):
    explain(build("llama"), together(drawn()))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_texts_are_read_in_one_call_as_each_is_alone(family, monkeypatch):
    """Tensors, tokens, offsets and words are those of each text read by itself; a decoder reads each text by itself."""
    model = build_position(family)[0] if family == "t5" else build(family)
    tokenizer, texts = words(special=True), ["w5 w6 w7", "w8", " w9  w10 nothing w5"]
    alone = [encode(model, text, tokenizer) for text in texts]
    calls, read = [], type(tokenizer).__call__
    monkeypatch.setattr(type(tokenizer), "__call__", lambda self, given, *args, **kw: calls.append(given) or read(self, given, *args, **kw))
    found, several = encode_all(model, texts, tokenizer)
    assert several and (family == "t5" or calls == [texts])
    for ours, theirs in zip(found, alone, strict=True):
        assert (ours.labels, ours.given) == (theirs.labels, theirs.given)
        assert [(k, v.dtype, v.tolist()) for k, v in ours.tensors.items()] == [(k, v.dtype, v.tolist()) for k, v in theirs.tensors.items()]


def test_texts_through_a_tokenizer_without_offsets_are_read_one_by_one(monkeypatch):
    model, tokenizer = build("llama"), words()
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    found, _ = encode_all(model, ["w5 w6", "w7"], tokenizer)
    assert [one.labels[""].offsets for one in found] == [None, None] and [one.given for one in found] == ["w5 w6", "w7"]


def test_watching_hears_of_every_row_without_padding():
    model, rows, heard = build("llama"), drawn((4, 9)), []
    found = explain(model, together(rows), options=Options(watch=heard.append))
    for row, e in enumerate(found):
        for b in e.boundaries:
            matching = [x for x in heard if x.name == b.name]
            torch.testing.assert_close(matching[row].relevance, b.relevance)


def test_the_model_is_as_before_after_a_batch():
    model, rows = build("gpt2"), drawn()
    before = state(model)
    explain(model, together(rows))
    assert same(before, state(model))


def test_each_row_has_its_target_and_its_contrast():
    model, rows = build("bert"), drawn()
    found = explain(model, together(rows), target=target.each([0, 1, 0]), contrast=target.each([1, 0, 1]))
    for ours, row, t in zip(found, rows, (0, 1, 0), strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}, target=t, contrast=1 - t))


def test_a_function_sees_its_row_alone():
    model, rows, shapes = build("llama"), drawn(), []

    def last(output):
        shapes.append(tuple(output.logits.shape))
        return output.logits[0, -1, 7]

    found = explain(model, together(rows), target=last)
    assert sorted(shapes) == sorted((1, len(row), 96) for row in rows)
    for ours, row in zip(found, rows, strict=True):
        same_answer(ours, explain(model, {"input_ids": row[None]}, target=last))


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_row_without_a_token_is_refused_by_its_number():
    x = together(drawn())
    x["attention_mask"][1] = 0
    with pytest.raises(InputError, match=r"row 1 the attention_mask hides every one.*Drop that row"):
        explain(build("llama"), x)


def test_an_empty_text_among_others_is_refused():
    with pytest.raises(InputError, match="empty"):
        explain(build("llama"), ["w5 w6", " "], processor=words())


@pytest.mark.parametrize("given", [{"target": target.each([0])}, {"contrast": target.each([0, 1, 2, 3])}])
def test_targets_must_be_as_many_as_inputs(given):
    with pytest.raises(TargetError, match=r"one per input; got \d for 3 inputs.*Type"):
        explain(build("bert"), together(drawn()), **given)


def test_one_target_each_needs_several_inputs():
    with pytest.raises(TargetError, match="but there is one input"):
        explain(build("bert"), {"input_ids": drawn()[0][None]}, target=target.each([0]))


def test_a_foil_equal_to_the_target_is_refused_in_a_batch_too():
    model = build("bert")
    before = state(model)
    with pytest.raises(TargetError, match="the same"):
        explain(model, together(drawn()), target=target.each([0, 1, 1]), contrast=target.each([1, 0, 1]))
    with pytest.raises(TargetError, match="the same"):
        explain(model, together(drawn()), target=(f := lambda out: out.logits[0, 1]), contrast=f)
    assert same(before, state(model))


@pytest.mark.parametrize("family", ["t5", "bloom"])
def test_positions_that_the_model_does_not_take_are_refused(family):
    import transformers as t

    if family == "bloom":
        model = t.BloomForCausalLM(t.BloomConfig(vocab_size=96, hidden_size=48, n_layer=2, n_head=4)).eval()
    else:
        model = t.T5EncoderModel(t.T5Config(vocab_size=96, d_model=48, num_layers=2, num_heads=4, d_kv=12, d_ff=64)).eval()
    before = state(model)
    ids = drawn()[0][None]
    with pytest.raises(InputError, match=r"takes no `position_ids`.*Leave it out"):
        explain(model, {"input_ids": ids, "position_ids": torch.arange(4)[None]})
    assert same(before, state(model))


def test_positions_that_the_model_takes_are_taken():
    model, ids = build("gpt2"), drawn()[0][None]
    moved = explain(model, {"input_ids": ids, "position_ids": torch.arange(7, 11)[None]})
    assert moved.ledger.closed and not torch.equal(moved.semantic, explain(model, {"input_ids": ids}).semantic)


def test_an_input_that_no_model_takes_is_refused():
    with pytest.raises(InputError, match=r"takes no `colour`"):
        explain(Convolved().eval(), {"input_ids": drawn()[0][None], "colour": torch.ones(1, 4)})


def test_tensors_of_other_lengths_are_refused():
    with pytest.raises(InputError, match=r"`attention_mask` must have 3 rows"):
        explain(build("llama"), {**together(drawn()), "attention_mask": torch.ones(2, 9)})


def test_the_zoo_in_batches():
    model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
    texts = ["a gorgeous , witty film", "dull", "not a good film , but not a bad one either"]
    for ours, text in zip(explain(model, texts, processor=tokenizer), texts, strict=True):
        same_answer(ours, explain(model, text, processor=tokenizer))


# --- one bad input among many ----------------------------------------------------------------------------------------

MIXED = ["w5 w6 w7", "", "w8 w9", "w7 " * 80, "w10 w11 w12 w13"]


def test_the_error_of_one_input_names_it():
    with pytest.raises(InputError, match=r"^Input 1: The text is empty"):
        explain(build("llama"), MIXED, processor=words())
    with pytest.raises(InputError, match=r"^Input 1: .*at most 64 tokens; the text has 80"):
        explain(build("llama"), MIXED[2:], processor=words())
    with pytest.raises(TargetError, match=r"^Input 2: at must lie between"):
        explain(build("llama"), together(drawn((9, 9, 4))), target=target.token(7, at=6))
    with pytest.raises(TargetError, match=r"^Input 1: read\(first=3\) needs more tokens"):
        explain(build("llama"), [MIXED[4], MIXED[2]], processor=words(), target=target.read(3))


def test_bad_inputs_are_skipped_with_a_placeholder_that_says_why(tmp_path):
    model, tokenizer, skip = build("llama"), words(), Options(on_error="skip")
    found = explain(model, MIXED, processor=tokenizer, options=skip, target=target.each([7, 8, 9, 10, 11]))
    assert [isinstance(one, Skipped) for one in found] == [False, True, False, True, False]
    for i, number in ((0, 7), (2, 9), (4, 11)):
        same_answer(found[i], explain(model, MIXED[i], processor=tokenizer, target=number))
    assert (found[1].index, found[1].kind) == (1, "InputError") and "empty" in found[1].why and "has 80" in found[3].why
    assert found.skipped == [found[1], found[3]] and list(filter(None, found)) == [found[0], found[2], found[4]]
    assert list(found.table()["row"]) == [0, 2, 4] and found.names[3] == "input 3, skipped"
    assert "input 1 was skipped: The text is empty" in repr(found) and "input 3 was skipped" in found._repr_html_()
    found.save(tmp_path / "all.npz")
    assert type(found).load(tmp_path / "all.npz") == found


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_nan_in_one_row_of_a_module_s_batch_is_of_that_row_alone(bad):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval(), torch.randn(3, 5, 4).double()
    x[bad, 0, 0] = torch.nan
    found = explain(model, x, options=Options(on_error="skip"))
    assert [one.index for one in found.skipped] == [bad] and "NaN" in found[bad].why
    for i in {0, 1, 2} - {bad}:
        same_answer(found[i], explain(model, x[i : i + 1]))
    with pytest.raises(InputError, match=f"^Input {bad}: .*must be finite"):
        explain(model, x)


def test_masks_of_another_kind_of_number_share_no_batch():
    model, ids = build("bert"), drawn((6, 6))
    masks = torch.tensor([True, True, False, True, True, True]), torch.tensor([0.0, 0.0, -9.0, 0.0, 0.0, 0.0]).double()
    given = [{"input_ids": row[None], "attention_mask": mask[None, None, None]} for row, mask in zip(ids, masks, strict=True)]
    for ours, one in zip(explain(model, given), given, strict=True):
        same_answer(ours, explain(model, one))


def test_what_goes_wrong_in_the_model_or_at_the_target_is_skipped_too():
    skip = Options(on_error="skip")
    model = build("gpt2")
    rows = [{"input_ids": row[None], "position_ids": torch.arange(len(row))[None] + start} for row, start in zip(drawn(), (0, 70, 0))]
    found = explain(model, rows, options=skip)
    assert found[1].index == 1 and "itself refuses this input (input_ids, position_ids)" in found[1].why
    same_answer(found[2], explain(model, rows[2]))
    found = explain(build("llama"), together(drawn((9, 4))), target=target.token(7, at=6), options=skip)
    assert found[0].ledger.closed and found[1].kind == "TargetError"


def test_every_input_may_be_skipped_and_one_alone_is_not():
    found = explain(build("llama"), ["", " "], processor=words(), options=Options(on_error="skip"))
    assert [one.index for one in found] == [0, 1] and not any(found)
    with pytest.raises(InputError, match="empty"):
        explain(build("llama"), "", processor=words(), options=Options(on_error="skip"))
    with pytest.raises(InputError, match="needs the tokenizer"):  # the same for all of them
        explain(build("llama"), MIXED, options=Options(on_error="skip"))


def test_a_long_text_is_cut_where_that_was_asked_for():
    model, tokenizer, cut = build("llama"), words(special=True), Options(truncation=True)
    model_input = {"input_ids": tokenizer("w7 " * 80, truncation=True, max_length=64, return_tensors="pt")["input_ids"]}
    want = explain(model, model_input, processor=tokenizer)
    for found in (
        explain(model, MIXED[3], processor=tokenizer, options=cut),
        explain(model, MIXED[2:], processor=tokenizer, options=cut)[1],
    ):
        assert len(found.tokens) == 64 and found.tokens[-1] == "[SEP]" and found.value == pytest.approx(want.value)


def test_a_plan_of_several_inputs_is_of_the_longest_and_says_so():
    made = pelrp_nb.plan(build("llama"), ["w5", "w6 w7 w8", "w9"], processor=words())
    assert made.notes == ("of 3 inputs the longest, number 1, is planned",) and made.bytes


def test_padding_that_acts_on_a_row_is_shown():
    torch.manual_seed(0)
    model, rows = Convolved().double().eval(), drawn((9, 4))
    x = together(rows)
    found = explain(model, x)
    assert [len(e.tokens) for e in found] == [9, 9] and all(e.ledger.closed for e in found)
    assert [e.value for e in found] == pytest.approx(model(**x).max(1).values.tolist())
    assert float(found[1].semantic[4].abs()) > 1e-6  # the first place of padding


def test_how_rows_may_be_padded_is_tried_once_and_again_when_the_model_has_changed(monkeypatch):
    model, rows = build("llama"), [{"input_ids": row[None]} for row in drawn()]
    trials: list[nn.Module] = []

    def tried(model, row, longer, ways):
        trials.append(model)
        return original(model, row, longer, ways)

    original = padding.tried
    monkeypatch.setattr(padding, "tried", tried)
    for _ in range(3):
        explain(model, rows)
    assert len(trials) == 1
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    explain(model, rows)
    model.lm_head = nn.Linear(*reversed(model.lm_head.weight.shape), bias=False).to(model.dtype)
    explain(model, rows)
    assert len(trials) == 3
