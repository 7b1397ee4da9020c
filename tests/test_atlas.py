"""Every kind of position, on every family of models: a cross-section of the atlas, and the atlas as a tool."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import time
from copy import deepcopy

import pytest
import torch
from torch import nn

from pelrp_nb.__main__ import main
from pelrp_nb.atlas import build, command, pool, table, trial
from pelrp_nb.atlas.expected import CHANGED, EXCUSED, WITHOUT, missing
from pelrp_nb.atlas.names import KINDS, MAIN, OPTIONS, Entry, choose, listed
from pelrp_nb.atlas.recipes import Recipe
from pelrp_nb.atlas.shrink import shrink
from pelrp_nb.atlas.state import differences, snapshot
from pelrp_nb.atlas.table import page as page_of
from pelrp_nb.atlas.verdict import VERDICTS, counts, nothing_kept, verdict
from pelrp_nb.atlas.weights import randomise
from pelrp_nb.errors import FileError, InputError

ROTARY, TABLE, NONE = {"rotary": 2}, {"learnable": 1}, {}
# kind, then model type (with an option where the default has another kind of position) -> the sinks there must be
CROSS_SECTION = {
    "causal-lm": {
        "llama": ROTARY, "mistral": ROTARY, "qwen2": ROTARY, "qwen3": ROTARY, "gemma": ROTARY, "gemma2": ROTARY, "gemma3": ROTARY,
        "phi": ROTARY, "phi3": ROTARY, "olmo2": ROTARY, "granite": ROTARY, "cohere": ROTARY, "stablelm": ROTARY, "starcoder2": ROTARY,
        "smollm3": {"rotary": 1}, "glm": ROTARY, "gpt_neox": ROTARY, "gptj": ROTARY, "codegen": ROTARY, "gpt2": TABLE, "opt": TABLE,
        "bloom": {"alibi": 2}, "mpt": {"alibi": 2}, "falcon": ROTARY, "falcon/alibi": {"alibi": 2}, "mixtral": ROTARY,
        "qwen3_moe": ROTARY, "gpt_oss": ROTARY, "olmoe": ROTARY, "mamba": NONE,
    },
    "masked-lm": {
        "bert": TABLE, "roberta": TABLE, "distilbert": TABLE, "distilbert/sinusoidal_pos_embds": {"absolute": 1}, "albert": TABLE,
        "electra": TABLE, "deberta-v2": TABLE, "deberta-v2/relative_attention": {"relative embedding": 2}, "modernbert": ROTARY,
        "esm": TABLE, "esm/position_embedding_type": ROTARY, "roformer": ROTARY, "mpnet": {"learnable": 1, "relative bias": 2},
        "eurobert": ROTARY,
    },
    "seq2seq": {"t5": {"relative bias": 4}, "bart": {"learnable": 2}},
    "speech": {"whisper": {"absolute": 1, "learnable": 1}},
    "image": {
        "vit": TABLE, "deit": TABLE, "dinov2": TABLE, "beit/use_relative_position_bias": {"relative bias": 2},
        "beit/use_absolute_position_embeddings": TABLE, "swin": {"relative bias": 8}, "clip": TABLE, "siglip": TABLE, "convnext": NONE,
    },
    "tower": {"clip": {"learnable": 2}, "clip_text_model": TABLE, "siglip_text_model": TABLE, "dinov3_vit": ROTARY},
}  # fmt: skip
CASES = [(kind, name, sinks) for kind, cases in CROSS_SECTION.items() for name, sinks in cases.items()]


def entry(kind: str, name: str) -> Entry:
    """The first class of that name, with the option behind the slash."""
    name, _, option = name.partition("/")
    return next(e for e in choose([name], [kind]) if e.option == option)


@pytest.mark.parametrize(("kind", "name", "sinks"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_positions_close_the_ledger(kind, name, sinks):
    row = trial.run(entry(kind, name), ("float64",))
    assert verdict(row) == ("closed", "")
    assert row["runs"]["float64"]["sinks"] == sinks


@pytest.fixture(scope="module")
def row() -> dict:
    """A row of the atlas in both precisions."""
    return trial.run(entry("causal-lm", "llama"))


def test_a_row_says_what_was_done(row):
    assert (row["outcome"], row["recipe"], row["inputs"]) == ("built", "small", ["input_ids"])
    assert row["parameters"] < 1e6 and row["seconds"] > 0
    for dtype, tolerance in (("float64", 1e-6), ("float32", 1e-3)):
        run = row["runs"][dtype]
        assert run["audited"] and not run["changed"] and run["difference"] == 0
        assert abs(run["gap"]) <= tolerance * run["scale"] and abs(run["positional"]) > 1e-3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"gap": 1.0}, "gap of"),
        ({"gap": float("nan")}, "gap of"),
        ({"difference": 1e-3}, "forward differs"),
        ({"audited": False}, "not audited"),
        ({"changed": ["hooks"]}, "not as before in float64: hooks"),
        ({"sinks": {}}, "no sink for rotary"),
        ({"sinks": {"learnable": 2}}, "no sink for rotary"),
    ],
)
def test_each_fault_opens_a_row(row, fault, said):
    worse = deepcopy(row)
    worse["runs"]["float64"].update(fault)
    name, why = verdict(worse)
    assert name == "open" and said in why
    assert counts([row, worse])["closed"] == 1


def test_what_delta_attention_promises_is_counted(row):
    none = deepcopy(row)
    for run in none["runs"].values():
        run["softmax"] = 0.0
    bare = deepcopy(none) | {"name": "convnext", "announced": {}}
    for run in bare["runs"].values():
        run["sinks"] = {}
    assert nothing_kept([row, none, bare]) == "2 closed with nothing kept by a softmax, 1 of them with positions"


DELTA = {"causal-lm": ["llama", "gptj", "bloom", "gpt_oss"], "masked-lm": ["mpnet", "deberta-v2/relative_attention"], "seq2seq": ["t5"]}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in DELTA.items() for name in names])
def test_delta_attention_closes_and_no_softmax_keeps_anything(kind, name):
    """A dose of `python -m pelrp_nb atlas --method delta-lrp NAME ...`."""
    told = trial.run(entry(kind, name), ("float64",), "delta-lrp")
    assert verdict(told) == ("closed", "") and nothing_kept([told]).startswith("1 closed with nothing kept by a softmax, 1 ")


def test_no_positions_must_be_known(row):
    nameless = {**row, "announced": {}}
    assert missing(nameless, {}) == "no positions found, and it is not known to have none"
    assert missing({**nameless, "name": "convnext"}, {}) == ""


def test_exceptions_are_listed_names():
    known = {e.name for kind in KINDS for e in listed(kind)}
    assert {*WITHOUT, *OPTIONS, *(name.partition("/")[0] for name in EXCUSED)} <= known


def test_every_name_of_the_library_is_listed():
    """The denominator: all names of the four auto classes, with every class of theirs; options come on top."""
    from transformers.models.auto import modeling_auto

    for kind in MAIN:
        plain = {(e.name, e.model) for e in listed(kind) if not e.option}
        mapping = getattr(modeling_auto, KINDS[kind])
        assert plain == {(name, m) for name, ms in mapping.items() for m in ([ms] if isinstance(ms, str) else ms)}


def test_a_failing_build_shows_its_reason(monkeypatch):
    monkeypatch.setattr(build, "RECIPES", (Recipe("no heads", alter={"heads": 0}), Recipe("nothing left", alter={"width": -7})))
    row = trial.run(entry("causal-lm", "llama"))
    assert row["outcome"] == "not built" and "Error" in row["reason"] and "; else " in row["reason"]
    assert verdict(row) == ("not built", row["reason"])
    page = table.page([row], {})
    assert "| not built | 1 | 1 |" in page and "`llama` (LlamaForCausalLM) not built: " in page


def test_a_refusal_names_the_operation():
    name, why = verdict(trial.run(entry("masked-lm", "yoso"), ("float64",)))
    assert name == "refused" and "No rule for `YosoCumulationBackward`" in why


def at_work(entry: Entry, target, *args) -> pool.Job:
    """A process of the pool that does something else."""
    here, there = mp.Pipe(duplex=False)
    process = mp.get_context("spawn").Process(target=target, args=args, daemon=True)
    process.start()
    there.close()
    return pool.Job(entry, process, here, time.monotonic())


def ended(job: pool.Job, limit: float) -> dict:
    """Its row, as soon as there is one."""
    while (row := pool.finished(job, limit)) is None:
        time.sleep(0.05)
    return row


def test_a_crash_loses_one_row():
    row = ended(at_work(entry("causal-lm", "llama"), os._exit, 3), 120)
    assert verdict(row) == ("lost", "its process ended with status 3")


def test_a_hang_loses_one_row():
    job = at_work(entry("causal-lm", "llama"), time.sleep, 600)
    job.answer, _open = mp.Pipe(duplex=False)
    assert verdict(ended(job, 0.2)) == ("lost", "it took more than 0 s")
    assert not job.process.is_alive()


@pytest.fixture
def stage(monkeypatch, row):
    """The command without processes: each entry gets llama's row; the entries that were run."""
    ran: list[Entry] = []

    def rows(entries, jobs, limit, method):
        for e in entries:
            ran.append(e)
            yield {**row, "kind": e.kind, "name": e.name, "model": e.model, "option": e.option}

    monkeypatch.setattr(pool, "rows", rows)
    return ran


