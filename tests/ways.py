"""Ways to call `explain`, each with the number that the model itself gives for the same: kinds of model, and what is passed to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from shapes import drawn, together, words
from torch import Tensor, nn

from pelrp_nb import PA_LRP

IDS = torch.tensor([[7, 23, 11, 64, 5, 40]])
MORE = torch.tensor([[7, 23, 11, 64, 5, 40], [9, 8, 30, 31, 77, 12]])
MASK = torch.ones_like(IDS)


def numbers_of(output: Any, rows: int, at: list[int] | None = None) -> list[float]:
    """The highest logit of each row, at a place where there are several."""
    logits = output if isinstance(output, Tensor) else output.logits
    if logits.dim() == 3:
        logits = torch.stack([logits[i, -1 if at is None else at[i]] for i in range(rows)])
    return logits.reshape(rows, -1).max(1).values.tolist()


@dataclass(frozen=True)
class Way:
    """One way to call: what `explain` is given, and the number of each row as the model itself gives it.

    part: the ledger is of a composite that leaves a gradient plain, so it need not close
    """

    name: str
    given: Callable[[nn.Module], Any]
    theirs: Callable[[nn.Module], list[float]]
    more: Mapping[str, Any] = field(default_factory=dict)
    part: bool = False


def same(name: str, given: Mapping[str, Any], called: Mapping[str, Any] | None = None, rows: int = 1, at: Any = None) -> Way:
    """A mapping that the model is called with as it is, or as `called`."""
    return Way(name, lambda _: dict(given), lambda model: numbers_of(model(**(called or given)), rows, at))


def function(name: str, given: Mapping[str, Any], target: Callable, called: Mapping[str, Any] | None = None, part: bool = False) -> Way:
    """A function of the output is explained."""
    more = {"target": target} | ({"composite": replace(PA_LRP, unknown="gradient")} if part else {})
    return Way(name, lambda _: dict(given), lambda model: [float(target(model(**(called or given))))], more, part)


def frame(column: list) -> Any:
    """A column of a table of pandas."""
    import pandas

    return pandas.DataFrame({"text": column})["text"]


def dataset(column: list) -> Any:
    """A table of datasets with one column."""
    import datasets

    return datasets.Dataset.from_dict({"text": column})


def hidden(*places: int) -> Tensor:
    """A mask over IDS that hides places."""
    mask = MASK.clone()
    mask[0, list(places)] = 0
    return mask


def of(text: str | tuple, tokenizer: Any = None, takes: tuple = ("input_ids", "attention_mask")) -> dict[str, Tensor]:
    """A text as tensors."""
    encoding = (tokenizer or words())(*(text if isinstance(text, tuple) else (text,)), return_tensors="pt")
    return {k: v for k, v in encoding.items() if k in takes}


def of_texts(
    name: str, given: Callable[[], Any], texts: list, tokenizer: Any = None, takes: tuple = ("input_ids", "attention_mask")
) -> Way:
    """Texts, each as the model sees it alone."""
    tokenizer = tokenizer or words()

    def theirs(model: nn.Module) -> list[float]:
        return [number for text in texts for number in numbers_of(model(**of(text, tokenizer, takes)), 1)]

    return Way(name, lambda _: given(), theirs, {"processor": tokenizer})


A, B = "w7 w23 w11 w64", "w9 w8 w30 w31 w77 w12"
TEXTS = [
    of_texts("a text", lambda: A, [A]),
    of_texts("texts", lambda: [A, B], [A, B]),
    of_texts("a tuple of three texts", lambda: (A, B, "w5"), [A, B, "w5"]),
    of_texts("an array of texts", lambda: np.array([A, B]), [A, B]),
    of_texts("a Series of texts", lambda: frame([A, B]), [A, B]),
    of_texts("a frame of texts", lambda: frame([A, B]).to_frame(), [A, B]),
    of_texts("a column of a Dataset", lambda: dataset([A, B])["text"], [A, B]),
    of_texts("a Dataset", lambda: dataset([A, B]), [A, B]),
    Way(
        "a text and a flag",
        lambda _: {"text": A, "output_hidden_states": True},
        lambda m: [float(m(**of(A), output_hidden_states=True).hidden_states[1][0, 1, 2])],
        {"processor": words(), "target": lambda out: out.hidden_states[1][0, 1, 2]},
    ),
    of_texts("a text in an array", lambda: np.array(A), [A]),
    of_texts("a mapping with a text", lambda: {"text": A}, [A]),
    of_texts("a mapping with a text in an array", lambda: {"text": np.array(A).item()}, [A]),
]
CHAT = [{"role": "user", "content": "w7 w8"}]
TEMPLATE = "{% for m in messages %}[CLS] {{ m['content'] }} [SEP] {% endfor %}{% if add_generation_prompt %}[CLS]{% endif %}"


def talking() -> Any:
    """A tokenizer with a chat template."""
    tokenizer = words()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


CHATS = [Way("a conversation", lambda _: CHAT, lambda m: numbers_of(m(**of("[CLS] w7 w8 [SEP] [CLS]")), 1), {"processor": talking()})]
LEFT, RIGHT = together(drawn((4, 6)), "left"), together(drawn((4, 6)), "right")
ENDS = {"left": [-1, -1], "right": [3, 5]}


def first(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first row of a batch."""
    return {k: v[:1] for k, v in batch.items()}


