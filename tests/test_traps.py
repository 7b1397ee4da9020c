"""Where places are truly lost, a result says so; rows of other lengths stay apart; what is cut from the stream is said once."""

from __future__ import annotations

import argparse
import html
import re
import io
import math

import pytest
import torch
from models import build, inputs
from rich.console import Console
from spellings import GROUPS
from spellings.base import HEAD, IDS, PLACES, Body
from spellings.layouts import Tabled
from torch import Tensor, nn
from torch.nn import functional as F

from pelrp_nb import ATTN_LRP, PA_LRP, Options, explain, plan, propagate
from pelrp_nb.__main__ import _print
from pelrp_nb.views import terminal
from pelrp_nb.views.html_card import fallback
from pelrp_nb.views.text import positions

# --- where places are truly lost -------------------------------------------------------------------------------------


class Lost(Tabled):
    """Positions are added behind an operation that nobody can follow, and that changes nothing."""

    def __init__(self, through) -> None:
        super().__init__()
        self.through = through

    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, self.through(self.tokens(ids)) + self.p[: ids.shape[1]])


def there_and_back(x: Tensor) -> Tensor:
    return torch.fft.ifft(torch.fft.fft(x, dim=1), dim=1).real


def folded(x: Tensor) -> Tensor:
    return F.fold(x.mT, (1, x.shape[1]), (1, 1))[:, :, 0].mT