def test_one_name_is_run_again_and_replaces_its_row(stage, tmp_path, capsys):
    file, page = tmp_path / "atlas.jsonl", tmp_path / "atlas.md"
    assert main(["atlas", "llama", "mistral", "--json", str(file)]) == 0
    first = command.read(file)
    assert main(["atlas", "llama", "--json", str(file), "--out", str(page)]) == 0
    assert [e.name for e in stage] == ["llama", "mistral", "llama"]
    assert list(first) == list(command.read(file)) == ["causal-lm/llama/LlamaForCausalLM", "causal-lm/mistral/MistralForCausalLM"]
    text = page.read_text(encoding="utf-8")
    assert "| listed | 2 | 2 |" in text and "| mistral | MistralForCausalLM | input_ids | closed | rotary x 2 | equal |" in text
    assert "closed     rotary x 2" in capsys.readouterr().out


def test_an_interrupted_run_resumes(stage, tmp_path):
    file, names = tmp_path / "atlas.jsonl", ["llama", "mistral", "qwen2"]
    assert main(["atlas", *names, "--limit", "2", "--json", str(file)]) == 0
    assert main(["atlas", *names, "--json", str(file), "--resume"]) == 0
    assert [e.name for e in stage] == names
    assert len(command.read(file)) == 3


