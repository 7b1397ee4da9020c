"""Exchange: equal to computing the model again with two positions exchanged, on every encoding; four spellings of ALiBi agree."""

from __future__ import annotations

import gc
import math

import numpy
import pytest
import torch
from matplotlib.figure import Figure
from models import build, build_position, inputs
from positioned import (
    ALIBIS, EXACT, FOLLOWED, IDS, UNFOLLOWED, Attention, CausalRotary, FusedGroupedRotary, FusedRotary, FusedWindowedRotary, Rotary, T,
    swapped, weighing,
)  # fmt: skip
from shapes import words
from torch import Tensor, nn

import pelrp_nb
from pelrp_nb import exchange, views, zoo
from pelrp_nb.engine.positions import blocks, kernels, moving, reweighing
from pelrp_nb.engine.positions.exchanging import Pairs
from pelrp_nb.errors import CallError, FileError, InputError, ModelError
from pelrp_nb.results.exchange import Exchange

PAIRS = [(t, u) for t in range(T) for u in range(t + 1, T)]


def exchanged(model: nn.Module, ids: Tensor = IDS, only: int | None = None, **more) -> Exchange:
    x = {"input_ids": ids} if only is None else {"input_ids": ids, "only": only}
    return exchange(model, x, target=lambda out: out.reshape(-1)[0], partners=None, **more)


def differences(model: Attention) -> Tensor:
    """What the value loses when two positions are exchanged: the model computed again for each pair."""
    with torch.no_grad():
        found = torch.zeros(T, T, dtype=torch.float64)
        for t, u in PAIRS:
            found[t, u] = found[u, t] = (model(IDS) - model(IDS, swapped(t, u)))[0]
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", EXACT, ids=lambda kind: kind.__name__)
def test_it_is_the_model_computed_again(kind, dtype):
    model = kind().to(dtype)
    truth = differences(kind().double())
    allowed = 1e-9 if dtype == torch.float64 else 1e-4
    assert (exchanged(model).matrix - truth).abs().max() <= allowed * truth.abs().max()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("kind", [*EXACT, *ALIBIS.values()], ids=lambda kind: kind.__name__)
def test_queries_that_are_looked_at_some_at_a_time_lose_what_all_of_them_do(kind, size, monkeypatch):
    """Columns of a pair of which a block sees only one, or of which the only one rests, and rows that lie in different blocks."""
    whole = exchanged(kind()).matrix
    monkeypatch.setattr(blocks, "BLOCK", size)
    torch.testing.assert_close(exchanged(kind()).matrix, whole, rtol=1e-9, atol=1e-9 * float(whole.abs().max()))


@pytest.mark.parametrize("kind", [FusedRotary, FusedGroupedRotary, FusedWindowedRotary], ids=lambda kind: kind.__name__)
def test_constants_are_dealt_where_that_makes_what_contents_make(kind, monkeypatch):
    """Contents are dealt once, to see that; and each time where it is not so."""
    dealt, by_contents = [], moving.Mover._by_contents
    monkeypatch.setattr(moving.Mover, "_by_contents", lambda self, order: dealt.append(1) or by_contents(self, order))
    whole = exchanged(kind()).matrix
    assert len(dealt) == 1
    by_constants = moving.Mover._by_constants
    monkeypatch.setattr(moving.Mover, "_by_constants", lambda self, orders: [(q + 1e-9, k) for q, k in by_constants(self, orders)])
    torch.testing.assert_close(exchanged(kind()).matrix, whole, rtol=1e-9, atol=1e-9 * float(whole.abs().max()))
    assert len(dealt) == 1 + 1 + T  # of an odd number of places, each rests once


class SharpRotary(FusedRotary):
    """Scores of hundreds: with other positions the sum of a row falls, or rises, beyond what float32 holds."""

    causal, sharp = False, 400.0

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        return super().turned(x, positions) * self.sharp**0.5


def test_rows_whose_sum_falls_or_rises_far_are_computed_again():
    truth = differences(SharpRotary().double())
    assert (exchanged(SharpRotary().float()).matrix - truth).abs().max() <= 1e-4 * truth.abs().max()