def two_to_one(x: Tensor) -> Tensor:
    """Each half of two vectors is added to one place, and both to the other: places have been mixed."""
    out = torch.zeros_like(x)
    for shift in (0, 1):
        out = out.index_add(1, torch.arange(x.shape[1]) // 2 * 2 + shift, x / 2)
    return out


LOST = {"fft": ("fft_fft", there_and_back), "fold": ("fold", folded), "index_add": ("index_add", two_to_one)}


def trace(model: nn.Module, *inputs: Tensor):
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        return flow.trace(model(*inputs)[0, 1])


@pytest.mark.parametrize("name", LOST)
def test_a_constant_behind_lost_places_is_said_in_a_note(name):
    word, through = LOST[name]
    found = trace(Lost(through), IDS)
    assert not found.sinks and found.ledger.closed
    assert found.ledger.constants["p"] != 0
    (note,) = found.notes
    assert "(6, 16)" in note and f"`{word}`" in note and "could not be told" in note and "Lost" in note


def test_the_same_constant_before_them_is_a_position_without_a_note():
    class Before(Lost):
        def forward(self, ids: Tensor) -> Tensor:
            return Body.forward(self, self.through(self.tokens(ids) + self.p[: ids.shape[1]]))

    found = trace(Before(there_and_back), IDS)
    assert [sink.name for sink in found.sinks] == ["p"] and not found.notes


def test_what_is_the_same_for_all_places_needs_no_note():
    class Same(Lost):
        def forward(self, ids: Tensor) -> Tensor:
            return Body.forward(self, self.through(self.tokens(ids)) + self.p[0])

    assert not trace(Same(there_and_back), IDS).notes


def test_a_role_settles_what_could_not_be_told():
    model = Lost(there_and_back)
    with propagate(model, PA_LRP, Options(audit=True, roles={"p": "constant"})) as flow:
        assert not flow.trace(model(IDS)[0, 1]).notes


@pytest.mark.parametrize("name", [name for family, name in GROUPS if family == "followed"])
def test_where_places_are_followed_there_is_no_note(name):
    for spelling in GROUPS["followed", name].spellings:
        with propagate(spelling.build(), PA_LRP) as flow:
            assert not flow.trace(spelling.pick(spelling.call(flow.model, *spelling.inputs))).notes, spelling.name


# --- rows of other lengths -------------------------------------------------------------------------------------------

SHORT = torch.tensor([[3, 7, 1, 12]])
LENGTHS = (SHORT.shape[1], PLACES)
EITHER_SIDE = {
    "right": (torch.cat([F.pad(SHORT, (0, 2)), IDS]), torch.tensor([[1, 1, 1, 1, 0, 0], [1] * PLACES])),
    "left": (torch.cat([F.pad(SHORT, (2, 0)), IDS]), torch.tensor([[0, 0, 1, 1, 1, 1], [1] * PLACES])),
}


class Masked(Tabled):
    """Reads the last token that is no padding; padding is hidden from attention, and places are counted without it."""

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        for block in self.blocks:
            block.attention.attend = lambda q, k, v: self.seen(q, k, v, attention_mask)
        x = self.tokens(ids) + F.embedding((attention_mask.cumsum(1) - 1).clamp(min=0), self.p)
        for block in self.blocks:
            x = block(x)
        last = (attention_mask * torch.arange(ids.shape[1])).argmax(1)
        return self.head(self.norm(x)[torch.arange(len(ids)), last])

    def seen(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return (q @ k.mT / math.sqrt(HEAD)).masked_fill(mask[:, None, None] == 0, -torch.inf).softmax(-1) @ v


class MaskedByNumbers(Masked):
    def seen(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return (q @ k.mT / math.sqrt(HEAD) + (1 - mask[:, None, None].to(q)) * torch.finfo(q.dtype).min).softmax(-1) @ v


class MaskedInTheKernel(Masked):
    def seen(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None].bool())


@pytest.mark.parametrize("side", EITHER_SIDE)
@pytest.mark.parametrize("model", [Masked, MaskedByNumbers, MaskedInTheKernel])
def test_a_padded_row_has_the_relevance_it_has_alone_place_by_place(model, side):
    model, (ids, mask) = model(), EITHER_SIDE[side]
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        out = model(ids, mask)
        both = flow.traces([out[0, 1], out[1, 1]])
    for row, found in enumerate(both):
        here = mask[row].bool()
        alone = trace(model, ids[row : row + 1, here], mask[row : row + 1, here])
        assert [s.kind for s in found.sinks] == [s.kind for s in alone.sinks] == ["learnable"]
        torch.testing.assert_close(found.tokens[here], alone.tokens, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.positional[:, here], alone.positional, rtol=1e-9, atol=1e-12)
        assert not found.tokens[~here].any() and not found.positional[:, ~here].any()
        assert found.ledger.closed and not found.notes
        for line in ("tokens", "positions"):
            assert getattr(found.ledger, line) == pytest.approx(getattr(alone.ledger, line), abs=1e-9)


# --- notes are shown where people look -------------------------------------------------------------------------------


class Asked(Lost):
    """The same by the name that texts have."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return super().forward(input_ids)


@pytest.fixture(scope="module")
def noted():
    return explain(Asked(folded), {"input_ids": IDS}, target=1)


def printed(found) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    terminal.show(found.plain(), console)
    return console.export_text()


def drawn_text(found) -> str:
    figure = found.figure()
    return " ".join(figure.get_suptitle().split())


SHOWN = {
    "repr": repr, "str": str, "a notebook": lambda found: found._repr_html_(), "a page": lambda found: found.to_html(),
    "a table without scripts": lambda found: fallback(found.plain()), "a terminal": printed, "a figure": drawn_text,
}  # fmt: skip


@pytest.mark.parametrize("where", SHOWN)
def test_notes_are_shown_in(where, noted):
    (note,) = noted.notes
    text = html.unescape(re.sub("</?code>", "`", SHOWN[where](noted)))
    assert "could not be told: places were lost (`fold`)" in text and "could not be told" in note


def test_no_positions_is_never_said_where_that_could_not_be_told(noted):
    assert positions(noted.plain()) == "whether there are positions could not be told, see the notes"
    assert "no position" not in drawn_text(noted)
    told = str(plan(Asked(folded), {"input_ids": IDS}))
    assert "no positional encoding found" not in told and "could not be told" in told


def test_the_command_line_prints_notes(noted, capsys):
    _print(noted, argparse.Namespace(reduction="signed"), None)
    assert f"note: {noted.notes[0]}" in capsys.readouterr().out


# --- what is cut is said once, and with all its places --------------------------------------------------------------------


class Gated(Tabled):
    """Each block's perceptron has a gate that gradients do not pass."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            inner = block.perceptron
            block.perceptron = Gate(inner)


class Gate(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * x.detach().sigmoid()


def test_what_is_cut_from_the_stream_is_one_note_with_its_places():
    (note,) = trace(Gated(), IDS).notes
    assert "detach" in note and note.endswith("(in blocks.0.perceptron, blocks.1.perceptron)")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_norm_s_own_statistics_are_no_note(family):
    model = build(family)
    with propagate(model, PA_LRP) as flow:
        assert not flow.trace(model(**inputs(family)).logits[0, -1, 3]).notes


WRITTEN = {  # one product of three carriers, and what each is paid of 30
    "the first two first": (lambda a, b, c: (a * b) * c, (7.5, 7.5, 15.0)),
    "the last two first": (lambda a, b, c: a * (b * c), (15.0, 7.5, 7.5)),
    "in one call": (lambda a, b, c: torch.einsum("i,i,i->i", a, b, c), (10.0, 10.0, 10.0)),
}


class Product(nn.Module):
    """The product of three numbers."""

    def __init__(self, written) -> None:
        super().__init__()
        self.written, self.one = written, nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, x):
        return self.written(*(x * self.one).unbind(-1))


@pytest.mark.parametrize("way", WRITTEN)
def test_the_parts_of_a_product_depend_on_how_it_is_written_and_their_sum_does_not(way):
    """Half to each factor is a rule about calls, not about functions; an input of the same function may be paid twice as much."""
    written, parts = WRITTEN[way]
    x = torch.tensor([[2.0, 3.0, 5.0]], dtype=torch.float64)
    found = explain(Product(written), {"x": x}, target=lambda out: out[0], composite=ATTN_LRP).semantic.double()
    assert found.flatten().tolist() == pytest.approx(parts) and float(found.sum()) == pytest.approx(30.0)
