"""Encoder and decoder, text and picture: relevance of each stream by its own tokens, one ledger of the whole."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import IMAGES, SIZES, build, randomise
from shapes import apart, same_answer, words
from spellings.base import WIDTH, Attention, Body, embedding, linear
from test_engine import same, state

from pelrp_nb import PA_LRP, Options, explain, propagate, rules, target
from pelrp_nb.engine.depth import AFTER, Depth
from pelrp_nb.errors import InputError
from pelrp_nb.views.steps import walk

ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
DEEP = {"d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 96, **ENDS}  # fmt: skip
TEXT = {**SIZES, "num_hidden_layers": 2, "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PICTURE = {k: v for k, v in IMAGES.items() if k != "num_labels"} | {"num_hidden_layers": 2}
AUDIT = Options(audit=True)


def written(name: str, attention: str = "sdpa"):
    """A small random encoder-decoder."""
    import transformers as t

    made = {
        "t5": lambda: t.T5ForConditionalGeneration(
            t.T5Config(vocab_size=96, d_model=48, d_kv=12, d_ff=64, num_layers=2, num_heads=4, **ENDS)
        ),
        "bart": lambda: t.BartForConditionalGeneration(t.BartConfig(**DEEP, max_position_embeddings=64)),
        "marian": lambda: t.MarianMTModel(t.MarianConfig(**DEEP, max_position_embeddings=64, decoder_vocab_size=96)),
        "pegasus": lambda: t.PegasusForConditionalGeneration(t.PegasusConfig(**DEEP, max_position_embeddings=64)),
        "whisper": lambda: t.WhisperForConditionalGeneration(t.WhisperConfig(
            **DEEP, max_source_positions=30, max_target_positions=20, num_mel_bins=8, suppress_tokens=None,
            begin_suppress_tokens=None,
        )),
        "bart classifier": lambda: t.BartForSequenceClassification(t.BartConfig(**DEEP, max_position_embeddings=64, num_labels=3)),
    }  # fmt: skip
    model = randomise(made[name]().double())
    model.set_attn_implementation(attention)
    return model


def heard(T: int = 60) -> dict[str, torch.Tensor]:
    return {"input_features": torch.randn(1, 8, T, generator=torch.Generator().manual_seed(2), dtype=torch.float64)}


def totals(found) -> tuple[float, float]:
    """Content and position of all streams."""
    streams = found.streams.values()
    return sum(float(s.semantic.sum()) for s in streams), sum(float(s.positional.sum()) for s in streams)


def test_depths_are_in_the_order_of_the_forward_pass_and_are_keys():
    order = [Depth(0), Depth(0, 0), Depth(0, 0, AFTER), Depth(0, 1), Depth(0, 1, AFTER), Depth(1), Depth(1, 0)]
    assert sorted(order[i] for i in (3, 0, 6, 1, 5, 2, 4)) == order and len({*order, *order}) == len(order)
    assert [d.segment for d in order] == [-1, 0, 1, 1, 2, -1, 0]  # after a layer is the next one's: the walk back is not yet in it
    with pytest.raises(FrozenInstanceError):
        order[0].layer = 3


# --- encoder and decoder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["t5", "bart", "marian", "pegasus", "whisper"])
def test_the_ledger_is_of_both_streams(name, attention):
    model = written(name, attention)
    before = state(model)
    found = explain(model, heard() if name == "whisper" else "w7 w8 w9 w10", processor=words(special=True), options=AUDIT)
    assert same(before, state(model))
    assert list(found.streams) == ["encoder", "decoder"]
    tokens, positions = totals(found)
    assert found.ledger.closed and found.ledger.tokens == pytest.approx(tokens)
    assert found.ledger.positions == pytest.approx(positions)
    assert all(abs(gap) < 1e-9 * found.ledger.scale for gap in found.ledger.layers.values())
    assert {n.split()[0] for n in found.ledger.layers} == {"encoder", "decoder"} and len(found.ledger.layers) == 6
    encoder, decoder = found.streams.values()
    assert torch.equal(found.semantic, encoder.semantic) and found.tokens == encoder.tokens
    for stream, which in ((encoder, "encoder"), (decoder, "decoder")):
        assert stream.sinks and all(which in sink for sink in stream.sinks)
        assert all(b.name.startswith(which) or b.kind == "cross" for b in stream.boundaries)
        assert stream.positional.shape == (len(stream.sinks), len(stream.tokens))


def test_what_a_decoder_layer_draws_from_the_encoder_is_a_boundary_of_the_encoder():
    found = explain(written("t5"), "w7 w8 w9", processor=words(), target=target.token("w30"), options=AUDIT)
    drawn = [b for b in found.boundaries if b.kind == "cross"]
    assert [b.name for b in drawn] == ["read by decoder layer 0", "read by decoder layer 1"]
    last = next(b for b in found.boundaries if b.name == "encoder layer 1")
    kept = found.ledger.constants.get("encoder.final_layer_norm.weight", 0.0)
    assert sum(b.total for b in drawn) == pytest.approx(last.total + kept)  # the final norm has no bias


def test_streams_are_saved_and_drawn(tmp_path):
    found = explain(written("t5"), "w7 w8 w9", processor=words())
    found.save(tmp_path / "it.npz")
    assert type(found).load(tmp_path / "it.npz") == found
    assert [b["kind"] for b in found.plain()["boundaries"]].count("cross") == 2
    assert "w30" not in found.to_html() and "decoder" in found.to_html()


@pytest.mark.parametrize("name", ["t5", "whisper"])
def test_the_walk_of_each_stream_balances_and_says_what_the_other_took(name):
    given = heard() if name == "whisper" else ("w7 w8 w9", "w20 w21")
    found = explain(written(name), given, processor=words(special=True), options=AUDIT)
    for stream in found.streams.values():
        steps = walk(stream.plain())
        accounts = [dict(step["account"]) for step in steps]
        assert all(abs(account["gap"]) < 1e-9 * found.ledger.scale for account in accounts)
        last = accounts[-1]
        assert last["tokens"] == pytest.approx(float(stream.semantic.sum()))
        assert last["positions"] == pytest.approx(float(stream.positional.sum()))
    encoder, decoder = (walk(stream.plain()) for stream in found.streams.values())
    drawn = sum(step["flow"]["to"][0][1] for step in encoder if step["kind"] == "cross")
    assert dict(decoder[-1]["account"])["other streams"] == pytest.approx(drawn)
    assert [step["name"] for step in encoder if step["kind"] == "cross"] == ["read by decoder layer 1", "read by decoder layer 0"]
    branches = [step["name"] for step in decoder if step["kind"] == "attention"]
    assert branches == [f"decoder layer {i} {kind}" for i in (1, 0) for kind in ("cross-attention", "attention")]


def test_equal_lengths_do_not_mix_streams():
    model, tokenizer = written("bart"), words()
    found = explain(model, ("w7 w8 w9", "w20 w21"), processor=tokenizer, options=AUDIT)
    assert [s.tokens for s in found.streams.values()] == [("w7", "w8", "w9"), ("[PAD]", "w20", "w21")]
    assert found.ledger.closed and not torch.equal(*[s.semantic for s in found.streams.values()])


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_decoders_text_comes_in_any_form(name):
    model, tokenizer = written(name), words(special=False)
    ids = tokenizer("w7 w8", return_tensors="pt")["input_ids"]
    pair = explain(model, ("w7 w8", "w20 w21"), processor=tokenizer)
    forms = [
        {"text": "w7 w8", "labels": "w20 w21"},
        {"input_ids": ids, "decoder_input_ids": torch.tensor([[0, 20, 21]])},
        {"input_ids": ids, "labels": torch.tensor([[20, 21, 2]])},
        {"input_ids": ids, "labels": "w20 w21"},
    ]
    for form in forms:
        found = explain(model, form, processor=tokenizer)
        assert found.streams["decoder"].tokens == ("[PAD]", "w20", "w21")
        assert apart(found.streams["decoder"].semantic, pair.streams["decoder"].semantic) < 1e-12


@pytest.mark.parametrize("name", ["t5", "bart", "marian", "whisper"])
def test_each_token_written_equals_the_explanation_of_its_prefix(name):
    model, tokenizer = written(name), words(special=True)
    x = heard() if name == "whisper" else dict(tokenizer("w7 w8 w9", return_tensors="pt"))
    x.pop("token_type_ids", None)
    found = explain(model, x, processor=tokenizer, target=target.generated(3))
    assert 1 <= len(found) <= 3
    for i, e in enumerate(found):
        ids = torch.tensor([tokenizer.convert_tokens_to_ids(list(e.streams["decoder"].tokens))])
        assert ids.shape == (1, i + 1)
        wanted = target.token(e.target.split("'")[1])
        same_answer(e, explain(model, {**x, "decoder_input_ids": ids}, processor=tokenizer, target=wanted))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_batch_of_pairs_is_its_rows(name):
    model, tokenizer = written(name), words(special=True)
    pairs = [("w7 w8 w9 w10", "w20"), ("w11", "w21 w22 w23"), ("w12 w13", "w24 w25")]
    seen = []
    model.register_forward_pre_hook(lambda _, a, k: seen.append(len(k["input_ids"])), with_kwargs=True)
    found = explain(model, pairs, processor=tokenizer)
    assert seen[-1] == 3
    for ours, pair in zip(found, pairs, strict=True):
        same_answer(ours, explain(model, pair, processor=tokenizer))


def test_a_classifier_with_a_decoder_reads_its_text_twice():
    model, tokenizer = written("bart classifier"), words(special=True)
    found = explain(model, "w7 w8 w9", processor=tokenizer, options=AUDIT)
    assert found.ledger.closed and found.target.startswith("LABEL_")
    assert found.streams["decoder"].tokens == ("[PAD]", "[CLS]", "w7", "w8", "w9")


def test_frames_of_sound_are_tokens_with_a_length_in_seconds():
    model = written("whisper")

    class Extractor:
        sampling_rate, hop_length, model_input_names = 100, 2, ["input_features"]

        def __call__(self, samples, sampling_rate, return_tensors):
            assert sampling_rate == 100 and return_tensors == "pt"
            return {"input_features": torch.as_tensor(samples).reshape(1, 1, 60, 2).mean(-1).expand(1, 8, 60)}

    processor = SimpleNamespace(feature_extractor=Extractor(), tokenizer=words())
    samples = np.sin(np.arange(120.0))
    found = explain(model, samples, processor=processor, options=AUDIT)
    assert found.tokens[:2] == ("frame 0", "frame 1") and len(found.tokens) == 30  # two steps of the input each
    assert found.text == "30 frames of 0.04 seconds" and found.ledger.closed
    same_answer(explain(model, {"audio": samples, "sampling_rate": 100}, processor=processor, options=AUDIT), found, torch.float64)
    with pytest.raises(InputError, match=r"hears 100 samples a second, got 44100.*Resample"):
        explain(model, {"audio": samples, "sampling_rate": 44_100}, processor=processor)
    with pytest.raises(InputError, match="needs the feature extractor"):
        explain(model, samples)


# --- text and picture ------------------------------------------------------------------------------------------------


def processor():
    """A tokenizer and an image processor, as CLIP's processor holds them."""
    from transformers import ViTImageProcessor

    return SimpleNamespace(tokenizer=words(special=True), image_processor=ViTImageProcessor(size={"height": 16, "width": 16}))


