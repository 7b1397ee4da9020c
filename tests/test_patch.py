"""Patching: what is estimated from one walk back, what the patched forward pass says, which heads both name, what a circuit keeps."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from models import FAMILIES, build, build_position, inputs
from test_zoo_induction import INDUCTION, NAME, PREVIOUS
from torch import nn

import pelrp_nb
from pelrp_nb import Patch, patch, zoo
from pelrp_nb.bench import patch_quality as bench
from pelrp_nb.errors import CallError, FileError, InputError, ModelError, TargetError
from pelrp_nb.results.measured import Site
from pelrp_nb.target import token
from pelrp_nb.zoo.induction import repeats

LINE = next(repeats(held_out=True))


@pytest.fixture(scope="module")
def loaded():
    model, tokenizer = zoo.load(NAME)
    return model.double(), tokenizer


def without_the_word() -> str:
    """The line whose last word did not stand there before."""
    words = LINE.text.split()
    words[LINE.first] = LINE.other
    return " ".join(words)


def found(loaded, corrupt: str = LINE.corrupt, **given) -> Patch:
    model, tokenizer = loaded
    metric = (token(LINE.answer), token(LINE.other)) if corrupt == LINE.corrupt else token(LINE.answer)
    return patch(model, LINE.text, corrupt, processor=tokenizer, **{"metric": metric, **given})


def of_family(name: str, attention: str | None = None) -> tuple[nn.Module, dict, dict]:
    """A random model, an input, and one that differs from it in one place."""
    model, x = (build(name, attention or "sdpa"), inputs(name)) if name in FAMILIES else build_position(name, attention)
    main = "input_ids" if "input_ids" in x else "pixel_values"
    other = x[main].clone()
    if main == "input_ids":
        other[0, 2] = (other[0, 2] + 3) % 20 + 5
    else:
        other[0, :, 2:6] += 1
    return model, x, {**x, main: other}


def last_logit(output) -> torch.Tensor:
    return output.logits[0].flatten()[-2]


# --- what is estimated, and what is true -------------------------------------------------------------------------------


def test_the_heads_named_are_those_that_ablation_shows(loaded):
    """Another answer comes through the head that copies; a word that did not stand there before, through the head before it too."""
    heads = found(loaded).table()
    assert (heads["name"][0], heads["head"][0]) == ("layer 1", INDUCTION[1])
    lost = found(loaded, without_the_word()).table()
    assert {(row["name"], row["head"]) for _, row in lost[:2].iterrows()} == {("layer 0", PREVIOUS[1]), ("layer 1", INDUCTION[1])}
    assert (lost["relevance"][:2] < -5).all() and lost["relevance"][2:].abs().max() < 0.01


@pytest.mark.parametrize("kind", ["answer", "word"])
def test_estimates_rank_heads_as_the_patched_forward_pass_does_and_miss_less_than_the_gradient(kind):
    one = bench.measured(NAME, 12)[kind]
    assert one["relevance"]["all"] > 0.8 and one["relevance"]["missed"] < min(0.2, one["gradient"]["missed"])


@pytest.mark.golden
def test_the_plain_gradient_ranks_heads_of_a_language_model_better(golden):
    """A miss, told where the estimate is taught; why is not shown."""
    folder = golden / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip(f"no model in {folder}")
    one = bench.measured(str(folder), 4)["story"]
    assert 0.2 < one["relevance"]["all"] < one["gradient"]["all"]
    assert one["largest"]["relevance"].startswith("layer 4") and one["largest"]["measured"].startswith("layer 4")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_both_kinds_of_attention_are_patched_alike(loaded, attention):
    model, _ = loaded
    wanted = found(loaded, without_the_word(), sites="all")
    model.set_attn_implementation(attention)
    try:
        again = found(loaded, without_the_word(), sites="all")
    finally:
        model.set_attn_implementation("sdpa")
    for kind, each in wanted.relevance.items():
        for name, x in each.items():
            torch.testing.assert_close(again.relevance[kind][name], x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "vit", "t5", "bloom", "falcon", "swin", "deberta", "mixtral"])
def test_everything_replaced_is_the_corrupted_run_and_every_edge_kept_the_clean_one(name):
    model, x, other = of_family(name)
    one = patch(model, x, other, metric=last_logit, sites=["heads", "residual"])
    whole = sum(int((~edges.isnan()).sum()) for edges in one.edges.values())
    assert one.circuit(whole).value == pytest.approx(one.clean, abs=1e-5)
    streams = one._measures.effects([Site("residual", "embeddings")])
    if name not in ("t5", "deberta"):  # where the layers read more than the stream
        assert streams[0] == pytest.approx(one.corrupt - one.clean, abs=1e-5)
    for attention, edges in one.edges.items():
        torch.testing.assert_close(edges.nan_to_num(0).sum(-1), one.relevance["heads"][attention], rtol=1e-4, atol=1e-5)


def test_what_is_linear_is_estimated_exactly():
    """Values, heads and streams of one layer without norm or MLP: nothing there is bent."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(6, 6, dtype=torch.float64) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (one(x).unflatten(-1, (2, 3)).transpose(1, 2) for one in (self.q, self.k, self.v))
            out = torch.matmul((q @ k.transpose(-1, -2)).softmax(-1), v)
            return out.transpose(1, 2).flatten(2).sum((1, 2))

    torch.manual_seed(0)
    model, (x, y) = Linear().eval(), torch.randn(2, 1, 5, 6, dtype=torch.float64)
    one = patch(model, {"x": x}, {"x": y}, metric=lambda out: out[0], sites=["heads", "values", "queries", "keys"])
    for kind in ("heads", "values", "queries"):
        assert one.true(2, kind=kind).measured == pytest.approx(one.true(2, kind=kind).relevance, abs=1e-9)
    keys = one.true(10, kind="keys", places=True)
    assert keys.measured == pytest.approx(keys.relevance, abs=1e-9), "each alone: the softmax is computed again exactly"


