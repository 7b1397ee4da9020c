"""A model whose every answer can be worked out by hand, and cases of it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from pelrp_nb.faithfulness import Attribution, Case, Configuration, Subject

WORTH = (0.0, 3.0, -2.0, 1.0, 0.5, -1.0, 2.0)  # of each token; token 0 stands for a removed one
PLACES = tuple(1.0 + 0.25 * i for i in range(16))  # weight of each position in the ordered model


class Bag(nn.Module):
    """Logits 0 and the sum of its tokens' worth; `ordered` weighs each token by its position."""

    def __init__(self, ordered: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.tensor(WORTH, dtype=torch.float64)[:, None], freeze=False)
        self.place = nn.Embedding.from_pretrained(torch.tensor(PLACES, dtype=torch.float64)[:, None], freeze=True)
        self.ordered, self.calls = ordered, 0
        self.config = SimpleNamespace(vocab_size=len(WORTH))

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None):
        self.calls += 1
        x = self.table(input_ids)[..., 0]
        if self.ordered:
            at = torch.arange(x.shape[1]).expand(len(x), -1) if position_ids is None else position_ids
            x = x * self.place(at)[..., 0]
        total = x.sum(-1)
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(total), total], -1))


def subject(ordered: bool = False, **settings) -> Subject:
    """The hand-made model, asked with these settings."""
    return Subject(Bag(ordered), SimpleNamespace(unk_token_id=0), Configuration(**settings))


def case(asked: Subject, ids: list[int], truth: tuple[int, ...] | None = None, seed: int = 0) -> Case:
    """These tokens, the second logit explained; no special tokens."""
    row = {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), dtype=torch.long)}
    answer = asked.answers([row])[0]
    return Case(row, tuple(map(str, ids)), (False,) * len(ids), 1, answer, seed, "", 0, truth=truth)


def judged(protocol, asked: Subject, found: Case, R, position=None) -> dict:
    """What a protocol says of a relevance, each row asked one by one."""
    as_tensor = lambda x: None if x is None else torch.tensor(x, dtype=torch.float64)
    generator = protocol(asked, found, Attribution(as_tensor(R), as_tensor(position)))
    rows = next(generator)
    try:
        generator.send([asked.answers([row])[0] for row in rows])
    except StopIteration as end:
        return end.value
    raise AssertionError("the protocol did not end")