HELD = [
    same("ids", {"input_ids": IDS}),
    same("ids of int32", {"input_ids": IDS.int()}),
    same("ids in numpy", {"input_ids": IDS.numpy()}, {"input_ids": IDS}),
    same("ids of numpy int32", {"input_ids": IDS.numpy().astype("int32")}, {"input_ids": IDS}),
    same("ids in lists", {"input_ids": IDS.tolist()}, {"input_ids": IDS}),
    same("ids in one list", {"input_ids": IDS[0].tolist()}, {"input_ids": IDS}),
    same("ids of one axis", {"input_ids": IDS[0]}, {"input_ids": IDS}),
    Way("an encoding of lists", lambda _: words()(A), lambda m: numbers_of(m(**of(A)), 1)),
    Way("an encoding of tensors", lambda _: words()(A, return_tensors="pt"), lambda m: numbers_of(m(**of(A)), 1)),
    Way("an encoding of arrays", lambda _: words()(A, return_tensors="np"), lambda m: numbers_of(m(**of(A)), 1)),
    Way("an encoding of uneven lists", lambda _: words()([A, B]), lambda m: numbers_of(m(**of(A)), 1) + numbers_of(m(**of(B)), 1)),
    Way("a list of ids", lambda _: IDS[0].tolist(), lambda m: numbers_of(m(IDS), 1)),
    Way("a tensor of ids", lambda _: IDS, lambda m: numbers_of(m(IDS), 1)),
    Way("an array of ids", lambda _: IDS.numpy(), lambda m: numbers_of(m(IDS), 1)),
    Way("a tensor of ids of one axis", lambda _: IDS[0], lambda m: numbers_of(m(IDS), 1)),
    Way("a tensor of rows of ids", lambda _: MORE, lambda m: numbers_of(m(MORE), 2)),
    Way("uneven lists of ids", lambda _: [[7, 9, 8], [5, 6]],
        lambda m: numbers_of(m(torch.tensor([[7, 9, 8]])), 1) + numbers_of(m(torch.tensor([[5, 6]])), 1)),
    Way("a list of mappings", lambda _: [{"input_ids": IDS}, {"input_ids": MORE[1:, :4]}],
        lambda m: numbers_of(m(IDS), 1) + numbers_of(m(MORE[1:, :4]), 1)),
]  # fmt: skip
MASKS = [
    same("a mask", {"input_ids": IDS, "attention_mask": MASK}),
    same("a mask of int32", {"input_ids": IDS, "attention_mask": MASK.int()}),
    same("a mask of booleans", {"input_ids": IDS, "attention_mask": MASK.bool()}),
    same("a mask that hides the middle", {"input_ids": IDS, "attention_mask": hidden(2, 3)}),
    same("a mask in lists", {"input_ids": IDS, "attention_mask": hidden(2, 3).tolist()},
         {"input_ids": IDS, "attention_mask": hidden(2, 3)}),
    same("a mask in one list", {"input_ids": IDS, "attention_mask": hidden(2)[0].tolist()},
         {"input_ids": IDS, "attention_mask": hidden(2)}),
    same("a mask in numpy", {"input_ids": IDS, "attention_mask": hidden(1, 3).numpy()},
         {"input_ids": IDS, "attention_mask": hidden(1, 3)}),
    same("a mask that hides tokens at the end", {"input_ids": IDS, "attention_mask": hidden(4, 5)}),
    same("a mask that hides one token at the end", {"input_ids": IDS, "attention_mask": hidden(5)}),
    same("a mask that hides tokens at the start", {"input_ids": IDS, "attention_mask": hidden(0, 1)}),
    same("a mask that hides both ends", {"input_ids": IDS, "attention_mask": hidden(0, 5)}),
]  # fmt: skip
BATCHES = [
    same("rows", {"input_ids": MORE}, rows=2),
    same("one mask for several rows", {"input_ids": MORE, "attention_mask": hidden(2)},
         {"input_ids": MORE, "attention_mask": hidden(2).expand(2, -1)}, rows=2),
    same("rows padded left", LEFT, rows=2, at=ENDS["left"]),
    same("rows padded right", RIGHT, rows=2, at=ENDS["right"]),
    same("rows padded right, in lists", {k: v.tolist() for k, v in RIGHT.items()}, RIGHT, rows=2, at=ENDS["right"]),
    same("a row padded left", first(LEFT), at=[-1]),
    same("a row padded right", first(RIGHT), at=[3]),
    same("rows padded to more than the longest", {k: torch.cat([v, 0 * v[:, :3]], 1) for k, v in RIGHT.items()}, rows=2, at=ENDS["right"]),
]  # fmt: skip
STATES = [
    function("hidden states", {"input_ids": IDS, "output_hidden_states": True}, lambda out: out.hidden_states[1][0, 2, 3]),
    Way("hidden states of a padded row", lambda _: {**first(RIGHT), "output_hidden_states": True},
        lambda m: [float(m(**first(RIGHT), output_hidden_states=True).hidden_states[1][0, 3, 3])],
        {"target": lambda out: out.hidden_states[1][0, -1, 3]}),
]  # fmt: skip
GENERAL = [*TEXTS, *HELD, *MASKS, *BATCHES, *STATES]
SHORT = [TEXTS[1], HELD[2], MASKS[4], MASKS[7], MASKS[9], BATCHES[1], BATCHES[2], BATCHES[3]]  # for further families
PADDED = [TEXTS[1], HELD[2], *MASKS[3:5], *MASKS[7:10], *BATCHES, *STATES]