# --- circuits ------------------------------------------------------------------------------------------------------------


def test_two_edges_are_the_circuit(loaded):
    """The head before hands the word to the one behind it, which the copying head finds: alone they keep the answer."""
    circuit = found(loaded, without_the_word()).circuit(2)
    places = {(m.attention, m.head, m.source, m.at) for m in circuit.messages}
    first, last = LINE.first + 1, len(LINE.text.split())  # the first token is special
    assert places == {("layer 0", PREVIOUS[1], first, first + 1), ("layer 1", INDUCTION[1], first + 1, last)}
    assert circuit.faithfulness > 0.9
    assert found(loaded, without_the_word()).circuit(1).faithfulness < 0.1


def test_a_circuit_draws_itself_and_is_a_table(loaded):
    circuit = found(loaded).circuit(3)
    assert list(circuit.to_frame()["attention"]) == [m.attention for m in circuit.messages] and len(circuit.messages) == 3
    assert "keep" in repr(circuit) and circuit.messages[0].token in circuit._repr_html_()
    assert circuit.figure().axes


# --- results -------------------------------------------------------------------------------------------------------------


def test_a_patch_is_a_table_a_figure_a_page_and_a_file(loaded, tmp_path):
    one = found(loaded, sites=["heads", "keys"])
    assert len(one.table()) == 16 and set(one.to_frame()["token"]) >= set(LINE.text.split())
    assert one.figure("keys").axes and one.true(4).figure().axes
    page = one.to_html()
    assert (
        page.startswith("<!doctype html>") and "http" not in page.replace("http-equiv", "").replace("www.w3.org", "").split("</style>")[0]
    )
    one.save(tmp_path / "patch.npz")
    again = Patch.load(tmp_path / "patch.npz")
    assert again.table().equals(one.table())
    with pytest.raises(InputError, match="patch\\(model"):
        again.true(3)
    zoo_result = pelrp_nb.exchange(loaded[0], LINE.text, processor=loaded[1])
    zoo_result.save(tmp_path / "exchange.npz")
    with pytest.raises(FileError, match="must hold a patch"):
        Patch.load(tmp_path / "exchange.npz")


