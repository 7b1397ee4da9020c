"""Ways to call `explain`, each with the number that the model itself gives for the same: kinds of model, and what is passed to them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from models import SIZES, build, randomise
from shapes import drawn, together, words
from torch import Tensor, nn

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
    """One way to call: what `explain` is given, and the number of each row as the model itself gives it."""

    name: str
    given: Callable[[nn.Module], Any]
    theirs: Callable[[nn.Module], list[float]]
    more: Mapping[str, Any] = field(default_factory=dict)


def same(name: str, given: Mapping[str, Any], called: Mapping[str, Any] | None = None, rows: int = 1, at: Any = None, **more: Any) -> Way:
    """A mapping that the model is called with as it is, or as `called`."""
    return Way(name, lambda _: dict(given), lambda model: numbers_of(model(**(called or given)), rows, at), more)


def function(name: str, given: Mapping[str, Any], target: Callable, called: Mapping[str, Any] | None = None, **more: Any) -> Way:
    """A function of the output is explained."""
    return Way(name, lambda _: dict(given), lambda model: [float(target(model(**(called or given))))], {"target": target, **more})


def frame(column: Any) -> Any:
    import pandas

    return pandas.DataFrame({"text": column})["text"]


def dataset(**columns: Any) -> Any:
    import datasets

    return datasets.Dataset.from_dict(columns)


def hidden(*places: int) -> Tensor:
    """A mask over IDS that hides places."""
    mask = MASK.clone()
    mask[0, list(places)] = 0
    return mask


def of_texts(name: str, given: Any, texts: list, **more: Any) -> Way:
    """Texts, each as the model sees it alone."""
    tokenizer = more.pop("tokenizer", None) or words()

    def theirs(model: nn.Module) -> list[float]:
        takes = more.get("takes", ("input_ids", "attention_mask"))
        found = []
        for text in texts:
            encoding = tokenizer(*(text if isinstance(text, tuple) else (text,)), return_tensors="pt")
            found += numbers_of(model(**{k: v for k, v in encoding.items() if k in takes}), 1)
        return found

    passed = {k: v for k, v in more.items() if k != "takes"}
    return Way(name, lambda _: given, theirs, {"processor": tokenizer, **passed})


A, B = "w7 w23 w11 w64", "w9 w8 w30 w31 w77 w12"
TEXTS = [
    of_texts("a text", A, [A]),
    of_texts("texts", [A, B], [A, B]),
    of_texts("a tuple of three texts", (A, B, "w5"), [A, B, "w5"]),
    of_texts("an array of texts", np.array([A, B]), [A, B]),
    of_texts("a Series of texts", frame([A, B]), [A, B]),
    of_texts("a column of a Dataset", dataset(text=[A, B])["text"], [A, B]),
    of_texts("a text in an array", np.array(A), [A]),
    of_texts("a mapping with a text", {"text": A}, [A]),
]
LEFT, RIGHT = together(drawn((4, 6)), "left"), together(drawn((4, 6)), "right")
ENDS = {"left": [-1, -1], "right": [3, 5]}


def of_ids(causal: bool) -> list[Way]:
    """Ids, masks and lists."""
    at = None if causal else None
    found = [
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
        Way("a list of mappings", lambda _: [{"input_ids": IDS}, {"input_ids": MORE[1:, :4]}],
            lambda m: numbers_of(m(IDS), 1) + numbers_of(m(MORE[1:, :4]), 1)),
        same("no cache asked for", {"input_ids": IDS, "use_cache": False} if causal else {"input_ids": IDS}),
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
        same("rows", {"input_ids": MORE}, rows=2),
        same("one mask for several rows", {"input_ids": MORE, "attention_mask": hidden(2)},
             {"input_ids": MORE, "attention_mask": hidden(2).expand(2, -1)}, rows=2),
        same("rows padded left", LEFT, rows=2, at=ENDS["left"]),
        same("rows padded right", RIGHT, rows=2, at=ENDS["right"]),
        same("a row padded left", {k: v[:1] for k, v in LEFT.items()}, at=[-1]),
        same("a row padded right", {k: v[:1] for k, v in RIGHT.items()}, at=[3]),
        function("hidden states", {"input_ids": IDS, "output_hidden_states": True}, lambda out: out.hidden_states[1][0, 2, 3]),
        Way("hidden states of a padded row", lambda _: {**{k: v[:1] for k, v in RIGHT.items()}, "output_hidden_states": True},
            lambda m: [float(m(**{k: v[:1] for k, v in RIGHT.items()}, output_hidden_states=True).hidden_states[1][0, 3, 3])],
            {"target": lambda out: out.hidden_states[1][0, -1, 3]}),
    ]  # fmt: skip
    return found


def of(text: str) -> dict[str, Tensor]:
    encoding = words()(text, return_tensors="pt")
    return {k: encoding[k] for k in ("input_ids", "attention_mask")}


def loss(model_labels: Tensor) -> list[Way]:
    """Labels are passed on, so that the loss may be explained."""
    both = torch.cat([model_labels, model_labels])
    return [
        same("labels", {"input_ids": IDS, "labels": model_labels}),
        function("the loss", {"input_ids": IDS, "labels": model_labels}, lambda out: out.loss),
        function("the loss, labels in lists", {"input_ids": IDS, "labels": model_labels.tolist()}, lambda out: out.loss,
                 {"input_ids": IDS, "labels": model_labels}),
        Way("the loss of each row", lambda _: {"input_ids": MORE, "labels": both},
            lambda m: [float(m(input_ids=MORE[i : i + 1], labels=model_labels).loss) for i in range(2)],
            {"target": lambda out: out.loss}),
    ]  # fmt: skip


POSITIONED = [
    same("positions", {"input_ids": IDS, "position_ids": torch.arange(3, 9)[None]}),
    same("positions in a list", {"input_ids": IDS, "position_ids": [list(range(3, 9))]},
         {"input_ids": IDS, "position_ids": torch.arange(3, 9)[None]}),
    same("positions of one row for several", {"input_ids": MORE, "position_ids": torch.arange(3, 9)[None]}, rows=2),
]  # fmt: skip
FLAGGED = [
    same("the last place alone", {"input_ids": IDS, "logits_to_keep": 1}),
    same("the last places", {"input_ids": IDS, "logits_to_keep": 3}),
    same("a cache asked for", {"input_ids": IDS, "use_cache": True}),
    same("nothing for None", {"input_ids": IDS, "attention_mask": None, "labels": None, "past_key_values": None}),
    same("rows padded right, the last places", {**RIGHT, "logits_to_keep": 2}, rows=2, at=[-1, -1]),
]
TYPES = [
    same("types", {"input_ids": IDS, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1]])}),
    same("types in a list", {"input_ids": IDS, "token_type_ids": [[0, 0, 0, 1, 1, 1]]},
         {"input_ids": IDS, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1]])}),
    of_texts("a pair", (A, B), [(A, B)], tokenizer=words(special=True), takes=("input_ids", "attention_mask", "token_type_ids")),
    of_texts("pairs", [(A, B), ("w5", "w6 w7")], [(A, B), ("w5", "w6 w7")], tokenizer=words(special=True),
             takes=("input_ids", "attention_mask", "token_type_ids")),
]  # fmt: skip
EMBEDDED = [
    Way("vectors", lambda m: {"inputs_embeds": m.get_input_embeddings()(IDS).detach()}, lambda m: numbers_of(m(IDS), 1)),
    Way("vectors in numpy", lambda m: {"inputs_embeds": m.get_input_embeddings()(IDS).detach().numpy()}, lambda m: numbers_of(m(IDS), 1)),
]
FOUR = torch.zeros(1, 1, 6, 6, dtype=torch.float64).masked_fill(torch.ones(6, 6).triu(1).bool(), torch.finfo(torch.float64).min)
MASKED = [same("a mask of scores", {"input_ids": IDS, "attention_mask": FOUR}),
          same("a mask of scores with infinities", {"input_ids": IDS, "attention_mask": FOUR.clamp(min=-torch.inf).masked_fill(FOUR < -1, -torch.inf)})]

CAUSAL, CLASSES = IDS.clone(), torch.tensor([1])
GENERAL = [*TEXTS, *of_ids(True)]
KINDS: dict[str, tuple[Callable[[], nn.Module], list[Way]]] = {
    "llama": (lambda: build("llama"), [*GENERAL, *loss(CAUSAL), *POSITIONED, *FLAGGED, *EMBEDDED, *MASKED]),
    "gpt2": (lambda: build("gpt2"), [*GENERAL, *loss(CAUSAL), *POSITIONED, *FLAGGED, *EMBEDDED]),
    "bert": (lambda: build("bert"), [*TEXTS, *of_ids(False), *loss(CLASSES), *POSITIONED, *TYPES, *EMBEDDED]),
    "distilbert": (lambda: build("distilbert"), [*TEXTS, *of_ids(False), *loss(CLASSES)]),
}

if __name__ == "__main__":
    import sys
    import time
    import traceback
    import warnings

    import pelrp_nb

    warnings.simplefilter("ignore")
    begun = time.process_time()
    wrong = 0
    for kind, (make, ways) in KINDS.items():
        if len(sys.argv) > 1 and kind not in sys.argv[1:]:
            continue
        model = make()
        for way in ways:
            try:
                want = way.theirs(model)
            except Exception as error:
                print(f"{kind}: {way.name}: THE MODEL ITSELF FAILS {type(error).__name__}: {error}")
                continue
            try:
                found = pelrp_nb.explain(model, way.given(model), **way.more)
                got = [e.value for e in (found if isinstance(found, list) else [found])]
                ok = len(got) == len(want) and all(abs(a - b) <= 1e-9 * max(1, abs(b)) for a, b in zip(got, want))
                shut = all(e.ledger.closed for e in (found if isinstance(found, list) else [found]))
                sums = all(abs(sum(float(s.semantic.sum()) for s in (e.streams or {"": e}).values()) - e.ledger.tokens) < 1e-8 * max(1, e.ledger.scale) for e in (found if isinstance(found, list) else [found]))
                if not ok or not shut or not sums:
                    wrong += 1
                    print(f"{kind}: {way.name}: WRONG {got} for {want}" if not ok else f"{kind}: {way.name}: ledger closed {shut}, tokens add up {sums}")
            except pelrp_nb.errors.PelrpError as error:
                wrong += 1
                print(f"{kind}: {way.name}: refused: {error}")
            except Exception as error:
                wrong += 1
                print(f"{kind}: {way.name}: RAW {type(error).__name__}: {str(error)[:150]}")
    print(sum(len(w) for _, w in KINDS.values()), "ways,", wrong, "not right,", round(time.process_time() - begun, 1), "s")
