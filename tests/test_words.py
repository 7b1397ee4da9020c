"""Words of token ids of which no text is known."""

from __future__ import annotations

import pytest
import torch
from models import build

from pelrp_nb import explain, target
from pelrp_nb.views import reading


def spelt(way, pieces):
    """A tokenizer of these pieces that writes them one after another, or with a space between any two."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(
        models.WordLevel(
            {piece: i for i, piece in enumerate(("[UNK]", *pieces, *(f"w{n}" for n in range(95 - len(pieces)))))}, unk_token="[UNK]"
        )
    )
    if way == "byte-level":
        inner.decoder = decoders.ByteLevel()
    if way == "sentencepiece":
        inner.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.mark.parametrize(
    ("way", "pieces", "words", "told"),
    [
        ("words", ("one", "two", "\u2581three", "four"), ["one", "two", "three", "four"], "one two three four"),
        ("words", ("one", "##s", "\u0120two", "four"), ["ones", "two", "four"], "ones two four"),
        ("byte-level", ("gor", "geous", "\u0120film", "s"), ["gorgeous", "films"], "gorgeous films"),
        ("byte-level", ("gor", "geous"), ["gorgeous"], "gorgeous"),
        ("sentencepiece", ("\u2581gor", "geous", "\u2581film"), ["gorgeous", "film"], "gorgeous film"),
        ("words", ("film</w>", "gor", "geous</w>", ".</w>"), ["film", "gorgeous", "."], "film gorgeous."),
    ],
)
def test_of_ids_alone_the_tokenizer_tells_whether_a_token_without_a_mark_begins_a_word(way, pieces, words, told):
    ids = torch.tensor([range(1, len(pieces) + 1)])
    e = explain(build("llama"), {"input_ids": ids}, processor=spelt(way, pieces))
    assert [w.text for w in e.words()] == words
    assert "".join(w["before"] + w["own"] for w in reading.words(e.plain())) == told
    longer = explain(build("llama"), {"input_ids": ids}, processor=spelt(way, pieces), target=target.generated(1))[0]
    assert [w.text for w in longer.words()] == words
