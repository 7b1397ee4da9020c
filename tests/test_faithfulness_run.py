"""Runs that are interrupted, spread, refused or fail: the numbers stay the same, and nothing is lost or counted twice."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pelrp_nb.__main__ as command_line
from pelrp_nb import zoo
from pelrp_nb.errors import FileError, InputError
from pelrp_nb.faithfulness import Configuration, Example, Output, load, measure
from pelrp_nb.faithfulness.bench import line

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = Configuration(methods=("random", "input-x-gradient"), protocols=("gain", "positions"), together=2)


@pytest.fixture(scope="module")
def model():
    return zoo.load("reviews-rotary")


@pytest.fixture(scope="module")
def examples():
    return list(load("reviews", 7))


def outside(*command: str, folder: Path, **more: str) -> subprocess.CompletedProcess:
    """A command in a process of its own, offline and with as many threads as here: with more, sums have another order."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(torch.get_num_threads()))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **threads, **more}
    env.pop("PYTHONWARNINGS", None)
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=folder, env=env, timeout=400)


def test_a_killed_run_resumed_gives_the_same_table(tmp_path):
    """SIGKILL at three random moments; `python tests/kill_and_resume.py FOLDER 10` does ten."""
    done = outside(str(ROOT / "tests" / "kill_and_resume.py"), str(tmp_path), "3", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) >= 1


