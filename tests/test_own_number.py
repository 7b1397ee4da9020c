"""The explained number is the model's own: `result.value` is what `model(**the same inputs)` gives, however the inputs are held."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import own_modules as own
import pytest
import torch
from models import SIZES, build, build_position, randomise
from shapes import words
from test_batches import other
from test_streams import heard, picture, processor, towers, written
from torch import Tensor, nn
from ways import (
    CHATS, EMBEDDED, FLAGGED, FLAT, GENERAL, HELD, IDS, MASKS, MORE, PADDED, POSITIONED, SCORES, SHORT, TYPES, A, Way, function, loss,
    numbers_of, of, same,
)  # fmt: skip

from pelrp_nb import PA_LRP, explain, target

SMALL = {**SIZES, "num_hidden_layers": 2, "max_position_embeddings": 64, "pad_token_id": 0}


def bert(kind: str, **more: Any) -> nn.Module:
    """A small BERT with another head."""
    import transformers as t

    return randomise(getattr(t, f"BertFor{kind}")(t.BertConfig(**SMALL, **more)).double())


def uneven(name: str, rows: list[Any]) -> Way:
    """Rows of unequal length."""
    return Way(name, lambda _: {"input_ids": rows}, lambda m: [numbers_of(m(input_ids=torch.as_tensor(x)[None]), 1)[0] for x in rows])


UNEVEN = [uneven("uneven tensors", [IDS[0], IDS[0, :4]]), uneven("uneven arrays", [IDS[0].numpy(), IDS[0, :4].numpy()])]


def pixels(rows: int, size: int = 16) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def seen(size: int = 16) -> list[Way]:
    """Ways to pass pictures."""
    one, two = pixels(1, size), pixels(2, size)
    return [
        same("pixels", {"pixel_values": one}),
        same("pixels in numpy", {"pixel_values": one.numpy()}, {"pixel_values": one}),
        same("pixels in lists", {"pixel_values": one.tolist()}, {"pixel_values": one}),
        same("rows of pixels", {"pixel_values": two}, rows=2),
        same("a list of pixels", {"pixel_values": list(two)}, {"pixel_values": two}, rows=2),
        Way("a tensor of pixels", lambda _: two, lambda m: numbers_of(m(two), 2)),
    ]


def paired(name: str) -> list[Way]:
    """An encoder and a decoder: what is left out is what the model itself reads."""
    decoder, labels = torch.tensor([[0, 7, 8, 9]]), torch.tensor([[7, 8, 9, -100]])
    ways = [
        same("what the decoder reads", {"input_ids": IDS, "decoder_input_ids": decoder}),
        same("what the decoder reads, in lists", {"input_ids": IDS.tolist(), "decoder_input_ids": decoder.tolist()},
             {"input_ids": IDS, "decoder_input_ids": decoder}),
        same("rows that the decoder reads, padded", {"input_ids": MORE, "decoder_input_ids": torch.tensor([[0, 7, 8, 9], [0, 6, 0, 0]]),
             "decoder_attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])}, rows=2, at=[3, 1]),
        same("labels", {"input_ids": IDS, "labels": labels}),
        function("the loss", {"input_ids": IDS, "labels": labels}, lambda out: out.loss, part=True),
        same("both masks", {"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 0, 1, 1, 1]]), "decoder_input_ids": decoder,
                            "decoder_attention_mask": torch.tensor([[1, 0, 1, 1]])}),
    ]  # fmt: skip
    return [*ways, same("nothing for the decoder", {"input_ids": IDS})] if name.startswith("bart") else ways


def towered() -> list[Way]:
    """A text and a picture."""
    both = {"input_ids": torch.cat([IDS, IDS.flip(1)]), "pixel_values": pixels(2)}
    one = {k: v[:1] for k, v in both.items()}
    matches = lambda out: out.logits_per_image[0, 0]
    return [
        function("a text and a picture", one, matches),
        function("the same in numpy", {k: v.numpy() for k, v in one.items()}, matches, one),
        Way("two texts and two pictures", lambda _: dict(both), lambda m: m(**both).logits_per_image.diag().tolist(), {"target": matches}),
        Way(
            "raw", lambda _: {"text": "w7 w8 w9", "images": picture()}, lambda m: [match(m)], {"processor": processor(), "target": matches}
        ),
    ]


def match(model: nn.Module) -> float:
    worker = processor()
    text = worker.tokenizer("w7 w8 w9", return_tensors="pt")
    seen = worker.image_processor(images=picture(), return_tensors="pt")["pixel_values"].double()
    return float(model(input_ids=text["input_ids"], attention_mask=text["attention_mask"], pixel_values=seen).logits_per_image[0, 0])


CAUSAL, CLASSES = IDS.clone(), torch.tensor([1])
KINDS: dict[str, tuple[Callable[[], nn.Module], list[Way]]] = {
    "llama": (lambda: build("llama"), [*GENERAL, *CHATS, *loss(CAUSAL), *POSITIONED, *FLAGGED, *EMBEDDED, *SCORES]),
    "gpt2": (lambda: build("gpt2"), [*PADDED, *loss(CAUSAL), *POSITIONED, *FLAT, *FLAGGED, *EMBEDDED]),
    "bert": (lambda: build("bert"), [*PADDED, *loss(CLASSES), *POSITIONED, *TYPES, *EMBEDDED, *UNEVEN]),
    "distilbert": (lambda: build("distilbert"), [*SHORT, *loss(CLASSES)]),
    **{name: (lambda name=name: build(name), SHORT) for name in ("qwen2", "gemma", "mixtral")},
    **{name: (lambda name=name: other(name), SHORT) for name in ("roberta", "opt", "mpnet", "mamba")},
    "bloom": (lambda: other("bloom"), [w for w in SHORT if "left" not in w.name and "start" not in w.name]),  # the model gives NaN there
    "convbert": (lambda: other("convbert"), [*HELD[:5], *MASKS]),
    "llama that classifies": (lambda: other("no padding id"), [*HELD[:5], *MASKS[:4]]),
    "bert that fills gaps": (lambda: bert("MaskedLM"), [*HELD[:5], *MASKS]),
    "bert with one number": (lambda: bert("SequenceClassification", num_labels=1), [*SHORT, *loss(torch.tensor([0.5]).double())]),
    "deberta": (lambda: build_position("deberta")[0], [*HELD[:3], *MASKS[:5]]),
    "vit": (lambda: build("vit"), seen()),
    "swin": (lambda: build_position("swin")[0], seen()),
    "convnext": (lambda: build_position("convnext")[0], seen()),
    **{name: (lambda name=name: written(name), paired(name)) for name in ("t5", "bart", "marian", "pegasus")},
    "bart that classifies": (lambda: written("bart classifier"), [same("ids", {"input_ids": torch.tensor([[7, 8, 9, 2]])})]),
    "whisper": (lambda: written("whisper"), [
        same("sound and text", {**heard(), "decoder_input_ids": torch.tensor([[0, 7, 8]])}),
        same("sound in numpy", {"input_features": heard()["input_features"].numpy(), "decoder_input_ids": [[0, 7, 8]]},
             {**heard(), "decoder_input_ids": torch.tensor([[0, 7, 8]])}),
    ]),
    "clip": (lambda: towers("clip"), towered()),
    "siglip": (lambda: towers("siglip"), towered()),
}  # fmt: skip


# --- modules of one's own --------------------------------------------------------------------------------------------

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
Y = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 0, 1, 1, 1]]).double()


def best(out: Tensor, rows: int = 1) -> list[float]:
    """The highest number of each row, of the last place where there are several."""
    out = out.reshape(rows, *out.shape[1:]) if out.dim() and out.shape[0] == rows else out[None]
    return [float((row[-1] if row.dim() == 2 else row).max()) for row in out]


def called(name: str, given: Any, theirs: Callable[[nn.Module], list[float]], **more: Any) -> Way:
    return Way(name, lambda _: given, theirs, more)


def usual(name: str = "x") -> list[Way]:
    """One row, several, other containers, by name."""
    return [
        called("one row", X[:1], lambda m: best(m(X[:1]))),
        called("rows", X, lambda m: [best(m(X[i : i + 1]))[0] for i in range(3)]),
        called("rows in numpy", X.numpy(), lambda m: [best(m(X[i : i + 1]))[0] for i in range(3)]),
        called("rows in lists", X.tolist(), lambda m: [best(m(X[i : i + 1]))[0] for i in range(3)]),
        called("by name", {name: X}, lambda m: [best(m(X[i : i + 1]))[0] for i in range(3)]),
        called("a list of inputs", [X[:1], X[1:2, :3]], lambda m: [best(m(X[:1]))[0], best(m(X[1:2, :3]))[0]]),
        called("a function", X[:1], lambda m: [float(m(X[:1]).flatten()[0])], target=lambda out: out.flatten()[0]),
    ]


def alone(name: str) -> list[Way]:
    """All of it is one input."""
    return [called(f"all is one input, {name}", X[0], lambda m: best(m(X[0])))]


def packed(told: bool) -> list[Way]:
    """Of a container the logits, or a number that is named."""
    last = lambda out: own_part(out)
    ways = [called("a named number of each row", X, lambda m: [float(own_part(m(X[i : i + 1]))) for i in range(3)], target=last)]
    highest = lambda m, x: float(max(torch.as_tensor(t).reshape(-1)[-3:].max() for t in own_leaves(m(x))[-1:]))
    return ways + ([called("rows", X, lambda m: [highest(m, X[i : i + 1]) for i in range(3)])] if told else [])


def own_leaves(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, tuple | list) else vars(out).values()
    return [leaf for part in parts if part is not None for leaf in own_leaves(part)]


def own_part(out: Any) -> Tensor:
    return own_leaves(out)[-1].flatten()[1]


def scored(out: dict[str, Tensor]) -> Tensor:
    """A number of the row that all of the table has a part in."""
    return out["logits"].flatten()[0] * out["table"].sum().detach() * (1 + out["numbers"].sum())


OWN: dict[str, tuple[Callable[[], nn.Module], list[Way]]] = {
    "a module": (own.Base, [*usual(), *alone("no batch")]),
    "a module of places": (own.EachPlace, [*usual(), *alone("no batch")]),
    "a module that squeezes": (own.Squeezed, usual()),
    "a module that gives the first alone": (own.FirstOnly, usual()[:1]),
    "a module of one number": (own.Single, usual()),
    "a sum over rows": (own.Total, [
        called("one row", X[:1], lambda m: [float(m(X[:1]))]),
    ]),
    "sequence first": (own.SequenceFirst, [
        called("one row", X[:1].transpose(0, 1), lambda m: best(m(X[:1].transpose(0, 1)))),
        called("rows", {"src": X.transpose(0, 1)}, lambda m: [best(m(X[i : i + 1].transpose(0, 1)))[0] for i in range(3)]),
    ]),
    "sequence first, places": (own.SequenceFirstPlaces, [
        called("one row", X[:1].transpose(0, 1), lambda m: [float(m(X[:1].transpose(0, 1))[-1, 0].max())]),
        called("rows", X.transpose(0, 1), lambda m: m(X.transpose(0, 1))[-1].max(-1).values.tolist()),
    ]),
    "other names and flags": (own.Named, [
        *usual("some_measurements"),
        called("a temperature", {"some_measurements": X, "temperature": 2.0}, lambda m: best(m(X, temperature=2.0), 3)),
        called("a flag", {"some_measurements": X, "flip": True}, lambda m: best(m(X, flip=True), 3)),
        called("weights in a list", {"some_measurements": X[:1], "weights": [1.0, -2.0, 3.0]},
               lambda m: best(m(X[:1], weights=torch.tensor([1.0, -2.0, 3.0])))),
        called("a number of numpy", {"some_measurements": X, "temperature": torch.tensor(2.0).numpy()}, lambda m: best(m(X, 2.0), 3)),
    ]),
    "any number of inputs": (own.Stars, usual()[:2]),
    "by place alone": (own.PositionalOnly, [*usual()[:2], called("a scale", {"x": X, "scale": 3.0}, lambda m: best(m(X, scale=3.0), 3))]),
    "a mask": (own.Masked, [
        called("by name", {"x": X, "mask": MASK}, lambda m: best(m(X, MASK), 3)),
        called("a tuple", (X, MASK), lambda m: best(m(X, MASK), 3)),
        called("a mask in lists", {"x": X, "mask": MASK.tolist()}, lambda m: best(m(X, MASK), 3)),
    ]),
    "two inputs": (own.Two, [
        called("by name", {"right": Y, "left": X}, lambda m: best(m(X, Y), 3)),
        called("a tuple", (X[:1], Y[:1]), lambda m: best(m(X[:1], Y[:1]))),
    ]),
    "a container of constants": (own.Contained, [
        called("by name", {"x": X[:1], "more": {"scale": 2.0, "shift": [0.5]}}, lambda m: best(m(X[:1], {"scale": 2.0, "shift": [0.5]}))),
        called("tensors inside", {"x": X[:1], "more": {"scale": torch.tensor(2.0), "shift": [0.5]}},
               lambda m: best(m(X[:1], {"scale": 2.0, "shift": [0.5]}))),
    ]),
    "a loss": (own.WithLoss, [
        called("rows", X, lambda m: best(m(X)[0], 3)),
        called("the loss of each row", {"x": X, "targets": Y[:, 0, :3]},
               lambda m: [float(m(X[i : i + 1], Y[i : i + 1, 0, :3])[1]) for i in range(3)], target=lambda out: out[1]),
    ]),
    "names it does not name": (own.Open, [called("a scale", {"x": X, "scale": 2.0}, lambda m: best(m(X, scale=2.0), 3))]),
    "ids": (own.Words, [
        called("ids", {"tokens": IDS}, lambda m: best(m(IDS))),
        called("a tensor", IDS, lambda m: best(m(IDS))),
        called("ids of one axis", IDS[0], lambda m: best(m(IDS[0]))),
        called("rows", IDS.reshape(2, 3), lambda m: best(m(IDS.reshape(2, 3)), 2)),
        called("a list of ids", IDS[0].tolist(), lambda m: best(m(IDS[0]))),
    ]),
    "ids of a usual name": (own.Inputs, [
        called("rows of unequal length", {"inputs": [[5, 6], [7, 8, 9]]},
               lambda m: [*best(m(torch.tensor([[5, 6]]))), *best(m(torch.tensor([[7, 8, 9]])))]),
        called("a flag and the number it equals", [{"inputs": IDS, "mode": 1}, {"inputs": IDS, "mode": True}],
               lambda m: [*best(m(IDS, mode=1)), *best(m(IDS, mode=True))]),
    ]),
    "ids without a batch": (own.Flat, [
        called("a tensor", IDS[0], lambda m: best(m(IDS[0]))),
        called("lists that are annotated as such", {"input_ids": IDS[0], "sizes": [1, 2], "more": [3]},
               lambda m: best(m(IDS[0], sizes=[1, 2], more=[3]))),
    ]),
    "a table of as many rows as inputs": (own.WithTable, [
        called(name, given, lambda m: [float(scored(m(X[i : i + 1]))) for i in range(2)], target=scored)
        for name, given in {"a batch": X[:2], "a list": [X[:1], X[1:2]]}.items()
    ]),
    "linear": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double(), [
        called("features of one axis", X[0, 0], lambda m: best(m(X[0, 0]))),
        called("rows of features", X[0], lambda m: best(m(X[0]), 5)),
    ]),
    "torch's encoder": (lambda: encoder(True), [
        called("rows", X, lambda m: m(X)[:, -1].max(-1).values.tolist()),
        called("a function", X[:1], lambda m: [float(m(X[:1])[0, 2, 1])], target=lambda out: out[0, 2, 1]),
    ]),
    "torch's encoder, sequence first": (lambda: encoder(False), [
        called("rows", X.transpose(0, 1), lambda m: m(X.transpose(0, 1))[-1].max(-1).values.tolist()),
    ]),
    **{f"outputs in {name}": (lambda pack=pack: own.Base(pack), packed(told)) for name, (pack, told) in own.PACKS.items()},
}  # fmt: skip
EVERY = {**KINDS, **OWN}


def encoder(batch_first: bool) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()


@cache
def model_of(kind: str) -> nn.Module:
    return EVERY[kind][0]()


@cache
def single_of(kind: str) -> nn.Module:
    return build(kind, dtype=torch.float32)


def answers(model: nn.Module, way: Way) -> list:
    last = {"target": target.token(None, at=-1)} if type(model).__name__.endswith("ForMaskedLM") else {}  # these have no [MASK]
    found = explain(model, way.given(model), **last | way.more)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(("kind", "way"), [pytest.param(k, w, id=f"{k}, {w.name}") for k, (_, ways) in EVERY.items() for w in ways])
def test_the_explained_number_is_the_model_s_own(kind, way):
    model = model_of(kind)
    with torch.no_grad():
        theirs = way.theirs(model)
    found = answers(model, way)
    assert [e.value for e in found] == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    for e in found:
        tokens = sum(float(s.semantic.sum()) for s in (e.streams or {"": e}).values())
        assert way.part or e.ledger.closed
        assert tokens == pytest.approx(e.ledger.tokens, abs=1e-7 * max(1.0, e.ledger.scale))


@pytest.mark.parametrize(("kind", "way"), [pytest.param(k, w, id=f"{k}, {w.name}") for k in ("llama", "gpt2", "bert") for w in SHORT])
def test_in_single_precision_up_to_rounding(kind, way):
    model = single_of(kind)
    with torch.no_grad():
        theirs = way.theirs(model)
    assert [e.value for e in answers(model, way)] == pytest.approx(theirs, rel=2e-5, abs=2e-5)


@pytest.mark.parametrize("labels", [[0, 1], torch.tensor([0, 1]), torch.tensor([0, 1]).numpy()], ids=["list", "tensor", "numpy"])
def test_labels_of_rows_of_unequal_length_are_each_row_s_own(labels):
    model, rows = model_of("bert"), [[5, 6], [7, 8, 9]]
    found = explain(
        model, {"input_ids": rows, "labels": labels}, target=lambda out: out.loss, composite=replace(PA_LRP, unknown="gradient")
    )
    losses = [model(input_ids=torch.tensor([row]), labels=torch.tensor([i])).loss for i, row in enumerate(rows)]
    assert [e.value for e in found] == pytest.approx([float(loss.detach()) for loss in losses], rel=1e-12)
    assert [len(e.tokens) for e in found] == [2, 3]


def test_a_labelled_text_has_its_loss():
    model, x = model_of("bert"), of(A)
    plain = replace(PA_LRP, unknown="gradient")
    found = explain(model, {"text": A, "labels": [1]}, processor=words(), target=lambda out: out.loss, composite=plain)
    assert found.value == pytest.approx(float(model(**x, labels=torch.tensor([1])).loss.detach()), rel=1e-12)


if __name__ == "__main__":  # what is wrong, in one line each, of all kinds or of those that are named
    for kind, (_, ways) in EVERY.items():
        for way in ways if len(sys.argv) < 2 or kind in sys.argv[1:] else ():
            try:
                test_the_explained_number_is_the_model_s_own(kind, way)
            except Exception as error:
                print(f"{kind}: {way.name}: {type(error).__name__}: {' '.join(str(error).split())[:220]}")