def picture(height: int = 30, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def towers(name: str):
    """A small random model of text and picture."""
    import transformers as t

    if name == "clip":
        parts = {"text_config": {**TEXT, "projection_dim": 24}, "vision_config": {**PICTURE, "projection_dim": 24}}
        return randomise(t.CLIPModel(t.CLIPConfig(**parts, projection_dim=24)).double())
    return randomise(t.SiglipModel(t.SiglipConfig(text_config={**TEXT, "projection_size": 48}, vision_config=PICTURE)).double())


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_match_of_text_and_picture_has_two_streams(name):
    model, x = towers(name), {"text": "w7 w8 w9", "images": picture()}
    found = explain(model, x, processor=processor(), target=lambda output: output.logits_per_image[0, 0], options=AUDIT)
    text, image = found.streams["text"], found.streams["image"]
    assert list(found.streams) == ["text", "image"] and text.tokens == ("[CLS]", "w7", "w8", "w9", "[SEP]")
    assert image.tokens[-1] == "patch 3,3" and tuple(image.map.shape) == (30, 20) and found.card["picture"] == [30, 20]
    tokens, positions = totals(found)
    assert found.ledger.closed and found.ledger.tokens == pytest.approx(tokens)
    assert found.ledger.positions == pytest.approx(positions)
    assert all(abs(gap) < 1e-9 * found.ledger.scale for gap in found.ledger.layers.values()) and len(found.ledger.layers) == 6
    assert all("text" in s for s in text.sinks) and all("vision" in s for s in image.sinks)
    assert explain(model, x, processor=processor()).target == "match of picture and text 0"


def test_a_batch_of_texts_and_pictures_is_its_rows():
    model, others = towers("clip"), picture(25, 25)
    rows = [{"text": "w7 w8 w9", "images": picture()}, {"text": "w10 w11 w12 w13 w14", "images": others}]
    for ours, row in zip(explain(model, rows, processor=processor()), rows, strict=True):
        same_answer(ours, explain(model, row, processor=processor()))


@pytest.mark.parametrize("kind", ["CLIPTextModel", "CLIPVisionModel", "SiglipTextModel", "SiglipVisionModel"])
def test_a_tower_alone_is_a_model_like_others(kind):
    import transformers as t

    config = getattr(t, kind.replace("Model", "Config"))(**(TEXT | {"projection_size": 48} if "Text" in kind else PICTURE))
    model = randomise(getattr(t, kind)(config).double())
    given = "w7 w8 w9" if "Text" in kind else picture()
    found = explain(model, given, processor=processor(), target=lambda output: output.pooler_output[0, 0], options=AUDIT)
    assert not found.streams and found.ledger.closed and found.sinks


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_comes_as_an_array_a_path_an_image_or_a_tensor(tmp_path):
    from PIL import Image

    model, worker, array = build("vit"), processor().image_processor, picture()
    Image.fromarray(array).save(tmp_path / "it.png")
    first = explain(model, array, processor=worker)
    assert first.ledger.closed and tuple(first.map.shape) == (30, 20) and first.card["picture"] == [30, 20]
    tensor, path = torch.from_numpy(array), tmp_path / "it.png"
    for form in (Image.fromarray(array), path, str(path), tensor, tensor.permute(2, 0, 1)):
        same_answer(explain(model, form, processor=worker), first, torch.float64)


def test_pictures_in_a_batch_are_their_rows():
    model, worker = build("vit"), processor().image_processor
    pictures = [picture(), picture(12, 40)[::-1].copy()]
    found = explain(model, pictures, processor=worker)
    for ours, one in zip(found, pictures, strict=True):
        same_answer(ours, explain(model, one, processor=worker), torch.float64)
    assert [tuple(e.map.shape) for e in found] == [(30, 20), (12, 40)]


def test_what_is_no_picture_is_refused(tmp_path):
    model, worker = build("vit"), processor().image_processor
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"must be a picture at .*none\.png, and there is none"):
        explain(model, tmp_path / "none.png", processor=worker)
    with pytest.raises(InputError, match="cannot be read as one"):
        explain(model, tmp_path / "text.png", processor=worker)
    with pytest.raises(InputError, match=r"needs the image processor.*AutoImageProcessor"):
        explain(model, picture())


