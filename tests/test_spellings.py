"""Two programs of the same function have one explanation, and it is the right one: see `spellings/`."""

from __future__ import annotations

import pytest
import torch
from spellings import GROUPS
from spellings.base import Group, Spelling
from spellings.compare import verdict

ALL = [(group, spelling) for group in GROUPS.values() for spelling in group.spellings]
NAMES = [f"{group.family}-{group.name}-{spelling.name}".replace(" ", "_") for group, spelling in ALL]


def out_of(spelling: Spelling) -> torch.Tensor:
    out = spelling.call(spelling.build(), *spelling.inputs)
    return spelling.pick(out if spelling.row is None else out[spelling.row][None]).detach()


@pytest.mark.parametrize(("group", "spelling"), ALL, ids=NAMES)
def test_it_is_the_same_function(group: Group, spelling: Spelling):
    torch.testing.assert_close(out_of(spelling), out_of(group.spellings[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("group", "spelling"), ALL, ids=NAMES)
def test_it_is_explained_like_its_twins(group: Group, spelling: Spelling):
    _, wrong = verdict(group, spelling)
    assert not wrong, "\n".join(wrong)


def test_there_are_many():
    twins = sum(len(group.spellings) - 1 for group in GROUPS.values())
    assert twins >= 120 and len({group.family for group in GROUPS.values()}) >= 9