@pytest.mark.parametrize("kind", [*EXACT, *ALIBIS.values()], ids=lambda kind: kind.__name__)
def test_rows_that_are_computed_again_lose_what_their_changes_say(kind, monkeypatch):
    """All of them, of blocks that see one key of a pair or both."""
    once = exchanged(kind()).matrix
    monkeypatch.setattr(blocks, "BLOCK", 2)
    monkeypatch.setattr(reweighing, "CANCELS", 1.0)
    monkeypatch.setattr(reweighing, "RISES", 1.0)
    torch.testing.assert_close(exchanged(kind()).matrix, once, rtol=1e-9, atol=1e-9 * float(once.abs().max()))


@pytest.mark.parametrize("kind", [FusedRotary, FusedGroupedRotary, FusedWindowedRotary], ids=lambda kind: kind.__name__)
def test_of_a_fused_kernel_of_queries_and_keys_no_matrix_is_made(kind, monkeypatch):
    """All are products of the pairs that a block sees."""
    made, scores = [], kernels.scores
    monkeypatch.setattr(kernels, "scores", lambda *args, **more: made.append(1) or scores(*args, **more))
    exchanged(kind())
    assert not made


def test_what_an_attention_needed_is_let_go_without_a_garbage_collector():
    """Of all pairs this was more than everything else that an exchange needs."""

    def weights() -> list[Tensor]:
        return [x for x in gc.get_objects() if issubclass(type(x), Tensor) and x.shape[-2:] == (T, T) and x.is_floating_point()]

    model = FusedRotary()
    exchanged(model)
    gc.collect()
    gc.disable()
    try:
        before = weights()  # of other tests
        exchanged(model)
        assert len(weights()) == len(before)
    finally:
        gc.enable()


@pytest.mark.parametrize("way", FOLLOWED)
def test_weights_that_are_used_in_other_ways_are_the_model_computed_again(way):
    model = weighing(way, FOLLOWED[way])()
    truth = differences(model)
    assert (exchanged(model).matrix - truth).abs().max() <= 1e-9 * truth.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("way", ALIBIS)
def test_a_causal_bias_is_read_where_somebody_sees_it(way, dtype):
    """Each visible pair takes the penalty of its new distance if that looks back, else it keeps its own; however ALiBi is written."""
    model = ALIBIS[way]()
    truth = torch.zeros(T, T, dtype=torch.float64)
    for t, u in PAIRS:
        at = swapped(t, u)
        away, own = at[:, None] - at[None, :], torch.arange(T)[:, None] - torch.arange(T)[None, :]
        penalty = torch.where(away >= 0, away, own).clamp(min=0) * -torch.tensor([0.5, 0.25], dtype=torch.float64)[:, None, None]
        truth[t, u] = truth[u, t] = with_bias(model, penalty)
    truth = (model(IDS)[0].detach() - truth).fill_diagonal_(0)
    allowed = 1e-9 if dtype == torch.float64 else 1e-4
    assert (exchanged(model.to(dtype)).matrix - truth).abs().max() <= allowed * truth.abs().max()


def with_bias(model: Attention, bias: Tensor) -> float:
    right = model.biases
    model.biases = lambda positions, dtype: bias  # type: ignore[method-assign]
    try:
        with torch.no_grad():
            return float(model(IDS)[0])
    finally:
        model.biases = right  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["gptj", "codegen", "gpt_neox", "roformer", "t5", "mpnet", "bloom", "mpt", "falcon", "falcon alibi",
                                  "deberta", "deberta_v2", "xlnet", "beit"])  # fmt: skip
def test_every_family_can_be_exchanged(name):
    model, x = build_position(name)
    x = {k: v for k, v in x.items() if name != "xlnet" or k != "use_cache"}
    found = exchange(model, x, target=lambda out: out.logits.reshape(-1)[-2], partners=None)
    P = found.matrix[found.places][:, found.places]
    assert not P.isnan().any() and torch.equal(P, P.T) and P.abs().max() > 0


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_eager_is_fused(family):
    fused, eager = (exchange(build(family, a), inputs(family), target=7, partners=None).matrix for a in ("sdpa", "eager"))
    torch.testing.assert_close(fused, eager, rtol=1e-5, atol=1e-5)