def test_options_are_extra_rows_outside_the_counts(stage, tmp_path):
    page = tmp_path / "atlas.md"
    assert main(["atlas", "falcon", "--out", str(page)]) == 0
    assert [e.option for e in stage] == ["", "alibi"]
    text = page.read_text(encoding="utf-8")
    assert "| listed | 1 | 1 |" in text and "| falcon (alibi) |" in text


def test_an_unknown_name_suggests_the_nearest(capsys):
    assert main(["atlas", "lama"]) == 2
    assert "Did you mean llama" in capsys.readouterr().err
    with pytest.raises(InputError, match="xglm"):
        choose(["xglmm"], ["causal-lm"])


@pytest.mark.parametrize("options", [["--resume"], ["--jobs", "0"], ["--seconds", "-1"], ["--limit", "0"]])
def test_options_that_make_no_sense_are_refused(options, capsys):
    assert main(["atlas", "llama", *options]) == 2
    assert "Type " in capsys.readouterr().err


def paged(path, rows, **changed):
    """A page of these rows, some fields of the first run of the last row changed."""
    rows = deepcopy(rows)
    rows[-1]["runs"]["float64"].update(changed)
    path.write_text(page_of(rows, {}), encoding="utf-8")
    return str(path)


def test_two_pages_are_compared(row, tmp_path, capsys):
    beam = {**row, "name": "beam", "model": "BeamForCausalLM"}
    old = paged(tmp_path / "old.md", [row, beam])
    assert main(["atlas", "--compare", old, old]) == 0 and capsys.readouterr().out == "nothing differs\n"
    other = paged(tmp_path / "other.md", [row, beam], sinks={"rotary": 2, "modulation": 1})
    assert main(["atlas", "--compare", old, other]) == 0
    assert capsys.readouterr().out.startswith(
        "beam (causal-lm, BeamForCausalLM): rotary x 2, now rotary x 2, modulation x 1: its layers without rotation scale"
    )
    worse = paged(tmp_path / "worse.md", [row, {**row, "name": "mistral"}], gap=1.0)
    assert main(["atlas", "--compare", old, worse]) == 1
    assert "beam (causal-lm, BeamForCausalLM): closed, now not listed" in capsys.readouterr().out
    assert main(["atlas", "--compare", worse, old]) == 0, "what is won is no loss"
    assert main(["atlas", "--compare", old, str(tmp_path / "none.md")]) == 2
    (tmp_path / "other.txt").write_text("| a | b |", encoding="utf-8")
    assert main(["atlas", "--compare", str(tmp_path / "other.txt"), old]) == 2
    assert "Type --compare OLD.md NEW.md" in capsys.readouterr().err


def test_the_page_says_what_is_found_otherwise_than_before_and_nothing_else(row):
    beam = {**row, "name": "beam", "model": "BeamForCausalLM"}
    assert f"- `beam` (causal-lm): {CHANGED['causal-lm/beam']}" in page_of([row, beam], {})
    assert "otherwise" not in page_of([row], {})
    assert set(CHANGED) <= {f"{kind}/{e.name}" for kind in KINDS for e in listed(kind)}


