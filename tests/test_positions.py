"""Where positions enter, kind by kind: what the sinks receive is what the explicit rules pay, and every detail adds up to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import build, build_position, inputs, score, texts
from spellings import GROUPS
from tolerance import assert_same, rounding
from torch import Tensor, nn

from pelrp_nb import rules
from pelrp_nb.composites import ATTN_LRP, CP_LRP, PA_LRP
from pelrp_nb.engine.backward.sink_totals import wavelengths
from pelrp_nb.engine.options import DETAIL, Options
from pelrp_nb.engine.positions import sinks
from pelrp_nb.engine.propagation import propagate

ALL = frozenset(DETAIL)
KINDS = {
    "gptj": "rotary", "codegen": "rotary", "roformer": "rotary", "roformer on values": "rotary", "gpt_neox": "rotary",
    "t5": "relative bias", "mpnet": "relative bias", "beit": "relative bias", "swin": "relative bias",
    "bloom": "alibi", "mpt": "alibi", "falcon alibi": "alibi", "falcon": "rotary",
    "deberta": "relative embedding", "deberta_v2": "relative embedding", "xlnet": "relative embedding",
    "mamba": None, "convnext": None,
}  # fmt: skip
BIASES = [name for name, kind in KINDS.items() if kind in ("relative bias", "alibi", "relative embedding")]


def trace(name: str, composite=PA_LRP, attention: str | None = None, **options):
    model, x = build_position(name, attention)
    with propagate(model, composite, Options(audit=True, **options)) as flow:
        return flow.trace(score(model(**x)))


def streams(found) -> list:
    return list(found.streams.values()) or [found]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_found_and_closes(name):
    for composite in (PA_LRP, ATTN_LRP, CP_LRP):
        found = trace(name, composite)
        assert found.ledger.closed, str(found.ledger)
        kinds = {s.kind for part in streams(found) for s in part.sinks}
        expected = {KINDS[name]} - {None} if composite.positions == "sink" else set()
        assert expected <= kinds <= expected | ({"learnable", "absolute"} if expected else set())


@pytest.mark.parametrize("name", [n for n in BIASES if n not in ("deberta", "deberta_v2", "xlnet", "mpt", "bloom")])
def test_a_bias_in_a_fused_kernel_is_the_bias_that_is_added(name):
    eager, fused = trace(name, attention="eager"), trace(name, attention="sdpa")
    for ours, theirs in zip(streams(eager), streams(fused), strict=True):
        assert_same(ours.positional, theirs.positional, eager.ledger.scale)
        assert_same(ours.tokens, theirs.tokens, eager.ledger.scale)


@pytest.mark.parametrize("name", BIASES)
def test_pairs_and_heads_add_up_to_the_sink(name):
    for part in streams(trace(name, detail=ALL)):
        for i, sink in enumerate(part.sinks):
            if sink.name not in part.detail["heads"]:
                continue
            heads, positional = part.detail["heads"][sink.name]["score"].sum(0), part.positional[i]
            if name == "swin":  # places of a window, which are no patches of the picture
                heads, positional = heads.sum(), positional.sum()
            torch.testing.assert_close(heads, positional, rtol=1e-5, atol=1e-6, check_dtype=False)
            pairs = part.detail["pairs"][sink.name]
            rows = part.detail["heads"][sink.name]["score"].sum(0)
            halves = (pairs["relevance"].sum(-1) + pairs["relevance"].sum(-2)) / 2  # half to the query's token, half to the key's
            torch.testing.assert_close(halves, rows, rtol=1e-5, atol=1e-5, check_dtype=False)
            torch.testing.assert_close(pairs["heads"].sum(0), pairs["relevance"])
            assert pairs["written"] == ("as paid" if sink.kind == "relative embedding" else "centred")


def test_a_pair_matrix_does_not_depend_on_how_the_bias_is_written():
    """slope * j and slope * (j - i) give the same outputs: centred by attention their pairs are the same, and so what tokens get."""

    class Attend(nn.Module):
        def __init__(self, distance: bool):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.q, self.k, self.v = nn.Embedding(20, 8), *(nn.Linear(8, 8) for _ in range(3))
            self.distance = distance
            self.double()

        def forward(self, input_ids):
            x = self.table(input_ids)
            at = torch.arange(x.shape[1]).double()
            bias = -0.3 * (at[:, None] - at[None, :] if self.distance else -at[None, :].expand(len(at), -1))
            scores = self.q(x) @ self.k(x).transpose(-1, -2) + bias[None]
            hidden = torch.ones(len(at), len(at), dtype=torch.bool).triu(1)
            return (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ self.v(x))[0, -1].sum()

    found = {}
    for distance in (False, True):
        with propagate(Attend(distance), PA_LRP, Options(detail={"pairs"})) as flow:
            found[distance] = flow.trace(flow.model(torch.tensor([[3, 4, 5, 6, 7]])))
    (a,), (b,) = (list(f.detail["pairs"].values()) for f in found.values())
    assert {s.kind for s in found[True].sinks} == {"alibi"}
    torch.testing.assert_close(a["relevance"], b["relevance"])
    torch.testing.assert_close(found[False].positional, found[True].positional)
    assert a["relevance"].abs().sum() > 1e-3


class Relative(nn.Module):
    """One head whose scores are content times content plus content times relative embeddings."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.table, self.rel = nn.Embedding(20, 6).double(), nn.Embedding(9, 6).double()
        self.key = nn.Linear(6, 6).double()

    def picked(self, x: Tensor, rows: Tensor) -> Tensor:
        at = torch.arange(x.shape[1])
        distance = (at[:, None] - at[None, :] + 4).expand(x.shape[0], -1, -1)
        return torch.gather(x @ rows.T, -1, distance)

    def forward(self, input_ids):
        x = self.table(input_ids)
        return self.picked(x, self.key(self.rel.weight))[0].sum()