def test_two_processes_give_the_table_of_one(tmp_path, model, examples):
    """The file and the table are those of one process, to the last digit. (`accelerate launch --cpu` starts one; torchrun two.)"""
    pytest.importorskip("accelerate")
    plain = {**SETTINGS.plain(), "limit": 7, "quiet": True, "results": "run.jsonl", "json": "out.json"}
    (tmp_path / "run.json").write_text(json.dumps(plain))
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = outside(*launch, "-m", "pelrp_nb.faithfulness", "run.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = measure(*model, examples, Configuration(**{**SETTINGS.__dict__, "limit": 7}))
    assert json.loads((tmp_path / "out.json").read_text()) == alone.rows()
    lines = [json.loads(row) for row in (tmp_path / "run.jsonl").read_text().splitlines()[1:]]
    assert sorted(row["index"] for row in lines) == list(range(7))
    part = [json.loads(row)["index"] for row in (tmp_path / "run.jsonl.1").read_text().splitlines()[1:]]
    assert part == [2, 3, 6]  # the groups of two in turn: 0 1, 2 3, 4 5, 6


def test_a_run_goes_on_where_it_stopped(tmp_path, model, examples):
    """A torn last line is done again, a whole one is not; the file ends as if nothing had happened."""
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    result = measure(*model, examples, SETTINGS, output=Output(whole))
    text = whole.read_text()
    cut = text.index("\n", text.index('"index": 3')) - 40
    torn.write_text(text[:cut])
    calls = []

    def counting(asked, here):
        calls.append(here.index)
        return torch.zeros(len(here.tokens))

    again = measure(*model, examples, SETTINGS, output=Output(torn, "resume"))
    assert torn.read_text() == text and again.rows() == result.rows()
    measure(*model, examples, SETTINGS, methods={"mine": counting}, output=Output(tmp_path / "own.jsonl"))
    measure(*model, examples, SETTINGS, methods={"mine": counting}, output=Output(tmp_path / "own.jsonl", "resume"))
    assert calls == list(range(7))


def test_the_numbers_do_not_depend_on_company(model, examples):
    """Alone, together, in larger batches: equal up to rounding; in another order, example by example."""
    one = measure(*model, examples[:3], SETTINGS)
    other = measure(*model, examples[:3], Configuration(**{**SETTINGS.__dict__, "together": 1, "batch": 7}))
    for a, b in zip(one.rows(), other.rows(), strict=True):
        assert a["mean"] == pytest.approx(b["mean"], abs=1e-5)
    assert [r["relevance"]["random"] for r in one.records] == [r["relevance"]["random"] for r in other.records]


@pytest.mark.parametrize("changed", [{"seed": 1}, {"methods": ("random",)}, {"together": 3}])
def test_a_file_of_another_configuration_is_refused(changed, tmp_path, model, examples):
    path = tmp_path / "run.jsonl"
    measure(*model, examples[:2], SETTINGS, output=Output(path))
    before = path.read_bytes()
    with pytest.raises(FileError, match=f"never mixed.*{next(iter(changed))}"):
        measure(*model, examples[:2], Configuration(**{**SETTINGS.__dict__, **changed}), output=Output(path, "resume"))
    assert path.read_bytes() == before


def test_other_weights_other_data_and_foreign_files_are_refused(tmp_path, model, examples):
    path = tmp_path / "run.jsonl"
    measure(*model, examples[:2], SETTINGS, output=Output(path))
    other, tokenizer = zoo.load("reviews-learnable")
    with pytest.raises(FileError, match="weights"):
        measure(other, tokenizer, examples[:2], SETTINGS, output=Output(path, "resume"))
    with pytest.raises(InputError, match="data have changed"):
        measure(*model, examples[1:3], SETTINGS, output=Output(path, "resume"))
    with pytest.raises(FileError, match="--resume"):
        measure(*model, examples[:2], SETTINGS, output=Output(path))
    for text in ("no JSON\n", '{"format": "other"}\n', "[]\n"):
        path.write_text(text)
        with pytest.raises(FileError):
            measure(*model, examples[:2], SETTINGS, output=Output(path, "resume"))
    for where in (tmp_path, tmp_path / "nowhere" / "run.jsonl"):
        with pytest.raises(FileError, match="folder"):
            measure(*model, examples[:1], SETTINGS, output=Output(where))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said(model, examples):
    with pytest.raises(FileError, match=r"No space left.*--resume"):
        measure(*model, examples[:1], SETTINGS, output=Output("/dev/full"))


def test_a_disk_that_fills_up_loses_nothing(tmp_path, model, examples):
    """A limit on the size of files is met in the middle of a line: the lines before stand whole, and the run goes on from them."""
    resource = pytest.importorskip("resource")
    path, whole = tmp_path / "run.jsonl", tmp_path / "whole.jsonl"
    measure(*model, examples, SETTINGS, output=Output(whole))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size * 2 // 3, before[1]))
    try:
        with pytest.raises(FileError, match="safe in it"):
            measure(*model, examples, SETTINGS, output=Output(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = path.read_text()
    assert kept.endswith("\n") and whole.read_text().startswith(kept) and kept.count("\n") > 2
    measure(*model, examples, SETTINGS, output=Output(path, "resume"))
    assert path.read_text() == whole.read_text()


def test_data_that_allow_nothing_are_refused(model):
    with pytest.raises(InputError, match="at least one example"):
        measure(*model, [], SETTINGS)
    for protocol, said in {"truth": "--columns truth", "segmentation": "mask", "perturbation": "texts", "gian": "gain"}.items():
        with pytest.raises(InputError, match=said):
            measure(*model, [Example("fine")], Configuration(protocols=(protocol,)))


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_json_table_and_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["faithfulness", "--limit", "3", "--methods", "random,attn-lrp,pa-lrp-signed", "--set", "statistics.least=3"]
    command = [*common, "--json", "out.json", "--table", "out.md", "--report", "out.html"]
    assert command_line.main(command) == 0
    shown = capsys.readouterr().out
    assert "symmetric-relevance-gain" in shown and "text.replacement = unknown" in shown and "n = 3 examples" in shown
    rows = json.loads((tmp_path / "out.json").read_text())
    assert {row["method"] for row in rows} == {"random", "attn-lrp", "pa-lrp-signed"}
    assert {"symmetric-relevance-gain", "pruning-au-ac"} <= {row["measure"] for row in rows}
    page = (tmp_path / "out.html").read_text()
    assert page.count("<iframe") == 6 and "data:image/svg+xml" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)", re.sub(r'srcdoc="[^"]*"', "", page))
    for row in rows:
        if row["measure"] == "pruning-au-ac":
            assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in html.unescape(page)
    assert command_line.main([*command, "--resume"]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert command_line.main([*command, "--resume", "--seed", "1"]) == 2
    assert "never mixed" in capsys.readouterr().err


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["faithfulness", "--limit", "9", "--methods", "random", "--dry-run", "--report", "out.html"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"One example takes [\d.]+ s on cpu; 9 take about", shown) and "measures = symmetric-relevance-gain" in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--methods", "atn-lrp"], "Did you mean attn-lrp"),
        (["--data", "reviws"], "reviews"),
        (["--model", "reviews-rotery"], "reviews-rotary"),
        (["--protocols", "gian"], "Did you mean gain"),
        (["--columns", "text"], "NAME=VALUE"),
        (["--set", "text.sing=absolute"], "Did you mean 'sign'"),
        (["--table", "out.doc", "--limit", "1"], ".md, .tex"),
        (["--resume"], "--results FILE"),
        (["--config", "nowhere.json"], "nowhere.json"),
        (["--limit", "0"], "limit"),
    ],
)
def test_bad_options_say_what_to_type(more, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["faithfulness", *more]) == 2
    assert said in capsys.readouterr().err


def test_the_help_has_examples_that_parse(capsys):
    import shlex

    with pytest.raises(SystemExit):
        command_line.main(["faithfulness", "--help"])
    shown = capsys.readouterr().out.split("examples:")[1]
    for typed in (text.strip() for text in shown.splitlines() if text.strip()):
        command_line.parser().parse_args(shlex.split(typed)[3:])


def test_batches_are_faster_and_cost_is_a_line(capsys):
    """The ratio of the benchmark, on few examples; the number for the README is measured by the command itself."""
    assert command_line.main(["bench", "faithfulness", "--rounds", "1", "--examples", "2", "--threads", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["ratio"] > 2 and found["seconds_per_example"] > 0
    assert line([1, 2, 3], [3.0, 5.0, 7.0]) == pytest.approx((2.0, 1.0, 1.0))