def test_a_gap_that_the_ledger_measured_to_be_rounding_is_closed(row):
    run = {**row["runs"]["float64"], "gap": 2e-6, "scale": 1.0}
    parts = {**row, "runs": {**row["runs"], "float64": run}}
    assert verdict({**parts, "runs": {**row["runs"], "float64": {**run, "allowed": 1e-6}}})[0] == "open"
    assert verdict({**parts, "runs": {**row["runs"], "float64": {**run, "allowed": 3e-6}}})[0] == "closed"


def test_a_foreign_file_is_refused(tmp_path):
    foreign = tmp_path / "notes.json"
    foreign.write_text('{"name": 1}\n', encoding="utf-8")
    with pytest.raises(FileError, match="rows of the atlas"):
        command.read(foreign)


def test_the_whole_way(tmp_path, capfd):
    """Real processes, a file of rows, a page."""
    file, page = tmp_path / "atlas.jsonl", tmp_path / "atlas.md"
    arguments = ["atlas", "gpt2", "--class", "causal-lm", "--json", str(file), "--out", str(page), "--jobs", "1", "--seconds", "500"]
    assert main(arguments) == 0
    (row,) = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    assert verdict(row) == ("closed", "") and list(row["runs"]) == ["float64", "float32"]
    assert all(f"**{name}**" in page.read_text(encoding="utf-8") for name in VERDICTS)
    assert "1 listed; 1 built; 1 closed" in capfd.readouterr().out


# --- small configurations, random weights, what must be as before -----------------------------------------------------


def test_every_kind_of_layer_stays():
    import transformers

    small = shrink(transformers.Gemma3nTextConfig())
    assert set(small.layer_types) == {"sliding_attention", "full_attention"}
    assert small.num_hidden_layers == len(small.layer_types) == len(small.activation_sparsity_pattern) <= 6
    assert 0 < small.num_kv_shared_layers < small.num_hidden_layers
    assert small.hidden_size <= 64 and small.vocab_size == 128


def test_widths_that_were_equal_stay_equal():
    import transformers

    small = shrink(transformers.BltConfig())
    assert small.encoder_config.hidden_size_global == small.global_config.hidden_size == small.decoder_config.hidden_size_global
    falcon = shrink(transformers.FalconH1Config())
    assert falcon.mamba_d_ssm == falcon.mamba_n_heads * falcon.mamba_d_head


def test_weights_make_the_ledger_fail_if_it_can():
    """Biases of about 0.05, variance 1 / fan in, sharp queries; sinusoids stay."""
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    config = DistilBertConfig(dim=64, n_heads=4, n_layers=1, hidden_dim=256, vocab_size=128, sinusoidal_pos_embds=True)
    model = DistilBertForMaskedLM(config)
    sinusoids = model.distilbert.embeddings.position_embeddings.weight
    before = sinusoids.clone()
    layer = randomise(model).distilbert.transformer.layer[0]
    assert torch.equal(before, sinusoids) and not model.training
    assert 0.03 < layer.ffn.lin1.bias.std() < 0.07
    assert 0.9 < layer.ffn.lin1.weight.std() * 64**0.5 < 1.1 and 1.8 < layer.attention.q_lin.weight.std() * 64**0.5 < 2.2
    assert 0.8 < layer.sa_layer_norm.weight.mean() < 1.2


CHANGES = {
    "parameters": lambda m: m.weight.data.add_(1),
    "buffers": lambda m: m.kept.add_(1),
    "requires_grad": lambda m: m.weight.requires_grad_(False),
    "gradients": lambda m: setattr(m.weight, "grad", torch.ones_like(m.weight)),
    "hooks": lambda m: m.register_forward_hook(lambda *_: None),
    "training flags": lambda m: m.train(),
    "attributes": lambda m: setattr(m, "more", 1),
    "notes on tensors": lambda m: setattr(m.weight, "note", 1),
    "random state": lambda m: torch.rand(1),
    "gradient mode": lambda m: torch.set_grad_enabled(False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changes_is_noticed(what):
    model = nn.Linear(2, 2).eval()
    model.register_buffer("kept", torch.zeros(2))
    before = snapshot(model, {})
    assert differences(before, snapshot(model, {})) == []
    try:
        CHANGES[what](model)
        assert what in differences(before, snapshot(model, {}))
    finally:
        torch.set_grad_enabled(True)


def test_a_trial_leaves_no_trace_in_its_process(row):
    import warnings

    from transformers import logging

    before = (torch.get_rng_state(), logging.get_verbosity(), list(warnings.filters), torch.get_num_threads())
    trial.run(entry("causal-lm", "llama"), ("float32",))
    after = (torch.get_rng_state(), logging.get_verbosity(), list(warnings.filters), torch.get_num_threads())
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
