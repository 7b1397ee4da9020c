"""What each head brings, however its attention is spelt: heads and places are told apart by what the product does with their axes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, einsum, nn

from pelrp_nb import CP_LRP, DELTA_LRP, PA_LRP, Options, explain
from pelrp_nb.composites import Composite

H, WIDTH = 2, 8


def matmuls(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2)


def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), scale=1.0).transpose(1, 2)


def batched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    return torch.bmm(torch.bmm(q, k.mT).softmax(-1), v).unflatten(0, (-1, H)).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """(B, T, H, d) to (H B, T, d)."""
    return x.permute(2, 0, 1, 3).flatten(0, 1)


SPELLINGS = {  # queries, keys and values (B, T, H, d) to (B, T, H, d)
    "a kernel": kernel,
    "batches of heads": batched,
    "heads before places": lambda q, k, v: einsum("bhts,bshd->bthd", einsum("bthd,bshd->bhts", q, k).softmax(-1), v),
    "heads between places": lambda q, k, v: einsum("bths,bshd->bthd", einsum("bthd,bshd->bths", q, k).softmax(-1), v),
    "heads last": lambda q, k, v: einsum("btsh,bshd->bthd", einsum("bthd,bshd->btsh", q, k).softmax(2), v),
    "heads first": lambda q, k, v: einsum("hbts,bshd->bthd", einsum("bthd,bshd->hbts", q, k).softmax(-1), v),
    "keys before queries": lambda q, k, v: einsum("bhst,bshd->bthd", einsum("bthd,bshd->bhst", q, k).softmax(2), v),
    "rows after heads in a kernel": lambda q, k, v: nn.functional.scaled_dot_product_attention(
        *(x.permute(2, 0, 1, 3) for x in (q, k, v)), scale=1.0
    ).permute(1, 2, 0, 3),
    "heads before rows in batches": lambda q, k, v: (
        torch.bmm(torch.bmm(merged(q), merged(k).mT).softmax(-1), merged(v)).unflatten(0, (H, -1)).permute(1, 2, 0, 3)
    ),
    "values first": lambda q, k, v: einsum("bshd,bhts->bthd", v, einsum("bthd,bshd->bhts", q, k).softmax(-1)),
    "features before places": lambda q, k, v: einsum("bhts,bshd->bhdt", einsum("bthd,bshd->bhts", q, k).softmax(-1), v).permute(0, 3, 1, 2),
}


class Reads(nn.Module):
    """Tokens with learned positions through one attention."""

    def __init__(self, attend, places: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.places, self.attend = nn.Embedding(20, WIDTH), nn.Parameter(torch.randn(places, WIDTH)), attend
        self.projections, self.out, self.head = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.double().eval()

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.table(input_ids) + self.places
        q, k, v = (part.unflatten(-1, (H, -1)) for part in self.projections(x).chunk(3, -1))
        return self.head(self.out(self.attend(q, k, v).flatten(2)).mean(1))


@pytest.mark.parametrize("composite", [PA_LRP, CP_LRP], ids=["pa-lrp", "cp-lrp"])
@pytest.mark.parametrize("places", [5, H], ids=["five places", "as many places as heads"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_a_head_brings_does_not_depend_on_its_spelling(spelling: str, places: int, composite: Composite):
    def heads(attend):
        rows = [torch.arange(1, places + 1), torch.arange(3, places + 3)]
        found = explain(
            Reads(attend, places), {"input_ids": torch.stack(rows)}, target=1, composite=composite, options=Options(detail={"heads"})
        )
        return torch.stack([e.heads.values for e in found])

    ours, theirs = heads(SPELLINGS[spelling]), heads(matmuls)
    assert ours.shape == (2, 1, H, places)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("composite", [PA_LRP, CP_LRP, DELTA_LRP], ids=["pa-lrp", "cp-lrp", "delta-lrp"])
@pytest.mark.parametrize("places", [5, H], ids=["five places", "as many places as heads"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_a_head_hands_on_does_not_depend_on_its_spelling(spelling: str, places: int, composite: Composite):
    """Whatever the order of batch, heads and places: no row of the batch takes what is another's."""

    def routes(attend):
        rows = [torch.arange(first, first + places) for first in (1, 3, 8)]
        options = Options(detail={"routes"})
        found = explain(Reads(attend, places), {"input_ids": torch.stack(rows)}, target=1, composite=composite, options=options)
        return [one for e in found for one in e.routes.found.values()]

    ours, theirs = routes(SPELLINGS[spelling]), routes(matmuls)
    assert len(ours) == len(theirs) == 3
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys() and mine["values"].shape == (H, places, places)
        for part in (name for name, x in other.items() if isinstance(x, Tensor)):
            torch.testing.assert_close(mine[part], other[part], rtol=1e-9, atol=1e-12)