def test_relative_embeddings_are_paid_as_a_factor_of_the_product():
    """Half of every score is the position's, by the explicit rule of products."""
    model, ids = Relative(), torch.tensor([[3, 4, 5, 6]])
    with propagate(model, PA_LRP) as flow:
        found = flow.trace(model(ids))
    x, rows = model.table(ids).detach(), model.key(model.rel.weight).detach()
    R = model.picked(x, rows).detach()  # value = sum of the scores, so R(score) = score
    at = torch.arange(4)
    P = rows[at[:, None] - at[None, :] + 4][None]  # (1, T, T, D)
    from_x, from_P = rules.uniform.relevance(R, x, P, multiply="btd,btsd->bts")
    torch.testing.assert_close(found.tokens, from_x[0])
    torch.testing.assert_close(found.positional[0], from_P[0].sum((1, 2)))
    assert found.sinks[0].kind == "relative embedding" and found.ledger.closed


@pytest.mark.parametrize("name", ["llama", "gptj", "codegen", "roformer", "roformer on values", "gpt_neox"])
def test_heads_frequencies_queries_and_keys_add_up_to_the_sink(name):
    if name == "llama":
        model, x = build("llama"), inputs("llama")
        with propagate(model, PA_LRP, Options(detail=ALL)) as flow:
            found = flow.trace(score(model(**x)))
    else:
        found = trace(name, detail=ALL)
    for i, sink in enumerate(found.sinks):
        heads, roles = found.detail["heads"][sink.name], found.detail["query_key"][sink.name]
        spectrum = found.detail["frequencies"][sink.name]
        torch.testing.assert_close(sum(h.sum(0) for h in heads.values()), found.positional[i])
        torch.testing.assert_close(sum(roles.values()), found.positional[i])
        torch.testing.assert_close(spectrum["relevance"].sum(-1), found.positional[i])
        assert set(roles) == {"query", "key"} | ({"value"} if name == "roformer on values" else set())
        assert float(roles["query"].sum()) == pytest.approx(float(roles["key"].sum()), rel=1e-4, abs=1e-7)
        assert spectrum["wavelength"].shape == spectrum["relevance"].shape[1:]


def test_wavelengths_are_those_of_the_configuration():
    with propagate(build("llama"), PA_LRP, Options(detail={"frequencies"})) as flow:
        found = flow.trace(score(flow.model(**inputs("llama"))))
    told = next(iter(found.detail["frequencies"].values()))["wavelength"]
    expected = 2 * torch.pi * 10_000 ** (torch.arange(6, dtype=torch.float64) / 6)
    torch.testing.assert_close(told, expected, rtol=1e-4, atol=0)


def test_a_single_token_has_no_wavelength_and_what_stands_still_an_endless_one():
    assert wavelengths(torch.zeros(1, 3)).isnan().all()
    assert torch.isinf(wavelengths(torch.zeros(4, 3))).all()


def held(value: object) -> int:
    """Bytes of the tensors in a mapping."""
    return sum(map(held, value.values())) if isinstance(value, dict) else value.nbytes if isinstance(value, torch.Tensor) else 0


def test_memory_grows_only_with_what_was_asked_for():
    found = trace("mpt")
    assert found.detail == {}
    pairs, both = trace("mpt", detail={"pairs"}).detail, trace("mpt", detail={"pairs", "heads"}).detail
    assert set(pairs) == {"pairs"} and all(set(one) == {"relevance", "written"} for one in pairs["pairs"].values())
    assert all(set(one) == {"relevance", "heads", "written"} for one in both["pairs"].values())


