"""The table of truth: each column computed another way, and what the committed page says about the committed models."""

import json
import re
from pathlib import Path

import pytest
import torch

from pelrp_nb import ATTN_LRP, CP_LRP, PA_LRP, explain, zoo
from pelrp_nb.__main__ import main
from pelrp_nb.errors import FileError
from pelrp_nb.hierarchy import RESAMPLES
from pelrp_nb.zoo import truth, truth_of_seeds, truth_page

PAGE = Path(__file__).parent.parent / "tutorials" / "truth.md"
COMPOSITES = {"AttnLRP": ATTN_LRP, "CP-LRP": CP_LRP}
every_model = pytest.mark.parametrize("name", [f"tasks-{kind}" for kind in truth.POSITIONS])


def batch_of(name: str, kind: str, count: int = 4):
    model, tokenizer = zoo.load(name)
    questions = zoo.task(kind, count=count).examples
    return model, tokenizer, questions, next(truth._batches(model, tokenizer, questions))


@every_model
def test_a_batch_is_its_rows_alone(name):
    """Relevance of every method in one batch is what `explain` finds for each question by itself."""
    model, tokenizer, questions, batch = batch_of(name, "majority", 3)
    found, share = truth.of_batch(model, batch, torch.Generator().manual_seed(0))
    for i, one in enumerate(questions):
        alone = explain(model, one.text, processor=tokenizer, target=one.label)
        for reduction in ("signed", "absolute", "positive", "l2"):
            torch.testing.assert_close(found[f"PA-LRP {reduction}"][i], alone.relevance(reduction), rtol=1e-3, atol=1e-4)
        assert float(share["positional share"][i]) == pytest.approx(alone.positional_share, abs=1e-4)
        for method, composite in COMPOSITES.items():
            other = explain(model, one.text, processor=tokenizer, target=one.label, composite=composite)
            torch.testing.assert_close(found[method][i], other.relevance(), rtol=1e-3, atol=1e-4)


def test_input_times_gradient_is_the_plain_gradient():
    model, _, _, batch = batch_of("tasks-learnable", "recall")
    E = model.get_input_embeddings()(batch.ids).detach().requires_grad_()
    logits = model(inputs_embeds=E, attention_mask=torch.ones_like(batch.ids)).logits
    (g,) = torch.autograd.grad(logits.gather(1, batch.answers[:, None]).sum(), E)
    torch.testing.assert_close(truth.input_times_gradient(model, batch), (E.detach() * g).sum(-1))
    assert not model.get_input_embeddings()._forward_hooks


def test_a_rotation_takes_what_a_factor_of_one_takes():
    """Half of the query-key path, whatever it holds: the control is the sink, token by token."""
    model, _, _, batch = batch_of("tasks-rotary", "order")
    S, P = truth.halves(model, batch)
    _, share = truth.of_batch(model, batch, torch.Generator())
    torch.testing.assert_close(truth._share(S, P), share["positional share"], rtol=1e-3, atol=1e-4)


def test_a_factor_of_one_takes_half_of_what_arrives_and_changes_no_answer():
    model, _, _, batch = batch_of("tasks-none", "recall")
    with torch.no_grad():
        before = model(input_ids=batch.ids).logits
    _, P = truth.halves(model, batch)
    assert float(P.abs().sum()) > 0
    torch.testing.assert_close(model(input_ids=batch.ids).logits, before)
    assert not any(module._forward_hooks for module in model.modules())


def test_misplaced_positions_are_those_of_other_tokens():
    P, g = torch.arange(12.0).reshape(1, 4, 3), torch.ones(1, 4, 3)
    found = truth.misplaced(P, g, 4, torch.Generator().manual_seed(1))
    assert found.shape == (1, 4)
    assert sorted(found[0].tolist()) == P.sum(-1)[0].tolist() != found[0].tolist()


def test_truth_is_words_of_the_question_alone():
    _, tokenizer, questions, batch = batch_of("tasks-none", "recall", 3)
    for ids, counted, true, one in zip(batch.ids, batch.counted, batch.truth, questions, strict=True):
        tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        words = one.text.split()
        assert [t for t, c in zip(tokens, counted, strict=True) if c] == words[1:]
        assert [t for t, c in zip(tokens, true, strict=True) if c] == [words[i] for i in one.truth.tokens]