# --- pairs, conversations, pipelines ---------------------------------------------------------------------------------


def test_two_texts_for_one_model_have_their_types():
    model, tokenizer = build("bert"), words(special=True)
    found = explain(model, ("w7 w8", "w9"), processor=tokenizer, options=AUDIT)
    assert found.tokens == ("[CLS]", "w7", "w8", "[SEP]", "w9", "[SEP]") and found.text == "w7 w8\nw9"
    assert [found.text[slice(*o)] for o in found.offsets if o] == ["w7", "w8", "w9"] and found.ledger.closed
    assert [w.text for w in found.words()] == list(found.tokens)
    x = tokenizer("w7 w8", "w9", return_tensors="pt")
    assert x["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    assert torch.equal(explain(model, dict(x), processor=tokenizer).semantic, found.semantic)
    same_answer(explain(model, {"text": "w7 w8", "text_pair": "w9"}, processor=tokenizer, options=AUDIT), found, torch.float64)


def test_pairs_in_a_batch_are_their_rows():
    model, tokenizer = build("bert"), words(special=True)
    pairs = [("w7 w8", "w9"), ("w10", "w11 w12 w13")]
    for ours, pair in zip(explain(model, pairs, processor=tokenizer), pairs, strict=True):
        same_answer(ours, explain(model, pair, processor=tokenizer))


TEMPLATE = "{% for m in messages %}[CLS] {{ m['content'] }} [SEP] {% endfor %}{% if add_generation_prompt %}[CLS]{% endif %}"


def test_a_conversation_is_written_by_the_chat_template():
    model, tokenizer = build("llama"), words()
    tokenizer.chat_template = TEMPLATE
    asked = [{"role": "user", "content": "w7 w8"}]
    found = explain(model, asked, processor=tokenizer)
    assert found.tokens == ("[CLS]", "w7", "w8", "[SEP]", "[CLS]") and found.special == (True, False, False, True, True)
    assert found.text == "[CLS] w7 w8 [SEP] [CLS]" and found.ledger.closed
    begun = explain(model, [*asked, {"role": "assistant", "content": "w9"}], processor=tokenizer)
    assert begun.tokens[-1] == "w9"  # the answer goes on where it broke off
    both = explain(model, [asked, [{"role": "user", "content": "w10"}]], processor=tokenizer)
    same_answer(both[0], found)


def test_messages_need_a_template_and_a_content():
    model, tokenizer = build("llama"), words()
    with pytest.raises(InputError, match="no chat template"):
        explain(model, [{"role": "user", "content": "w7"}], processor=tokenizer)
    tokenizer.chat_template = TEMPLATE
    with pytest.raises(InputError, match="a role and a content, got role"):
        explain(model, [{"role": "user"}], processor=tokenizer)


def test_a_pipeline_brings_its_model_and_its_tokenizer():
    from transformers import pipeline

    model, tokenizer = build("bert", dtype=torch.float32), words(special=True)
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    same_answer(explain(pipe, "w7 w8"), explain(model, "w7 w8", processor=tokenizer), torch.float64)
    seeing, worker = build("vit", dtype=torch.float32), processor().image_processor
    pipe = pipeline("image-classification", model=seeing, image_processor=worker)
    same_answer(explain(pipe, picture()), explain(seeing, picture(), processor=worker), torch.float64)


# --- streams are named by arguments, whatever parts are called ---------------------------------------------------------


class Beside(torch.nn.Module):
    """Two bodies of layers; the second reads the first, or both are compared. No part has a telling name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.table, self.patches = Body(), Body(), embedding("tokens", 20), linear("patches", 3, WIDTH)
        self.across = Attention("across")

    def compared(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return self.a(one) * self.b(two)

    def read(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        q, (k, v) = self.across.split(self.across.q(two)), (self.across.split(part(one)) for part in (self.across.k, self.across.v))
        return self.b(two + self.across.o(self.across.attend(q, k, v).transpose(1, 2).flatten(2)))


class Reader(Beside):
    def forward(self, input_ids, decoder_input_ids):
        return self.read(self.table(input_ids), self.table(decoder_input_ids))


class Matcher(Beside):
    def forward(self, input_ids=None, pixel_values=None):
        one = self.a(self.table(input_ids))
        return one if pixel_values is None else one * self.b(self.patches(pixel_values.flatten(2).mT))


class Retriever(Beside):
    def forward(self, query, document):
        return self.compared(self.table(query), self.table(document))


PAIR = (torch.tensor([[3, 7, 1, 12]]), torch.tensor([[5, 9, 2]]))
PIXELS = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("model", "given", "names", "places"), [
    (Reader, PAIR, ("encoder", "decoder"), (4, 3)),
    (Matcher, (PAIR[0], PIXELS), ("text", "image"), (4, None)),
    (Retriever, PAIR, ("query", "document"), (4, 3)),
])  # fmt: skip
def test_streams_are_named_by_arguments_whatever_the_parts_are_called(model, given, names, places):
    model = model()
    with propagate(model, PA_LRP, AUDIT) as flow:
        found = flow.trace(model(*given)[0, 1])
    assert tuple(found.streams) == names and found.ledger.closed
    for part, n in zip(found.streams.values(), places, strict=True):
        assert n is None or part.tokens.shape[0] == n
        layers = [b.name for b in part.boundaries if b.kind == "layer"]
        assert all(name.startswith(tuple(names)) for name in layers)
    assert all(abs(gap) < 1e-9 * found.ledger.scale for gap in found.ledger.layers.values())


def test_one_input_is_one_stream_without_a_name_whatever_else_the_model_could_take():
    model = Matcher()
    with propagate(model, PA_LRP, AUDIT) as flow:
        found = flow.trace(model(PAIR[0])[0, 1])
    assert not found.streams and found.ledger.closed
    assert [b.name for b in found.boundaries if b.kind == "layer"] == ["layer 0", "layer 1"]


@pytest.mark.parametrize(
    ("name", "near"), [("layer 0", "text layer 0"), ("audio layer 0", "text layer 0"), ("text layer 2", "text layer 1")]
)
def test_a_layer_of_a_stream_that_did_not_run_is_refused_with_the_nearest(name, near):
    model = Matcher()
    with (
        pytest.raises(InputError, match=f"'{name}' is not in Matcher.*'{near}'"),
        propagate(model, PA_LRP.where({name: {"linear": rules.gamma(0.1)}})),
    ):
        model(PAIR[0], PIXELS)