class Added(nn.Module):
    """Positions that are added to vectors; the value is linear in them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.places, self.out = nn.Embedding(30, 6), nn.Embedding(T, 6), nn.Linear(6 * T, 1)
        self.double()

    def forward(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.table(input_ids) + self.places(torch.arange(T) if positions is None else positions)
        return self.out(x.flatten(1))[:, 0]


def test_added_positions_are_exchanged_linearly():
    model = Added()
    with torch.no_grad():
        truth = torch.zeros(T, T, dtype=torch.float64)
        for t, u in PAIRS:
            truth[t, u] = truth[u, t] = (model(IDS) - model(IDS, swapped(t, u)))[0]
    torch.testing.assert_close(exchanged(model).matrix, truth)


def test_parts_add_up_and_means_are_over_partners():
    found = exchange(build("llama"), inputs("llama"), target=7, partners=3, seed=5)
    assert len(found.values) == 3 and all(len(v) == 4 for v in found.values.values())
    by_layer = sum(found.of(name).nan_to_num(0.0) for name in found.values)
    torch.testing.assert_close(by_layer, found.matrix.nan_to_num(0.0))
    by_head = sum(found.of("layer 1", head).nan_to_num(0.0) for head in range(4))
    torch.testing.assert_close(by_head, found.of("layer 1").nan_to_num(0.0))
    off = found.matrix.clone().fill_diagonal_(torch.nan)
    torch.testing.assert_close(found.signed, off.nanmean(1))
    torch.testing.assert_close(found.absolute, off.abs().nanmean(1))
    torch.testing.assert_close(found.layers.sum(0), found.signed)
    torch.testing.assert_close(found.heads["layer 0"].sum(0), found.layers[list(found.values).index("layer 0")])
    away = found.by_distance()
    assert away["pairs"].sum() == len(found.pairs)
    assert math.isclose((away["signed"] * away["pairs"]).sum(), float(found.totals.sum()), rel_tol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 7, 8])
@pytest.mark.parametrize("partners", [1, 3, None, 100])
def test_each_place_meets_so_many_others_once(n, partners):
    pairs = [tuple(p) for p in Pairs.drawn(list(range(n)), partners, 0).each().tolist()]
    assert len(set(pairs)) == len(pairs) and all(t < u for t, u in map(sorted, pairs))
    met = [sum(i in p for p in pairs) for i in range(n)]
    if partners is None or partners >= n:
        assert len(pairs) == n * (n - 1) // 2
    else:
        assert max(met) <= partners + n % 2 and min(met) >= min(partners, n - 1)


def test_the_same_seed_draws_the_same_partners():
    a, b, c = (exchange(build("llama"), inputs("llama"), target=7, partners=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.pairs, b.pairs) and torch.equal(a.totals, b.totals) and not torch.equal(a.pairs, c.pairs)


def test_special_tokens_take_part_only_when_asked():
    model, tokenizer = zoo.load("tasks-rotary")
    text = zoo.task("order").examples[0].text
    plain, all_of = (exchange(model, text, processor=tokenizer, special=s) for s in (False, True))
    special = {"[CLS]", "[SEP]"}
    assert not special & {plain.tokens[i] for i in plain.places} and special <= {all_of.tokens[i] for i in all_of.places}
    assert plain.signed.isnan()[[0, -1]].all() and 0 < plain.share < 1


def test_several_inputs_are_several_exchanges_each_as_if_alone():
    model, tokenizer = zoo.load("tasks-rotary")
    texts = [zoo.task(kind).examples[0].text for kind in ("order", "recall")]
    found = exchange(model, texts, processor=tokenizer)
    assert [len(one.tokens) for one in found] == [len(tokenizer(t)["input_ids"]) for t in texts]
    assert torch.equal(found[1].totals, exchange(model, texts[1], processor=tokenizer).totals)


def test_rows_that_are_padded_are_exchanged_among_their_own_places():
    model, tokenizer = zoo.load("tasks-rotary")
    texts = [zoo.task(kind).examples[0].text for kind in ("order", "recall")]
    together = exchange(model, dict(tokenizer(texts, padding=True, return_tensors="pt")), processor=tokenizer)
    for text, one in zip(texts, together, strict=True):
        torch.testing.assert_close(one.totals, exchange(model, text, processor=tokenizer).totals, rtol=1e-3, atol=1e-4)


def test_each_stream_of_an_encoder_and_decoder_has_its_own():
    model, x = build_position("t5")
    found = exchange(model, x, target=lambda out: out.logits[0, -1, 5], partners=None)
    assert {name: len(one.semantic) for name, one in found.streams.items()} == {"encoder": 9, "decoder": 4}
    assert all(one.totals.abs().max() > 0 for one in found.streams.values())


def test_a_stream_of_too_few_places_takes_no_part_and_brings_no_special_token_along():
    model, _ = build_position("t5")
    few, all_of = (exchange(model, ("w7 w8 w9", "w20"), processor=words(), special=s) for s in (False, True))
    assert few.streams["decoder"].tokens == ("[PAD]", "w20") and len(few.streams["decoder"].pairs) == 0
    assert few.streams["decoder"].share == 0 and few.totals.abs().max() > 0
    assert all_of.streams["decoder"].pairs.tolist() == [[0, 1]]


def test_a_decoder_that_has_only_begun_takes_no_part():
    model, x = build_position("t5")
    found = exchange(model, {**x, "decoder_input_ids": torch.tensor([[0]])}, target=lambda out: out.logits[0, -1, 5])
    assert len(found.streams["decoder"].pairs) == 0 and found.totals.abs().max() > 0


class Two(nn.Module):
    """Two attentions of other head counts in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = CausalRotary(), Rotary()

    def attended(self, model: Attention, x: Tensor, heads: int) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (heads, -1)).transpose(1, 2) for f in (model.q, model.k, model.v))
        at = torch.arange(x.shape[1])[:, None].double() * 0.7 ** torch.arange(q.shape[-1] // 2)
        cos, sin = (t.repeat(1, 2) for t in (at.cos(), at.sin()))

        def turned(y: Tensor) -> Tensor:
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        return ((turned(q) @ turned(k).mT).softmax(-1) @ v).transpose(1, 2).flatten(-2)

    def forward(self, input_ids: Tensor, only: int | None = None) -> Tensor:
        x = self.first.table(input_ids)
        parts = [self.attended(self.first, x, 4), self.attended(self.second, x, 2)]
        return sum(part for i, part in enumerate(parts) if only in (None, i)).sum((-1, -2))


def test_the_heads_of_two_attentions_at_one_place_are_told_apart():
    found, apart = exchanged(Two()), [exchanged(Two(), only=i) for i in (0, 1)]
    (heads,) = found.values.values()
    torch.testing.assert_close(heads, torch.cat([next(iter(one.values.values())) for one in apart]))


class Pictured(nn.Module):
    """One attention over patches of a picture that need not be square; positions are added row by row and column by column."""

    def __init__(self, added: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.out = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 1)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.rows, self.columns, self.added = nn.Parameter(torch.randn(8, 2, 1)), nn.Parameter(torch.randn(8, 1, 6)), added
        self.double()

    def forward(self, pixel_values: Tensor, order: Tensor | None = None) -> Tensor:
        x, p = self.patch(pixel_values), self.rows + self.columns
        x = (x + p if self.added else x).flatten(-2).mT
        p = p.flatten(-2).mT.cos()
        p = p if order is None else p[order]
        q, k = self.q(x), self.k(x)
        s = q @ k.mT if self.added else (q * p) @ (k * p).mT
        return self.out((s / 2).softmax(-1) @ self.v(x)).sum((-1, -2))


@pytest.mark.parametrize("added", [True, False])
def test_places_of_a_picture_that_is_not_square_are_told_by_their_cells(added):
    model = Pictured(added)
    x = {"pixel_values": torch.randn(1, 3, 8, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)}
    found = exchange(model, x, target=lambda out: out[0], partners=None)
    pixels = pelrp_nb.explain(model, x, target=lambda out: out[0], composite=pelrp_nb.CP_LRP).semantic
    assert found.tokens[:7] == tuple(f"patch {at}" for at in ("0,0", "0,1", "0,2", "0,3", "0,4", "0,5", "1,0"))
    torch.testing.assert_close(found.semantic.double(), pixels.double())
    assert found.matrix.abs().max() > 0 and not found.matrix.isnan().any()
    if not added:
        with torch.no_grad():
            truth = (model(**x) - model(**x, order=swapped(1, 9, 12)))[0]
        torch.testing.assert_close(found.matrix[1, 9], truth)


def test_patches_of_a_picture_are_places():
    model, processor = zoo.load("scenes-rotary")
    found = exchange(model, zoo.task("digit-scenes").examples[0].image, processor=processor, partners=2)
    assert found.matrix.shape == (64, 64) and found.kinds == ("rotary",)


def test_it_survives_a_file(tmp_path):
    found = exchange(build("llama"), inputs("llama"), target=7)
    found.save(tmp_path / "e.npz")
    again = Exchange.load(tmp_path / "e.npz")
    assert repr(again) == repr(found) and torch.equal(again.totals, found.totals) and list(again.values) == list(found.values)
    pelrp_nb.explain(build("llama"), inputs("llama")).save(tmp_path / "x.npz")
    with pytest.raises(FileError, match="must hold an exchange"):
        Exchange.load(tmp_path / "x.npz")


def reviewed(text: str = "a dull , clumsy film", **more):
    model, tokenizer = zoo.load("reviews-rotary")
    return exchange(model, text, processor=tokenizer, **more), pelrp_nb.explain(model, text, processor=tokenizer)


def test_its_figure_has_matrix_places_and_distances():
    found = exchange(build("llama"), inputs("llama"), target=7)
    figure = found.figure(size=(5, 3))
    assert len(figure.axes) == 4 and tuple(figure.get_size_inches()) == (5, 3)
    grid = Figure().subplots(1, 3)
    for ax, kind in zip(grid, ("matrix", "places", "distance"), strict=True):
        assert found.figure(kind, ax=ax) is grid[0].figure
    assert [ax.get_title().startswith(("worth", "by")) for ax in grid] == [True] * 3
    assert numpy.ma.filled(grid[0].images[0].get_array(), 0) == pytest.approx(found.matrix.nan_to_num(0.0).numpy())
    for wrong in ({"kind": "heads"}, {"kind": "all", "ax": grid[0]}, {"size": (0, 3)}, {"kind": "matrix", "ax": grid}):
        with pytest.raises(InputError, match="Type "):
            found.figure(**wrong)


def test_it_shows_itself_with_one_sentence_that_says_what_it_means():
    found, _ = reviewed()
    for shown in (str(found), found._repr_html_(), found.to_html(), found.sheet().data["means"]):
        assert "what the value would lose if the two tokens exchanged their positions" in shown
    (stream,) = found.sheet().data["streams"]
    assert stream["said"].startswith(f"positions are worth {found.share:.0%} by exchange; most of all ")
    assert [name for name, _ in stream["attentions"]] == ["all", *found.values] and stream["places"] == found.places.sort().values.tolist()
    assert "causal model the mask tells positions" in found.sheet().data["notes"][0]


def test_the_xray_of_an_explanation_takes_its_exchange_and_no_other():
    (found, e), (other, _) = reviewed(), reviewed("what a gorgeous , witty film")
    shown = views.xray(e, exchange=found).data["exchange"]
    assert shown["said"] == found.sheet().data["streams"][0]["said"] and "exchanged their positions" in shown["means"]
    with pytest.raises(ValueError, match="exchange must be of the input that was explained"):
        views.xray(e, exchange=other)


def test_each_stream_has_its_part_of_the_page():
    model, x = build_position("t5")
    sheet = exchange(model, x, target=lambda out: out.logits[0, -1, 5]).sheet()
    assert [one["name"] for one in sheet.data["streams"]] == ["encoder", "decoder"]
    one = exchange(model, {**x, "decoder_input_ids": torch.tensor([[0]])}, target=lambda out: out.logits[0, -1, 5]).sheet()
    assert one.data["streams"][1]["said"] == "no two places of it could be exchanged."


def test_the_model_is_left_as_it_was():
    model = CausalRotary()
    before = model(IDS).detach()
    exchanged(model)
    assert torch.equal(model(IDS).detach(), before) and not any(hasattr(m, "_forward_hooks") and m._forward_hooks for m in model.modules())


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_model_without_positions_says_so_and_speaks_of_the_mask():
    model, tokenizer = zoo.load("tasks-none")
    with pytest.raises(InputError, match=r"no positions that could be exchanged.*causal model the mask tells positions"):
        exchange(model, zoo.task("order").examples[0].text, processor=tokenizer)


def test_fewer_than_two_places_are_refused():
    model, tokenizer = zoo.load("tasks-rotary")
    for text in ("sun", "[SEP]"):
        with pytest.raises(InputError, match="between two places or more"):
            exchange(model, text, processor=tokenizer)


@pytest.mark.parametrize("name", ["tasks-rotary", "tasks-alibi", "tasks-relative", "tasks-learnable"])
def test_an_input_of_special_tokens_alone_is_refused_and_says_how_they_take_part(name):
    model, tokenizer = zoo.load(name)
    alone = {"input_ids": torch.tensor([[tokenizer.cls_token_id, tokenizer.sep_token_id]])}
    told = (
        "Positions are exchanged between two places or more; of this input 0 can take part. Special tokens do not, unless you type "
        "special=True."
    )
    with pytest.raises(InputError) as error:
        exchange(model, alone, processor=tokenizer)
    assert str(error.value) == told
    assert exchange(model, alone, processor=tokenizer, special=True).places.tolist() == [0, 1]  # as it says
    with pytest.raises(InputError) as error:
        exchange(model, [zoo.task("order").examples[0].text, alone], processor=tokenizer)
    assert str(error.value) == f"Input 1: {told}"


@pytest.mark.parametrize("name", ["tasks-alibi", "tasks-rotary", "tasks-learnable"])
@pytest.mark.parametrize("composite", [pelrp_nb.PA_LRP, "pa-lrp", pelrp_nb.DELTA_LRP], ids=["PA_LRP", "name", "DELTA_LRP"])
def test_a_composite_is_refused_with_what_judges_in_its_place_whatever_the_positions(name, composite):
    model, tokenizer = zoo.load(name)
    with pytest.raises(CallError) as error:
        exchange(model, zoo.task("order").examples[0].text, processor=tokenizer, composite=composite)
    assert str(error.value) == (
        "exchange has no argument `composite`. Type exchange without it: positions in the scores of attention are judged under CP-LRP, "
        "positions that are added to vectors under PA-LRP; a composite is for explain(model, inputs, composite=...)."
    )


@pytest.mark.parametrize("partners", [0, -1, 2.5, True, "all"])
def test_partners_that_are_no_number_are_refused(partners):
    with pytest.raises(InputError, match="Type partners=8"):
        exchange(build("llama"), inputs("llama"), partners=partners)


def test_more_partners_than_places_are_all_of_them():
    some, all_of = (exchange(build("llama"), inputs("llama"), target=7, partners=p) for p in (1000, None))
    assert len(some.pairs) == len(all_of.pairs) == 36


class Joined(Attention):
    def heads(self, x: Tensor) -> Tensor:
        at = torch.linspace(0, 1, x.shape[1], dtype=x.dtype)[:, None].expand(*x.shape[:2], 1)
        return super().heads(torch.cat([x[..., 1:], at], -1))


class Factored(Attention):
    def forward(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.table(input_ids) * torch.linspace(1, 2, input_ids.shape[1], dtype=torch.float64)[:, None]
        return self.out(x).sum((-1, -2))


@pytest.mark.parametrize(("kind", "named"), [(Joined, "joined"), (Factored, "modulation")])
def test_positions_beside_scores_are_refused_by_name(kind, named):
    with pytest.raises(ModelError, match=named):
        exchanged(kind())


class Mapped(Rotary):
    """A linear map, or a convolution over places, between the rotation and the scores."""

    def __init__(self, convolved: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.between = (nn.Conv1d(4, 4, 3, padding=1) if convolved else nn.Linear(4, 4)).double()

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        x = super().turned(x, positions)
        return self.between(x[0].mT).mT[None] if isinstance(self.between, nn.Conv1d) else self.between(x)


class Convolved(Attention):
    """Order is told by a convolution, which no position enters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=1).double()

    def heads(self, x: Tensor) -> Tensor:
        return super().heads(self.conv(x.mT).mT)


@pytest.mark.parametrize("convolved", [False, True])
def test_a_rotation_before_a_linear_map_is_refused_by_name_and_noted_by_delta_attention(convolved):
    model = Mapped(convolved)
    with pytest.raises(ModelError, match=r"`Mapped rotary` are rotary: .* before a linear map"):
        exchanged(model)
    told = pelrp_nb.explain(model, {"input_ids": IDS}, target=lambda out: out[0], composite=pelrp_nb.DELTA_LRP)
    assert any("stands what delta attention does not do again" in note for note in told.notes)


def test_order_that_a_convolution_tells_is_no_position():
    with pytest.raises(InputError, match="no positions that could be exchanged"):
        exchanged(Convolved())


@pytest.mark.parametrize("way", UNFOLLOWED)
def test_weights_that_are_used_where_nobody_follows_them_are_refused(way):
    with pytest.raises(ModelError, match=r"uses attention weights in `\w+`.*Write it as weights @ values"):
        exchanged(weighing(way, UNFOLLOWED[way])())


class InChunks(Rotary):
    def weigh(self, s: Tensor, v: Tensor) -> Tensor:
        return torch.cat([part.softmax(-1) @ v for part in s.split(4, -2)], -2)


class Cut(Rotary):
    def attend(self, q: Tensor, k: Tensor, v: Tensor, positions: Tensor) -> Tensor:
        q, k = self.turned(q, positions), self.turned(k, positions)
        return torch.cat([(part @ k.mT).softmax(-1) @ v for part in q.split(4, -2)], -2)


@pytest.mark.parametrize("kind", [InChunks, Cut])
def test_scores_of_some_queries_at_a_time_are_refused(kind):
    with pytest.raises(ModelError, match="some queries at a time"):
        exchanged(kind())


def test_windows_that_are_cut_apart_are_refused_by_name():
    model, x = build_position("swin")
    with pytest.raises(ModelError, match=r"layer \d.*windows"):
        exchange(model, x, target=lambda out: out.logits[0, 1])


class Beside(Rotary):
    """The value does not depend on attention."""

    def forward(self, input_ids: Tensor, positions: Tensor | None = None) -> Tensor:
        super().forward(input_ids, positions)
        return self.out(self.table(input_ids)).sum((-1, -2))


class Decaying(CausalRotary):
    """A factor that hides, and weakens what it does not hide."""

    def masked(self, s: Tensor, hidden: Tensor) -> Tensor:
        b = (~hidden).to(s.dtype)
        return s * (0.5 * b) + -1e4 * (1 - b)


def test_a_mask_that_is_multiplied_and_does_more_than_hide_is_refused():
    with pytest.raises(ModelError, match="a factor that does more than hide"):
        exchanged(Decaying())


def test_a_value_that_depends_on_no_attention_is_refused():
    with pytest.raises(InputError, match="depends on no attention"):
        exchanged(Beside())