def test_what_the_model_prefers_is_asked_of_the_clean_run(loaded):
    one = found(loaded, metric=None)
    assert LINE.answer in one.target and one.corrupt < one.clean


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"corrupt": "sun moon"}, InputError, "same length"),
        ({"corrupt": LINE.text}, InputError, "are the same"),
        ({"metric": lambda out: out.logits[0, -1]}, TargetError, "one number"),
        ({"metric": pelrp_nb.target.every(["sun", "moon"])}, InputError, "one number of the output"),
        ({"metric": pelrp_nb.target.neuron("layer 1", 3)}, InputError, "inside of the model"),
        ({"sites": "mlp"}, InputError, "has no mlp"),
        ({"sites": "head"}, InputError, 'sites="heads"'),
        ({"sites": 3}, InputError, 'sites="heads"'),
        ({"target": "moon"}, CallError, "metric="),
        ({"corrupt": [LINE.corrupt, LINE.corrupt]}, InputError, "one input each"),
    ],
)
def test_what_cannot_be_patched_says_what_to_type(loaded, given, kind, said):
    model, tokenizer = loaded
    given = {"corrupt": LINE.corrupt, "metric": token(LINE.answer), **given}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    with pytest.raises(kind, match=said):
        patch(model, LINE.text, given.pop("corrupt"), processor=tokenizer, **given)
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


def test_a_model_without_attention_has_no_heads():
    model, x = build_position("mamba")
    with pytest.raises(InputError, match="has no attention"):
        patch(model, x, {**x, "input_ids": x["input_ids"] + 1}, metric=last_logit)


def test_scores_of_several_products_have_no_query_of_their_own():
    model, x, other = of_family("deberta")
    with pytest.raises(ModelError, match='sites="heads"'):
        patch(model, x, other, metric=last_logit, sites="queries")
    assert "cannot be told apart" in patch(model, x, other, metric=last_logit).notes[0]


@pytest.mark.parametrize("n", [0, 10_000, 2.5, True])
def test_a_circuit_larger_than_the_model_says_how_large_it_is(loaded, n):
    with pytest.raises(InputError, match="1 to 440 edges"):
        found(loaded).circuit(n)


def test_more_sites_than_memory(loaded, monkeypatch):
    monkeypatch.setenv("PELRP_MEMORY_LIMIT", "1000")
    with pytest.raises(InputError, match="Shorten the texts"):
        found(loaded)


@pytest.mark.parametrize("k", [0, -1, "three", True])
def test_a_number_of_sites_that_is_none(loaded, k):
    with pytest.raises(InputError, match="Type true\\(20\\)"):
        found(loaded).true(k)


def test_the_model_is_as_it_was(loaded):
    model, tokenizer = loaded
    before = {name: x.clone() for name, x in model.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    state = torch.random.get_rng_state()
    with torch.no_grad():
        logits = model(**tokenizer(LINE.text, return_tensors="pt")).logits
        found(loaded, sites="all").true(3)
    with torch.inference_mode():
        found(loaded).circuit(2)
    assert torch.equal(state, torch.random.get_rng_state()) and flags == [(p.requires_grad, p.grad) for p in model.parameters()]
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(**tokenizer(LINE.text, return_tensors="pt")).logits, logits)


def test_frozen_parameters_are_no_obstacle(loaded):
    model, tokenizer = zoo.load(NAME)
    model.double().requires_grad_(False)
    one, other = found((model, tokenizer)), found(loaded)
    assert one.table().equals(other.table())


def test_the_lines_of_the_measurement_are_pairs_of_one_length(loaded):
    for prompt in islice(bench.of_lines(5), 10):
        assert len(prompt.clean.split()) == len(prompt.corrupt.split())