def test_the_command_prints_writes_and_keeps_prose(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(truth, "POSITIONS", ("none", "rotary"))
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    page.write_text(f"# Mine\n\nbefore\n{truth_page.BEGIN}\nold\n{truth_page.END}\nafter\n")
    assert main(["zoo", "truth", "--limit", "6", "--markdown", str(page), "--json", str(numbers)]) == 0
    text, shown = page.read_text(), capsys.readouterr().out
    assert "| order | rotary |" in text and "| order | none |" not in text and "old" not in text
    assert text.startswith("# Mine\n\nbefore\n") and text.endswith("\nafter\n") and "| recall | none |" in shown
    rows = json.loads(numbers.read_text())
    assert {(row["task"], row["positions"]) for row in rows} >= {("recall", "none"), ("order", "rotary")}
    assert all(0 <= mean <= 1 for row in rows for mean, _ in (*row["mass"].values(), *row["share"].values()))


def test_several_seeds_are_one_row_counted_by_size_and_by_what_is_positive(tmp_path, monkeypatch, capsys):
    """The package's own weights stand for a second seed: the two agree, so the interval of every mean is a point."""
    monkeypatch.setattr(truth_of_seeds, "POSITIONS", {"rotary": "rotary"})
    monkeypatch.setattr(truth_of_seeds, "KINDS", ("order", "majority"))
    monkeypatch.setattr(truth_of_seeds, "models", lambda seeds, name: [(seed, *zoo.load(name)) for seed in (0, 1)])
    page = tmp_path / "page.md"
    page.write_text(f"before\n{truth_of_seeds.BEGIN}\nold\n{truth_of_seeds.END}\nafter\n")
    assert main(["zoo", "truth", "--seeds", str(tmp_path), "--limit", "6", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert text in f"before\n{truth_of_seeds.BEGIN}\n{capsys.readouterr().out}{truth_of_seeds.END}\nafter\n"
    tables = [text.split(f"### Mass by {how}")[1] for how in truth_of_seeds.HOW]
    cells = [re.search(r"\| order \| rotary \| 2 \| (\S+) \[(\S+), (\S+)\]", some).groups() for some in tables]
    assert all(mean == low == high for mean, low, high in cells)
    model, tokenizer = zoo.load("tasks-rotary")
    sizes, positive, _ = truth.each(model, tokenizer, zoo.task("order", count=6).examples)
    assert [mean for mean, _, _ in cells] == [f"{found['PA-LRP signed'].mean():.2f}" for found in (sizes, positive)]
    assert "| yes | size | PA-LRP signed |" in text and "| no | what is positive | PA-LRP l2 |" in text


def test_seeds_that_are_not_there_say_how_to_train_them(tmp_path, capsys):
    assert main(["zoo", "truth", "--seeds", str(tmp_path / "none")]) == 2
    assert "zoo seeds --out" in capsys.readouterr().err


def test_wrong_pages_and_limits_are_refused(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(FileError, match="must have the lines"):
        truth_page.write([], page)
    assert main(["zoo", "truth", "--limit", "0"]) == 2 and "at least one example" in capsys.readouterr().err


def test_the_committed_page_is_of_these_models():
    """A few cells of tutorials/truth.md measured again, on the first of its questions."""
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w-]+ \| [\w ]+) \| ([\d. |-]+) \|$", text.split("## Positional share")[0], re.M))
    assert len(rows) == sum(len(zoo.card(f"tasks-{kind}")["solves"]) for kind in truth.POSITIONS)
    for positions, kind in (("rotary", "fetch"), ("learnable", "previous")):
        model, tokenizer = zoo.load(f"tasks-{positions}")
        _, mass, _ = truth.measured(model, tokenizer, zoo.task(kind, count=40).examples)
        stated = [float(cell) for cell in rows[f"{kind} | {positions}"].split(" | ")]
        for method, value in zip(truth.METHODS, stated, strict=True):
            assert mass[method][0] == pytest.approx(value, abs=5 * mass[method][1] + 0.01), (kind, positions, method)


def test_a_reader_is_told_what_it_means():
    text = PAGE.read_text(encoding="utf-8")
    assert all(word in text for word in ("fetch", "order", "previous", "recall", "majority", PA_LRP.positions))


def test_what_is_said_over_seeds_stands_in_its_table():
    text = PAGE.read_text(encoding="utf-8")
    table = text.split(truth_of_seeds.BEGIN)[1].split(truth_of_seeds.END)[0]
    rows = re.findall(r"^\| (yes|no) \| ([\w ]+) \| (PA-LRP \w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) more, (\d+) less \|$", table, re.M)
    counted = {row[:3]: tuple(map(int, row[3:])) for row in rows}
    (more, less, neither, *_), *rest = {counted["yes", how, "PA-LRP signed"] for how in truth_of_seeds.HOW}
    said = " ".join(text.split())
    assert not rest and f"than AttnLRP in {more} and less in {less}, by size as by what is positive; in {neither} no difference" in said
    all_of_them = sum(sum(row[:3]) for row in counted.values())
    assert f"over all {all_of_them} comparisons can leave none" in said and all_of_them / (RESAMPLES + 1) > 0.05
    assert not any(sum(row[3:]) for row in counted.values())
