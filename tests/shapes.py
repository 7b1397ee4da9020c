"""Small tokenizers and processors for random models, batches of rows, and what two explanations must share."""

from __future__ import annotations

import torch
from tolerance import assert_same, rounding
from torch import Tensor

from pelrp_nb import Explanation

VOCABULARY = 96


def words(side: str = "right", pad: bool = True, special: bool = False):
    """A tokenizer of whole words w5 ... w95, fast, with offsets; `special`: [CLS] and [SEP] around each text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *(f"w{i}" for i in range(5, VOCABULARY))]
    inner = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        ends = [("[CLS]", 1), ("[SEP]", 2)]
        inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    more: dict = {"pad_token": "[PAD]"} if pad else {}
    if special:
        more["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", eos_token="[SEP]",
        bos_token="[CLS]", padding_side=side, **more,
    )  # fmt: skip


def drawn(lengths=(4, 9, 6), seed: int = 1) -> list[Tensor]:
    """Rows of random ids."""
    rng = torch.Generator().manual_seed(seed)
    return [torch.randint(5, VOCABULARY, (n,), generator=rng) for n in lengths]


def text_of(ids: Tensor) -> str:
    """The text of ids."""
    return " ".join(f"w{i}" for i in ids.tolist())


def together(rows: list[Tensor], side: str = "right") -> dict[str, Tensor]:
    """Rows as one padded batch of tensors."""
    T = max(map(len, rows))
    ids, mask = (torch.zeros(len(rows), T, dtype=torch.long) for _ in range(2))
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(T - len(row), T)
        ids[i, place], mask[i, place] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


def apart(a: Tensor, b: Tensor, largest: float = 0.0) -> float:
    """The largest difference, as a part of the largest value, here or elsewhere."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).abs().max() / b.abs().max().clamp(min=max(largest, 1e-12))) if b.numel() else 0.0


def same_answer(ours: Explanation, theirs: Explanation, dtype: torch.dtype = torch.float32) -> None:
    """Every number of two explanations: tokens, sinks, reductions, boundaries, the whole ledger; AssertionError if not.

    They may be apart by what rounding in `dtype` makes of the sizes of all that flowed where most did.
    """
    assert (ours.tokens, ours.special, ours.sinks, ours.target) == (theirs.tokens, theirs.special, theirs.sinks, theirs.target)
    assert [b.name for b in ours.boundaries] == [b.name for b in theirs.boundaries]
    assert ours.reductions.keys() == theirs.reductions.keys()
    size = max([theirs.ledger.scale, abs(theirs.value), *(float(b.relevance.abs().sum()) for b in theirs.boundaries)])
    assert abs(ours.value - theirs.value) <= rounding(size, dtype)
    pairs = [(ours.semantic, theirs.semantic), (ours.positional, theirs.positional)]
    pairs += [(a.relevance, b.relevance) for a, b in zip(ours.boundaries, theirs.boundaries, strict=True)]
    for mine, other in pairs:
        assert_same(mine, other, size, dtype)
    for name, reduced in theirs.reductions.items():
        assert_same(ours.reductions[name], reduced, max(size, float(reduced.abs().sum())), dtype)
    a, b = ours.ledger, theirs.ledger
    assert a.closed and b.closed and a.layers.keys() == b.layers.keys()
    books = [(dict(a.rows()), dict(b.rows())), (a.constants, b.constants), (a.softmax, b.softmax), (a.layers, b.layers)]
    for mine, other in books:
        assert all(abs(mine.get(k, 0.0) - other.get(k, 0.0)) <= rounding(size, dtype) for k in {*mine, *other})
    assert ours.streams.keys() == theirs.streams.keys()
    for name, stream in theirs.streams.items():
        same_answer(ours.streams[name], stream, dtype)