def loss(labels: Tensor) -> list[Way]:
    """Labels are passed on, so that the loss may be explained."""
    both, x = torch.cat([labels, labels]), {"input_ids": IDS, "labels": labels}
    rows = function("the loss of each row", {"input_ids": MORE, "labels": both}, lambda out: out.loss, part=True)
    return [
        same("labels", x),
        function("the loss", x, lambda out: out.loss, part=True),
        function("the loss, labels in lists", {"input_ids": IDS, "labels": labels.tolist()}, lambda out: out.loss, x, part=True),
        replace(rows, theirs=lambda m: [float(m(input_ids=MORE[i : i + 1], labels=labels).loss) for i in range(2)]),
    ]


PLACES = torch.arange(3, 9)[None]
POSITIONED = [
    same("positions", {"input_ids": IDS, "position_ids": PLACES}),
    same("positions in a list", {"input_ids": IDS, "position_ids": PLACES.tolist()}, {"input_ids": IDS, "position_ids": PLACES}),
    same("positions of one row for several", {"input_ids": MORE, "position_ids": PLACES}, rows=2),
]
FLAT = [same("positions of one axis for as many rows", {"input_ids": MORE.repeat(3, 1), "position_ids": PLACES[0]}, rows=6)]
FLAGGED = [
    same("the last place alone", {"input_ids": IDS, "logits_to_keep": 1}),
    same("the last places", {"input_ids": IDS, "logits_to_keep": 3}),
    same("a cache asked for", {"input_ids": IDS, "use_cache": True}),
    same("nothing for None", {"input_ids": IDS, "attention_mask": None, "labels": None, "past_key_values": None}),
    same("rows padded right, the last places", {**RIGHT, "logits_to_keep": 2}, rows=2, at=[-1, -1]),
]
SECOND = torch.tensor([[0, 0, 0, 1, 1, 1]])
WITH_TYPES = ("input_ids", "attention_mask", "token_type_ids")
TYPES = [
    same("types", {"input_ids": IDS, "token_type_ids": SECOND}),
    same("types in a list", {"input_ids": IDS, "token_type_ids": SECOND.tolist()}, {"input_ids": IDS, "token_type_ids": SECOND}),
    of_texts("a pair", lambda: (A, B), [(A, B)], words(special=True), WITH_TYPES),
    of_texts("pairs", lambda: [(A, B), ("w5", "w6 w7")], [(A, B), ("w5", "w6 w7")], words(special=True), WITH_TYPES),
]


def vectors(model: nn.Module) -> Tensor:
    """The vectors of IDS."""
    return model.get_input_embeddings()(IDS).detach()


EMBEDDED = [
    Way("vectors", lambda m: {"inputs_embeds": vectors(m)}, lambda m: numbers_of(m(inputs_embeds=vectors(m)), 1)),
    Way("vectors in numpy", lambda m: {"inputs_embeds": vectors(m).numpy()}, lambda m: numbers_of(m(inputs_embeds=vectors(m)), 1)),
]
LATER = torch.ones(6, 6).triu(1).bool()
SCORES = [
    same(f"a mask of scores, {name}", {"input_ids": IDS, "attention_mask": torch.zeros(1, 1, 6, 6).double().masked_fill(LATER, low)})
    for name, low in (("the least number", torch.finfo(torch.float64).min), ("infinity", -torch.inf))
]