@pytest.mark.parametrize(
    ("detail", "size"), [("heads", 3 * 2 * 4 * 9 * 8), ("query_key", 3 * 2 * 9 * 8), ("coordinates", 3 * 4 * 9 * 4 * 8)]
)
def test_detail_is_what_was_asked_for_and_nothing_else(detail, size):
    found = trace("gpt_neox", detail={detail}).detail
    assert set(found) == {detail} | ({"attention"} if detail == "heads" else set())
    assert held(found[detail]) == size


@pytest.mark.parametrize(
    ("name", "asked", "empty"),
    [
        ("gpt_neox", ALL, {"pairs"}),
        ("mpt", ALL, {"query_key", "frequencies", "coordinates"}),
        ("mamba", ALL - {"routes"}, ALL - {"routes"}),  # routes without attention are refused: test_routes_kept.py
    ],
)
def test_a_detail_that_the_model_has_nothing_of_says_so(name, asked, empty):
    found = trace(name, detail=asked)
    assert {note.split('"')[1] for note in found.notes if note.startswith("the detail ")} == empty
    assert all(found.detail[one] == {} for one in empty) and not [note for note in trace(name).notes if "the detail" in note]


def test_attention_goes_through_values_and_scores():
    """What reaches an attention's heads is what values and scores hand on, and what its softmax keeps."""
    for attention in ("sdpa", "eager"):
        model, x = build("llama", attention), inputs("llama")
        with propagate(model, PA_LRP, Options(audit=True, detail={"heads"})) as flow:
            found = flow.trace(score(model(**x)))
        for layer, met in found.detail["attention"].items():
            kept = found.ledger.softmax[layer]
            arrived, allowed = float(met["heads"].sum()), rounding(met["heads"].abs().sum())
            assert arrived == pytest.approx(float(met["values"] + met["scores"]) + kept, abs=allowed)
            assert float(met["values"]) == pytest.approx(float(met["heads"].sum()) / 2)
            assert met["heads"].shape == (4, 9)


@pytest.mark.parametrize("name", ["mpt", "t5", "deberta_v2"])
def test_cp_lrp_pays_no_position_of_scores(name):
    for part in streams(trace(name, CP_LRP)):
        biases = [i for i, s in enumerate(part.sinks) if s.kind in ("alibi", "relative bias", "relative embedding")]
        assert biases and float(part.positional[biases].abs().max()) == 0


@pytest.mark.parametrize("name", ["mpt", "mpnet", "beit", "falcon alibi"])
def test_a_bias_held_constant_is_booked_by_name(name):
    """Taken as a constant the bias keeps as much as the sink received."""
    sink, constant = trace(name), trace(name, replace(PA_LRP, positions="constant"))
    biases = [i for i, s in enumerate(sink.sinks) if s.kind in ("alibi", "relative bias")]
    received = float(sink.positional[biases].sum())
    extra = {k: v for k, v in constant.ledger.constants.items() if k not in sink.ledger.constants}
    assert any("bias" in k or "added" in k for k in extra)
    if not any(s.kind in ("learnable", "absolute") for s in sink.sinks):
        assert sum(extra.values()) == pytest.approx(received, rel=1e-4, abs=1e-7)
    torch.testing.assert_close(sink.tokens, constant.tokens, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["t5", "mpnet", "deberta_v2", "bloom", "gptj"])
def test_layers_run_again_hear_the_same(name):
    once, again = trace(name, detail=ALL), trace(name, detail=ALL, checkpoint=True)
    assert again.ledger.closed
    for ours, theirs in zip(streams(once), streams(again), strict=True):
        torch.testing.assert_close(ours.positional, theirs.positional, rtol=0, atol=1e-12)
        torch.testing.assert_close(ours.tokens, theirs.tokens, rtol=0, atol=1e-12)


def test_a_mask_is_no_position():
    """Fillers, the user's own mask and a buffer of ones and zeros hide pairs; none of them is a place of positions."""
    model, x = build("bert"), inputs("bert")
    x["attention_mask"] = torch.tensor([[1] * 7 + [0] * 2])
    with propagate(model, PA_LRP, Options(audit=True)) as flow:
        found = flow.trace(score(model(**x)))
    assert {s.kind for s in found.sinks} == {"learnable"} and found.ledger.closed


