"""Mistakes that people make with inputs: each gets a message that says what must hold, what came, and what to type."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import own_modules as own
import pandas as pd
import pytest
import torch
from models import build
from shapes import words
from test_streams import picture, processor, towers, written
from torch import nn
from ways import IDS, MORE, A, B, talking

from pelrp_nb import Options, explain, zoo
from pelrp_nb.errors import PelrpError

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).double()
NOISE = np.random.default_rng(0).normal(size=(20, 20, 3))
VECTORS = torch.zeros(1, 4, 48).double()
PIXELS = torch.zeros(1, 3, 16, 16).double()
LONG = "w5 " * 100
ONES = torch.ones_like(IDS)


@cache
def model(name: str) -> nn.Module:
    made = towers if name == "clip" else written if name in ("t5", "whisper") else build
    return made(name)


def of(name: str, given: Any, **more: Any) -> Any:
    return explain(model(name), given, **more)


def llama(given: Any, **more: Any) -> Any:
    return of("llama", given, **more)


def said(given: Any, **more: Any) -> Any:
    """The same with its tokenizer."""
    return of("llama", given, processor=words(), **more)


def ids(**given: Any) -> Any:
    return of("llama", {"input_ids": IDS, **given})


def pair(given: Any) -> Any:
    return of("bert", given, processor=words(special=True))


def seen(given: Any) -> Any:
    return of("vit", given, processor=processor().image_processor)


TEXTS = {
    "a generator": (lambda: said(t for t in (A, B)), "in a list, which can be read twice", "a generator", "Type list("),
    "values of a dict": (lambda: said({"a": A}.values()), "in a list", "a dict_values", "Type list("),
    "a set": (lambda: said({A, B}), "in an order", "a set has none", "Type a list"),
    "bytes": (lambda: said(A.encode()), "must be a text", "got bytes", 'Type explain(model, "some text"'),
    "None": (lambda: said(None), "must be a text", "got None, an empty cell", "Drop it"),
    "a number": (lambda: said(3.5), "must be a text", "got float", "Type explain"),
    "True": (lambda: said(True), "must be a text", "got bool", "Type explain"),
    "a single number in a tensor": (lambda: llama(torch.tensor(5)), "must be a text", "got Tensor", "Type explain"),
    "nothing in a list": (lambda: said([]), "at least one", "no input in the list", "Type"),
    "an empty list among texts": (lambda: said([A, []]), "must be a text", "Input 1", "Type one list of texts"),
    "a list of lists of texts": (lambda: said([[A, B]]), "must be a text", "a list of 2 texts", "a tuple of two for a pair"),
    "three texts for a pair": (lambda: pair([(A, B, A)]), "must be a text", "a tuple of 3 texts", "a tuple of two"),
    "an empty cell of a table": (lambda: said(pd.Series([A, float("nan")])), "must be a text", "Input 1: An input", "dropna()"),
    "None among texts": (lambda: said([A, None]), "must be a text", "Input 1: An input", "[t for t in texts if isinstance(t, str)]"),
    "what pandas writes for an empty cell": (lambda: said([A, pd.NA]), "must be a text", "Input 1: An input", "isinstance(t, str)]"),
    "an empty cell of a column of texts": (lambda: said(pd.Series([A, None], dtype="string")), "must be a text", "Input 1", "dropna()"),
    "an empty cell in a pair": (lambda: pair([(A, pd.NA)]), "must be a text", "got <NA>, an empty cell", "Drop it"),
    "half a character": (lambda: said([A, "w5 \ud800"]), "must hold whole characters", "Input 1: A text must hold whole characters; at 3",
                         'Type text.encode("utf-8", "replace")'),
    "half a character in a conversation": (lambda: explain(model("llama"), [{"role": "user", "content": "\ud800"}], processor=talking()),
                                           "itself refuses this conversation", "must be", "drop that row"),
    "a number among texts": (lambda: said([A, 5]), "must be a text", "got int", "Type explain"),
    "a number in an array of objects": (lambda: said(np.array([A, 3], dtype=object)), "Input 1", "got int", "Type explain"),
    "a number in a pair": (lambda: pair((A, 3)), "must be a text", "got int", "Type explain"),
    "a table of other columns": (lambda: said(pd.DataFrame({"review": [A], "stars": [3]})), "must have a column `text`",
                                 "got review, stars", "Type table['review']"),
    "an empty text": (lambda: said(""), "at least one word", "is empty", "Type"),
    "an empty text among others": (lambda: said([A, " "]), "at least one word", "Input 1: The text is empty", "Type"),
    "a text that is too long": (lambda: said(LONG), "at most 64 tokens", "has 100", "Options(truncation=True)"),
    "one text of several that is too long": (lambda: said([A, LONG]), "at most 64", "Input 1", "Options(truncation=True)"),
    "too many ids": (lambda: llama({"input_ids": IDS.repeat(1, 20)}), "at most 64 tokens", "has 120", "Shorten it"),
    "a list as the text": (lambda: pair({"text": [A, B]}), "must be a str", "got list", "[dict(text=t) for t in texts]"),
    "a text that nothing wrote": (lambda: pair({"text": A, "labels": B}), "what a decoder wrote", "BertForSequenceClassification has none",
                                  "Type labels=tensor"),
    "the second text alone": (lambda: pair({"text_pair": A}), "must hold text", "got text_pair", "Type dict(text=..., text_pair=...)"),
    "a rate without sound": (lambda: pair({"text": A, "sampling_rate": 16000}), "must hold audio beside `sampling_rate`",
                             "got text, sampling_rate", "or leave it out"),
    "a second text beside a picture": (lambda: seen({"images": picture(), "text_pair": A}), "must hold text beside `text_pair`",
                                       "got images, text_pair", "or leave it out"),
    "a message without a list": (lambda: explain(model("llama"), {"role": "user", "content": A}, processor=talking()),
                                 "must be a list of messages", "one mapping of role, content", 'Type [dict(role="user"'),
    "a message without a role": (lambda: explain(model("llama"), [{"content": A}], processor=talking()), "messages with role and content",
                                 "one mapping of content", "Type [dict(role"),
    "a message without a content": (lambda: explain(model("llama"), [{"role": "user"}], processor=talking()),
                                    "must have a role and a content", "got role", "Type dict(role"),
    "messages without a template": (lambda: said([{"role": "user", "content": A}]), "chat template", "TokenizersBackend has no", "Pass"),
}  # fmt: skip
PROCESSORS = {
    "no tokenizer": (lambda: llama(A), "needs the tokenizer", "LlamaForCausalLM", "Type processor=AutoTokenizer"),
    "no tokenizer for several": (lambda: llama([A, B]), "A text needs the tokenizer", "LlamaForCausalLM", "Type processor="),
    "the name of a tokenizer": (lambda: llama(A, processor="bert-base"), "must be a tokenizer", "got str", "Type processor=tokenizer"),
    "the class of a tokenizer": (lambda: llama(A, processor=type(words())), "must be a tokenizer", "the class TokenizersBackend itself",
                                 "Type processor=tokenizer"),
    "an image processor for text": (lambda: llama(A, processor=processor().image_processor), "needs a model that takes pixel_values",
                                    "LlamaForCausalLM takes input_ids", 'Type explain(model, "some text"'),
    "a tokenizer for pictures": (lambda: of("vit", A, processor=words()), "takes input_ids", "takes pixel_values",
                                 "Type explain(model, dict(pixel_values"),
    "a text for pictures": (lambda: of("vit", "a dog"), "needs a model that takes input_ids", "ViTForImageClassification takes",
                            "dict(pixel_values=...)"),
    "a text as the path of a picture": (lambda: seen("a dog"), "must be a picture at a dog", "there is none", "Type its path"),
    "a tokenizer of other words": (lambda: said({"input_ids": IDS + 90}), "between 0 and 95", "got 154", "type processor="),
    "a picture without its processor": (lambda: of("vit", picture()), "needs the image processor", "ViTForImageClassification",
                                        "Type processor=AutoImageProcessor"),
    "a picture for a language model": (lambda: said(picture()), "needs a model that takes pixel_values", "takes input_ids", "Type explain"),
    "the path of a picture for a language model": (lambda: said(Path("a.png")), "takes pixel_values", "takes input_ids", "Type explain"),
    "sound for a language model": (lambda: llama(NOISE[0, :, 0]), "takes input_features or", "takes input_ids", "Type explain"),
    "sound without its extractor": (lambda: of("whisper", NOISE[0, :, 0]), "needs the feature extractor",
                                    "WhisperForConditionalGeneration", "Type processor=AutoProcessor"),
    "what a decoder wrote, without a tokenizer": (lambda: of("t5", {"input_ids": IDS, "labels": "w5"}), "needs the tokenizer",
                                                  "T5ForConditionalGeneration", "Type processor="),
}  # fmt: skip
MAPPINGS = {
    "an empty mapping": (lambda: llama({}), "must hold one of input_ids", "got nothing", "Type dict(input_ids=ids)"),
    "a mask alone": (lambda: llama({"attention_mask": ONES}), "must hold one of", "got attention_mask (Tensor)", "Type dict(input_ids"),
    "a misspelt input": (lambda: llama({"input_id": IDS}), "takes no `input_id`", "Did you mean `input_ids`", "pass some of input_ids"),
    "a misspelt mask": (lambda: ids(atention_mask=ONES), "takes no `atention_mask`", "Did you mean `attention_mask`", "Leave it out"),
    "a misspelt flag": (lambda: ids(output_hidden_state=True), "takes no", "mean `output_hidden_states`", "Leave it out"),
    "a misspelt text": (lambda: said({"txt": A}), "takes no `txt`", "Did you mean `text`?", "Leave it out"),
    "an argument of generate": (lambda: ids(temperature=0.7), "takes no `temperature`.", "LlamaForCausalLM", "Leave it out"),
    "a text and its ids": (lambda: said({"text": A, "input_ids": IDS}), "given once", "`text` and `input_ids`", "Leave one"),
    "ids and vectors": (lambda: ids(inputs_embeds=VECTORS), "exactly one of input_ids or", "refuses this input", "Type model("),
    "a cache": (lambda: ids(past_key_values=object()), "hides the tokens", "cached prefix (past_key_values)", "Pass the whole input_ids"),
    "tokens for ids": (lambda: said({"input_ids": ["w5", "w6"]}), "whole numbers", "tokens as texts", "Type tokenizer.convert"),
    "floats for ids": (lambda: llama({"input_ids": IDS.float()}), "whole numbers", "got torch.float32", "Type input_ids=ids.long()"),
    "booleans for ids": (lambda: llama({"input_ids": IDS.bool()}), "whole numbers", "got torch.bool", "Type input_ids=ids.long()"),
    "negative ids": (lambda: llama({"input_ids": IDS - 50}), "between 0 and 95", "got -45", "type processor="),
    "no ids": (lambda: llama({"input_ids": IDS[:, :0]}), "must not be empty", "got (1, 0)", "Pass at least one"),
    "no ids in a list": (lambda: llama({"input_ids": []}), "must not be empty", "got []", "Pass at least one"),
    "no ids in one row of several": (lambda: llama({"input_ids": [[5, 6], []]}), "must not be empty", "Input 1", "Pass at least one"),
    "ids that no 64 bits hold": (lambda: llama({"input_ids": [[5, 2**70]]}), "64 bits", f"got {2**70}", "Drop that row"),
    "ids of a kind that torch hardly knows": (lambda: llama({"input_ids": IDS.numpy().astype("uint16")}), "whole numbers of torch.int64",
                                              "got torch.uint16", "Type input_ids=ids.long()"),
    "tokens in a list of lists": (lambda: llama({"input_ids": [["w5", "w6"]]}), "must be whole numbers", "got tokens as texts",
                                  "convert_tokens_to_ids"),
    "a nested tensor": (lambda: llama({"input_ids": torch.nested.nested_tensor([IDS[0], IDS[0, :3]], layout=torch.jagged)}),
                        "rows of one length", "a nested one", "input_ids.unbind()]"),
    "two rows of a mask for one of ids": (lambda: llama({"input_ids": IDS, "attention_mask": ONES.repeat(2, 1)}), "must have 1 rows",
                                          "got (2, 6)", "Pass one row of it"),
    "a column twice": (lambda: said(pd.DataFrame([[A, B]], columns=["text", "text"])), "each column once", "'text' is there several times",
                       "columns.duplicated()"),
    "a number for a name": (lambda: said([{1: 2}, A]), "must hold arguments by name", "got 1 as a name", "Type dict(input_ids=...)"),
    "ids of three axes": (lambda: llama({"input_ids": IDS[None]}), "rows of token ids (B, T)", "got (1, 1, 6)", "Type input_ids.flatten"),
    "a single id": (lambda: llama({"input_ids": torch.tensor(5)}), "must be a batch", "got ()", "Type input_ids[None]"),
    "a mask of another length": (lambda: ids(attention_mask=ONES[:, :4]), "must have 6 places", "got (1, 4)", "Type torch.ones_like"),
    "a mask of more rows": (lambda: llama({"input_ids": MORE, "attention_mask": ONES.expand(3, -1)}), "must have 2 rows", "got (3, 6)",
                            "Pass one row"),
    "positions of more rows": (lambda: llama({"input_ids": MORE, "position_ids": ONES.expand(3, -1)}), "must have 2 rows", "got (3, 6)",
                               "Pass one row"),
    "a mask that hides everything": (lambda: ids(attention_mask=0 * ONES), "must have a token left", "in row 0", "Drop that row"),
    "a mask that hides all of one row": (lambda: llama({"input_ids": MORE, "attention_mask": torch.stack([ONES[0], 0 * ONES[0]])}),
                                         "must have a token left", "Input 1", "Drop that row"),
    "a mask in uneven lists": (lambda: ids(attention_mask=[[1, 1], [1]]), "rows of one length", "lists that differ", "Pad them"),
    "fewer rows of masks than of ids": (lambda: llama({"input_ids": [[5, 6], [7, 8, 9]], "attention_mask": [[1, 1]]}), "must have 2 rows",
                                        "got 1", "Pass one row"),
    "another device": (lambda: llama({"input_ids": IDS.to("meta")}), "must be on cpu", "it is on meta", "Type input_ids.to(model.device)"),
    "NaN in vectors": (lambda: llama({"inputs_embeds": VECTORS * torch.nan}), "must be finite", "holds NaN", "Type torch.nan_to_num"),
    "vectors of another width": (lambda: llama({"inputs_embeds": VECTORS[..., :40]}), "tensor a (48)", "tensor b (40)", "Type model("),
    "NaN in pixels": (lambda: of("vit", {"pixel_values": PIXELS * torch.nan}), "must be finite", "holds NaN", "drop that row"),
    "pixels of another size": (lambda: of("vit", {"pixel_values": torch.zeros(1, 3, 20, 20).double()}), "doesn't match model (16*16)",
                               "size (20*20)", "Type model("),
    "positions beyond the last": (lambda: of("gpt2", {"input_ids": IDS, "position_ids": IDS + 100}), "index out of range",
                                  "refuses this input (input_ids, position_ids)", "Type model("),
    "types beyond the last": (lambda: of("bert", {"input_ids": IDS, "token_type_ids": 7 * ONES}), "index out of range",
                              "(input_ids, token_type_ids)", "Type model("),
    "labels beyond the last": (lambda: of("bert", {"input_ids": IDS, "labels": torch.tensor([7])}), "out of bounds", "Target 7",
                               "Type model("),
    "a picture of five channels": (lambda: seen(np.zeros((20, 20, 5))), "must be (height, width)", "got (20, 20, 5)", "(3, height, width)"),
    "a picture beyond white": (lambda: seen(NOISE * 300), "from 0 to 255", "got -", "dict(pixel_values=x)"),
    "a picture of complex numbers": (lambda: seen(NOISE.astype(complex)), "must hold real numbers", "got complex128", "Type np.asarray"),
    "a broken path among pictures": (lambda: seen([picture(), "a\0.png"]), "must be a picture", "Input 1: a", "Pass a file"),
    "a path among pictures": (lambda: seen([picture(), "none.png"]), "must be a picture at none.png", "Input 1", "Type its path"),
    "texts and pictures in one list": (lambda: explain(model("clip"), [picture(), A], processor=processor()), "of one kind",
                                       "input 1 is a text and input 0 a picture", "Type dict(text=..., images=...)"),
    "a text without its picture": (lambda: explain(model("clip"), A, processor=processor()), "It also takes pixel_values",
                                   "refuses this input (input_ids, attention_mask)", "Type model("),
    "a picture without its text": (lambda: explain(model("clip"), picture(), processor=processor()), "It also takes input_ids",
                                   "refuses this input (pixel_values)", "Type model("),
    "more pictures than texts": (lambda: of("clip", {"input_ids": MORE, "pixel_values": PIXELS.expand(3, -1, -1, -1)}), "must have 2 rows",
                                 "got (3, 3, 16, 16)", "Pass one row"),
}  # fmt: skip
MODULES = {
    "a text for a module": (lambda: explain(own.Base(), "hello"), "needs a tokenizer", "Base takes x", "explain(model, dict(x=...))"),
    "a text for a module of numbers": (lambda: explain(own.Base(), A, processor=words()), "must have the same dtype", "Long and Double",
                                       "Type model(x=...)"),
    "features of another width": (lambda: explain(own.Base(), torch.zeros(1, 5, 7).double()), "cannot be multiplied", "(5x7 and 4x6)",
                                  "Type model("),
    "features of another precision": (lambda: explain(own.Base(), X.float()), "have the same dtype", "Float and Double", "Type model("),
    "whole numbers for features": (lambda: explain(own.Base(), X.long()), "must have the same dtype", "Long and Double", "Type model("),
    "an input left out": (lambda: explain(own.Two(), X), "must have left, right", "right is missing", "Type explain(model, dict(left="),
    "a misspelt input of a module": (lambda: explain(own.Two(), {"left": X, "rigth": X}), "takes no `rigth`", "Did you mean `right`",
                                     "pass some of left, right"),
    "two batches of unequal size": (lambda: explain(own.Two(), {"left": X, "right": X[:2]}), "must have 3 rows, like `left`", "got 2",
                                    "Pass one row"),
    "a single number for a module": (lambda: explain(own.Flat(), torch.tensor(5)), "must have an axis", "a single number, 5",
                                     "Type input_ids[None]"),
    "an id that a module has not": (lambda: explain(own.Flat(), torch.tensor([5, 500])), "index out of range", "Flat itself refuses",
                                    "Type model("),
    "a list of uneven tensors for a module": (lambda: explain(own.Inputs(), {"inputs": [IDS[0], IDS[0, :3]]}), "must be in one tensor",
                                              "`inputs` is a list of tensors", "for x in rows]"),
    "rows of which one holds several": (lambda: explain(own.Inputs(), {"inputs": [[5, 6], [7, 8, 9]], "input_ids": IDS.reshape(3, 2)}),
                                        "must be one input", "got 3 in it", "Pass one mapping for each"),
    "rows inside a row": (lambda: llama({"input_ids": [[[5, 6], [7, 8]], [7, 8, 9]]}), "rows of token ids (B, T)", "Input 0", "flatten"),
    "labels of more rows": (lambda: of("bert", {"input_ids": [[5, 6], [7, 8, 9]], "labels": torch.tensor([0, 1, 0])}), "must have 2 rows",
                            "got 3", "Pass one row"),
    "an input inside a list": (lambda: explain(own.Contained(), {"x": [{"a": X}], "more": {"scale": 1.0, "shift": [0]}}),
                               "must be an argument of its own", "holds tensors inside a list", "Wrap the model"),
    "a module that adds its rows up": (lambda: explain(own.Total(), X, target=lambda out: out), "none for each", "has 3 rows",
                                       "explain(model, x[:1])"),
    "a module of two outputs": (lambda: explain(own.Base(own.PACKS["a tuple of two"][0]), X[:1]), "say what to explain",
                                "holds output[0] (1, 5, 6), output[1] (1, 3)", "Type target=lambda output: output[0]"),
    "a module that returns nothing": (lambda: explain(own.Base(lambda h, y: None), X[:1]), "tensor of numbers", "(NoneType) holds no",
                                      "forward returns one"),
    "a module that returns a float": (lambda: explain(own.Base(lambda h, y: 3.0), X[:1]), "tensor of numbers", "(float) holds no",
                                      "forward returns one"),
    "NaN in features": (lambda: explain(own.Base(), X * torch.nan), "must be finite", "NaN", "Type torch.nan_to_num(x)"),
    "no places": (lambda: explain(own.Base(), X[:, :0]), "must not be empty", "got (3, 0, 4)", "Pass at least one"),
    "a sparse tensor": (lambda: explain(own.Base(), X[0].to_sparse()), "must be a dense tensor", "torch.sparse_coo", "Type x.to_dense()"),
    "uneven lists": (lambda: explain(own.Base(), [[1.0, 2.0], [3.0]]), "rows of one length", "lists that differ", "Pad them"),
    "complex numbers": (lambda: explain(own.Base(), X.to(torch.complex128)), "must have the same dtype", "ComplexDouble", "Type model("),
    "the class of a model": (lambda: explain(own.Base, X), "must be a torch.nn.Module", "got type", "Type from_pretrained"),
    "the name of a model": (lambda: explain("gpt2", A), "must be a torch.nn.Module", "got str", "Type from_pretrained"),
    "weights of a model": (lambda: explain(own.Base().state_dict(), X), "must be a torch.nn.Module", "got OrderedDict", "from_pretrained"),
    "the model in the second place": (lambda: explain(A, own.Base()), "The model comes first", "Base came second", "Type explain(model"),
    "another way to meet errors": (lambda: Options(on_error="ignore"), '"raise" or "skip"', "got 'ignore'", 'Options(on_error="skip")'),
    "a length for truncation": (lambda: Options(truncation=512), "True or False", "got 512", "Type Options(truncation=True)"),
}  # fmt: skip
ALL = {**TEXTS, **PROCESSORS, **MAPPINGS, **MODULES}


@pytest.mark.parametrize("mistake", ALL)
def test_a_mistake_is_told_what_must_hold_what_came_and_what_to_type(mistake):
    call, holds, came, typed = ALL[mistake]
    with pytest.raises(PelrpError) as raised:
        call()
    message = str(raised.value)
    assert [words for words in (holds, came, typed) if words not in message] == [], message


def test_there_are_enough_of_them():
    assert len(ALL) >= 100 and len({id(call) for call, *_ in ALL.values()}) == len(ALL)


@pytest.mark.parametrize("size", [(1, 1), (3, 3, 3), (1, 20, 3), (4, 5, 1)])
def test_a_picture_of_few_rows_has_its_colours_last(size):
    """Three rows are no three colours: an even grey is the same in every size."""
    grey = np.full(size, 0.25)
    assert seen(grey).value == pytest.approx(seen(np.full((16, 16, 3), 0.25)).value, rel=1e-6)


def test_a_picture_in_half_precision_is_that_in_single():
    x = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert seen(x).value == seen(x.float()).value


def test_what_a_processor_raises_is_skipped_with_its_row(monkeypatch):
    worker = processor().image_processor

    def refuse(self, images, **more):
        raise ZeroDivisionError("no such picture")

    monkeypatch.setattr(type(worker), "__call__", refuse)
    found = explain(model("vit"), [picture(), picture()], processor=worker, options=Options(on_error="skip"))
    assert [one.index for one in found] == [0, 1] and "itself refuses this picture: no such picture" in found[1].why


def test_a_tokenizer_of_more_words_than_the_model_has_is_noted():
    tokenizer = words()
    tokenizer.add_tokens([f"extra{i}" for i in range(5)])
    assert any("the tokenizer knows 101 tokens and the model 96" in note for note in llama(A, processor=tokenizer).notes)
    assert not said(A).notes


def test_what_a_module_hands_on_and_what_a_mask_hides_are_noted():
    assert any("`scale` is handed on" in note for note in explain(own.Open(), {"x": X[:1], "scale": 2.0}).notes)
    hidden = ONES.clone()
    hidden[0, 4:] = 0
    assert any("hides tokens that are no padding, at 4, 5" in note for note in ids(attention_mask=hidden).notes)
    more = {"scale": torch.tensor(2.0), "shift": [0.5]}
    assert any("`more` holds tensors inside a dict" in note for note in explain(own.Contained(), {"x": X[:1], "more": more}).notes)


def test_a_tokenizer_of_another_vocabulary_is_noted():
    (model, its_own), (_, another) = zoo.load("reviews-rotary"), zoo.load("tasks-rotary")
    assert not explain(model, "cat dog", processor=its_own).notes
    assert any("it may be another model's" in note for note in explain(model, "cat dog", processor=another).notes)
