"""Vectors times a table of places that is not the same for all features: powers, some features alone, groups, two tables."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import entering
from .base import LONGEST, PLACES, WIDTH, Group, drawn
from .byhand import by_hand, half
from .products import FACTORS

T, D = torch.arange(LONGEST).double()[:, None], torch.linspace(0.8, 0.99, WIDTH).double()
SOME = WIDTH // 4
MARK = torch.cat([1 + drawn("some", LONGEST, SOME, scale=0.3), torch.ones(LONGEST, WIDTH - SOME, dtype=torch.float64)], -1)


def of(table: Tensor):
    return lambda: by_hand(enter=lambda leaves, x: half(x * leaves.leaf(table[:PLACES], 0)))


powers = Group("factors", "a power for each feature", ("modulation",), build=entering, truth=of(D**T))
few = Group("factors", "some features alone", ("modulation",), build=entering, truth=of(MARK))
groups = Group("factors", "a number for each group of features", ("modulation",), build=entering,
               truth=of((D[::4] ** T).repeat_interleave(4, -1)))  # fmt: skip


@powers
class PowersInABuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", D**T)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.f[: ids.shape[1]]


@powers
def an_exponential_of_a_product():
    return lambda x, ids: x * torch.exp(torch.outer(torch.arange(ids.shape[1]).double(), D.log()))


@powers
def a_running_product():
    return lambda x, ids: x * torch.cat([torch.ones(1, WIDTH).to(x), D.expand(ids.shape[1] - 1, WIDTH)]).cumprod(0)


@powers
def feature_by_feature():
    return lambda x, ids: torch.stack([x[..., d] * D[d] ** T[: ids.shape[1], 0] for d in range(WIDTH)], -1)


@powers
def channels_first():
    return lambda x, ids: (x.mT * (D**T)[: ids.shape[1]].mT).mT


@powers
def diagonal_matrices():
    return lambda x, ids: torch.einsum("btd,tde->bte", x, torch.diag_embed((D**T)[: ids.shape[1]]))


@powers
def an_einsum():
    return lambda x, ids: torch.einsum("btd,td->btd", x, (D**T)[: ids.shape[1]])


@powers
def a_table_of_a_table():
    """The product of a number of the place and a vector of features, made before it meets the tokens."""
    return lambda x, ids: x * reduce(torch.mul, [(D[d] ** T[: ids.shape[1]]).expand(-1, WIDTH) ** (torch.arange(WIDTH) == d)
                                                 for d in range(WIDTH)])  # fmt: skip


@few
class SomeInABuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", MARK)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.f[: ids.shape[1]]


@few
def a_table_filled_with_ones():
    return lambda x, ids: x * F.pad(MARK[: ids.shape[1], :SOME], (0, WIDTH - SOME), value=1.0)


@few
def a_table_written_into_ones():
    def enter(x: Tensor, ids: Tensor) -> Tensor:
        f = torch.ones_like(x)
        f[..., :SOME] = MARK[: ids.shape[1], :SOME]
        return x * f

    return enter


@few
def place_by_place():
    return lambda x, ids: torch.stack([x[:, t] * MARK[t] for t in range(ids.shape[1])], 1)


@few
def looked_up():
    table = nn.Embedding.from_pretrained(MARK.clone())
    return lambda x, ids: table(torch.arange(ids.shape[1])) * x


@groups
def repeated():
    return lambda x, ids: x * (D[::4] ** T[: ids.shape[1]]).repeat_interleave(4, -1)


@groups
def an_axis_of_groups():
    return lambda x, ids: (x.unflatten(-1, (-1, 4)) * (D[::4] ** T[: ids.shape[1]])[..., None]).flatten(-2)


@groups
def groups_first():
    return lambda x, ids: (
        (x.unflatten(-1, (-1, 4)).permute(2, 0, 1, 3) * (D[::4] ** T[: ids.shape[1]]).T[:, None, :, None]).permute(1, 2, 0, 3).flatten(-2)
    )


@groups
def einsum_of_groups():
    return lambda x, ids: torch.einsum("btgc,tg->btgc", x.unflatten(-1, (-1, 4)), D[::4] ** T[: ids.shape[1]]).flatten(-2)


@groups
def group_by_group():
    return lambda x, ids: torch.cat([part * D[4 * g] ** T[: ids.shape[1]] for g, part in enumerate(x.split(4, -1))], -1)


# --- two tables, one after the other -----------------------------------------------------------------------------------

both = Group("factors", "two tables", ("modulation",), build=entering, truth=lambda: by_hand(
    enter=lambda leaves, x: half(half(x * leaves.leaf((D**T)[:PLACES], 0)) * leaves.leaf(FACTORS[:PLACES], 0))
))  # fmt: skip


@both
def two_products():
    return lambda x, ids: x * (D**T)[: ids.shape[1]] * FACTORS[: ids.shape[1]]


@both
def one_einsum():
    return lambda x, ids: torch.einsum("btd,td,td->btd", x, (D**T)[: ids.shape[1]], FACTORS[: ids.shape[1]])


@both
def one_einsum_with_dots():
    return lambda x, ids: torch.einsum("td,...td,td->...td", (D**T)[: ids.shape[1]], x, FACTORS[: ids.shape[1]])


@both
def diagonal_matrices_in_a_row():
    def enter(x: Tensor, ids: Tensor) -> Tensor:
        one, two = (torch.diag_embed(table[: ids.shape[1]]) for table in (D**T, FACTORS))
        return torch.einsum("btd,tde,tef->btf", x, one, two)

    return enter