def test_layers_without_rotation_have_no_sink():
    import transformers as t

    config = t.SmolLM3Config(
        vocab_size=96, hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
        no_rope_layers=[1, 1, 0, 1], pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = t.SmolLM3ForCausalLM(config).double().eval()
    with propagate(model) as flow:
        found = flow.trace(score(model(**texts())))
    assert [s.layer for s in found.sinks] == [0, 1, 3]


def test_local_and_global_layers_have_their_own_frequencies():
    import transformers as t

    config = t.Gemma3TextConfig(
        vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
        head_dim=12, layer_types=["sliding_attention", "full_attention"], pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = t.Gemma3ForCausalLM(config).double().eval()
    with propagate(model, PA_LRP, Options(detail={"frequencies"})) as flow:
        found = flow.trace(score(model(**texts())))
    near, far = (found.detail["frequencies"][f"layer {i} rotary"]["wavelength"] for i in range(2))
    assert far[-1] > 10 * near[-1]


def test_an_autograd_function_of_a_model_is_the_activation_it_is():
    from transformers.models.bloom.modeling_bloom import BloomGelu

    class Head(nn.Module):
        def __init__(self, activation):
            super().__init__()
            torch.manual_seed(0)
            self.before, self.activation, self.after = nn.Linear(4, 6).double(), activation, nn.Linear(6, 1, bias=False).double()

        def forward(self, x):
            return self.after(self.activation(self.before(x))).sum()

    found = {}
    for name, activation in (("theirs", BloomGelu()), ("torch's", nn.GELU(approximate="tanh"))):
        with propagate(Head(activation), PA_LRP, Options(audit=True)) as flow:
            found[name] = flow.trace(flow.model(torch.linspace(-2, 2, 8, dtype=torch.float64).reshape(2, 4)))
        assert found[name].ledger.closed
    torch.testing.assert_close(found["theirs"].tokens, found["torch's"].tokens, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("factor", [0.0, 2.0])
@pytest.mark.parametrize("name", ["mpt", "mpnet", "beit", "deberta_v2", "xlnet"])
def test_a_sink_that_hears_wrongly_opens_the_ledger(monkeypatch, name, factor):
    right = sinks.book
    monkeypatch.setattr(sinks, "book", lambda flow, leaf, R, written: right(flow, leaf, R * factor, written))
    assert not trace(name).ledger.closed


def test_a_table_written_into_a_larger_one_is_still_a_table():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.places = nn.Embedding(20, 6).double(), nn.Embedding(4, 6).double()

        def forward(self, input_ids):
            places = torch.zeros(1, input_ids.shape[1], 6, dtype=torch.float64)
            places[:, :4] = self.places.weight
            return (self.table(input_ids) + places).square().sum()

    with propagate(Padded()) as flow:
        found = flow.trace(flow.model(torch.tensor([[3, 4, 5, 6, 7]])))
    assert [s.kind for s in found.sinks] == ["learnable"] and found.ledger.closed
    assert float(found.positional[0, :4].abs().min()) > 0 and float(found.positional[0, 4]) == 0


@pytest.mark.parametrize(("axes", "kinds"), [("windows", ["learnable"]), ("heads", [])])
def test_a_vector_for_each_place_in_a_window_is_a_position_and_one_for_each_head_is_not(axes, kinds):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table = nn.Embedding(20, 6).double()
            self.added = nn.Parameter(torch.randn((3, 6) if axes == "windows" else (3, 2), dtype=torch.float64))

        def forward(self, input_ids):
            x = self.table(input_ids)  # (1, 6, 6): two windows of three places, or three heads of two
            cut = x.unflatten(1, (2, 3)) if axes == "windows" else x.unflatten(2, (3, 2))
            return (cut + self.added).square().sum()

    with propagate(Cut()) as flow:
        found = flow.trace(flow.model(torch.tensor([[3, 4, 5, 6, 7, 8]])))
    assert [s.kind for s in found.sinks] == kinds and found.ledger.closed
    assert all(float(row.abs().min()) > 0 for row in found.positional)


# --- reductions do not hang on how a rotation is written -------------------------------------------------------------

TURNED = {spelling.name: spelling for spelling in GROUPS["rotary", "neighbours"].spellings}


def turned(name: str):
    with propagate(TURNED[name].build(), PA_LRP, Options(audit=True)) as flow:
        return flow.trace(TURNED[name].pick(flow.model(*TURNED[name].inputs)))


@pytest.mark.parametrize("name", [name for name in TURNED if "complex" in name])
def test_every_reduction_of_a_complex_table_is_that_of_its_real_and_imaginary_part(name):
    ours, theirs = turned(name), turned("computed")
    assert set(ours.reductions) == set(theirs.reductions) and not ours.notes
    for key, wanted in theirs.reductions.items():
        torch.testing.assert_close(ours.reductions[key], wanted, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(ours.reductions["positional.absolute"].sum(0), ours.positional.sum(0).abs())


@pytest.mark.parametrize("name", [name for name in TURNED if "matrices" in name])
def test_where_parts_cannot_be_told_apart_a_note_says_which_reductions_that_changes(name):
    found = turned(name)
    (note,) = found.notes
    assert "'absolute'" in note and "matrices" in note and "layer 0" in note
    torch.testing.assert_close(found.positional, turned("computed").positional, rtol=1e-9, atol=1e-12)
