"""The command line: what a process of its own can show is shown there, the rest by calling what the process calls."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import pelrp_nb.__main__ as command_line
from pelrp_nb import Exchange, Patch, doctor, ledger, zoo
from pelrp_nb.doctor import version

ROOT = Path(__file__).resolve().parent.parent
TEXT = "a gorgeous , witty film"
ESCAPE = "\x1b["


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`pelrp_nb ...` in an empty folder, called here: loading torch and transformers again for each command takes seconds."""

    def run(*args: str, stdin: bytes = b"") -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        try:
            status = command_line.main(args)
        except SystemExit as end:  # of argparse
            status = int(end.code)
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def outside(tmp_path):
    """Run `python -m pelrp_nb ...` as a person does: a process in an empty folder, offline; standard input as bytes."""

    def outside(*args: str, stdin: bytes = b"", **more: str) -> Done:
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "PYTHONWARNINGS")}
        env = kept | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}
        command = [sys.executable, "-m", "pelrp_nb", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=env, timeout=300)
        return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))

    return outside


@pytest.mark.parametrize("command", ["", "explain", "exchange", "patch", "plan", "zoo", "bench", "doctor"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert f"python -m pelrp_nb {command}".strip() in shown.split("examples:")[1]


def test_examples_in_the_help_parse():
    """What the help shows can be typed."""
    import shlex

    pages = (command_line.EXPLAIN, command_line.PLAN, command_line.ZOO, command_line.BENCH, command_line.DOCTOR)
    lines = [line.strip() for page in pages for line in page.splitlines()[1:]]
    for line in lines:
        words = shlex.split(re.split(r" < | && ", line)[0])
        assert words[:3] == ["python", "-m", "pelrp_nb"]
        if "--help" not in words:
            command_line.parser().parse_args(words[3:])


def test_json_is_the_whole_result_of_a_text_from_standard_input(outside):
    done = outside("explain", "-", "--audit", "--json", stdin="  ein schöner , witty film \n".encode())
    assert done.status == 0, done.err
    found = json.loads(done.out)
    T = len(found["tokens"])
    assert found["target"] == "positive" and found["card"]["text"] == "ein schöner , witty film"
    assert len(found["semantic"]) == T and all(len(row) == T for row in found["positional"])
    assert len(found["sinks"]) == len(found["positional"]) == 4
    assert set(found["relevance"]) == {"signed", "absolute", "positive", "l2"}
    ledger = found["ledger"]
    assert ledger["closed"] is True and ledger["audited"] is True
    kept = ledger["tokens"] + ledger["positions"] + ledger["stabilisers"] + sum(ledger["constants"].values())
    assert kept + sum(ledger["softmax"].values()) == pytest.approx(found["value"], abs=1e-4)
    signed = sum(found["relevance"]["signed"])
    assert signed == pytest.approx(ledger["tokens"] + ledger["positions"], abs=1e-4)


def test_the_exit_status_tells_an_open_ledger_from_one_that_cannot_tell(run, monkeypatch):
    assert run("explain", TEXT).status == 0
    monkeypatch.setattr(ledger, "TELLS", 1e-12)
    done = run("explain", TEXT)
    assert done.status == 3 and "ledger cannot tell in float32" in done.out
    monkeypatch.setattr(ledger.Ledger, "allowed", property(lambda self: 0.0))
    done = run("explain", TEXT)
    assert done.status == 1 and "ledger open at" in done.out


def test_json_is_what_python_gives(run):
    from pelrp_nb import CP_LRP, explain

    done = run("explain", TEXT, "--method", "cp-lrp", "--target", "positive", "--contrast", "0", "--json")
    model, processor = zoo.load("reviews-rotary")
    found = explain(model, TEXT, processor=processor, target="positive", contrast=0, composite=CP_LRP)
    assert json.loads(done.out)["semantic"] == pytest.approx(found.semantic.tolist(), abs=1e-5)
    assert json.loads(done.out)["target"] == found.target


def test_piped_output_is_plain_and_whole(run):
    done = run("explain", "a " + "very " * 40 + "long film", "--audit")
    assert done.status == 0 and ESCAPE not in done.out
    rows = re.findall(r"^very +[+-]\d", done.out, re.M)
    assert len(rows) == 40
    assert "ledger closed" in done.out and "layer 3 rotary" in done.out


def test_terminal_output_is_coloured_and_says_the_same(run, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    plain = run("explain", TEXT)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = run("explain", TEXT)
    assert ESCAPE in coloured.out
    stripped = re.sub(r"\x1b\[[\d;]*m", "", coloured.out)
    assert [*filter(str.strip, plain.out.splitlines())][-1].strip() in stripped
    for word in TEXT.split():
        assert stripped.count(word) == plain.out.count(word) + 1  # the strip of tokens stands above the table


def test_hostile_tokens_are_shown_and_not_obeyed():
    """Rich would read `[red]` as a colour, and a terminal ESC as an order."""
    from io import StringIO

    from rich.console import Console

    from pelrp_nb import explain
    from pelrp_nb.views.terminal import show

    model, processor = zoo.load("reviews-rotary")
    data = explain(model, TEXT, processor=processor).plain()
    hostile = ["[red]", "\x1b[31m", "[/]", "a\rb", "\u202eback", "[link=x]"]
    data["tokens"][: len(hostile)] = hostile
    console = Console(file=StringIO(), width=200)
    show(data, console)
    shown = console.file.getvalue()
    assert all(text in shown for text in ("[red]", "[/]", "[link=x]", "U+001B", "U+202E", "back"))
    assert not set("\x1b\r\u202e") & set(shown)


def test_demo_explains_a_held_out_review_and_writes_a_page(run, tmp_path):
    done = run("explain", "--demo", "--html", "demo.html")
    assert done.status == 0, done.err
    example = zoo.task("reviews").examples[command_line.DEMO]
    assert example.text in done.out and f"{example.rating:+.2f}" in done.out
    assert f"the model says {zoo.task('reviews').labels[example.label]}" in done.out
    assert "every softmax measured" in done.out and "wrote demo.html" in done.out
    assert "reviews-rotary, pa-lrp" in done.out and str(ROOT) not in done.out
    page = (tmp_path / "demo.html").read_text(encoding="utf-8")
    fetched = r"""(src|href)\s*=\s*["']?\s*(https?:)?//|url\(\s*["']?(https?:)?//|@import|\bfetch\(|XMLHttpRequest|\bimport\("""
    assert not re.search(fetched, page, re.I)
    assert "<html" in page.lower() and "charset" in page.lower()


def test_files_are_written(run, tmp_path):
    from pelrp_nb import Explanation

    done = run("explain", TEXT, "--figure", "figure.svg", "--save", "result.npz", "--json")
    assert done.status == 0, done.err
    assert "<svg" in (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert list(Explanation.load(tmp_path / "result.npz").tokens) == json.loads(done.out)["tokens"]
    assert "wrote figure.svg" in done.err


def test_reduction_is_shown(run):
    assert "both (l2)" in run("explain", TEXT, "--reduction", "l2").out


MISTAKES = {
    "model": (["explain", TEXT, "--model", "reviews-rotery"], "Did you mean `reviews-rotary`"),
    "method": (["explain", TEXT, "--method", "pa-lpr"], "pa-lrp"),
    "label": (["explain", TEXT, "--target", "positiv"], "Did you mean 'positive'"),
    "class": (["explain", TEXT, "--target", "7"], "between 0 and 1"),
    "place": (["explain", TEXT, "--target", "positive", "--at", "3"], "without at"),
    "no text": (["explain"], "There must be a text"),
    "partners": (["exchange", TEXT, "--partners", "-2"], "Type partners=8"),
    "one token": (["exchange", "film"], "between two places or more"),
    "one text": (["patch", TEXT], "There must be two texts"),
    "unequal texts": (["patch", "a fine film", "a dull , long film"], "same length"),
    "equal texts": (["patch", TEXT, TEXT], "are the same"),
    "sites": (["patch", "a fine film", "a dull film", "--sites", "hats"], "sites must be some of heads"),
    "measured": (["patch", "a fine film", "a dull film", "--measure", "0"], "true(20)"),
    "circuit": (["patch", "a fine film", "a dull film", "--circuit", "100000"], "A circuit has 1 to"),
    "empty text": (["explain", "-"], ""),
    "folder": (["explain", TEXT, "--html", "nowhere/page.html"], "nowhere"),
    "suffix": (["explain", TEXT, "--figure", "figure.docx"], "PNG, SVG or PDF"),
    "benchmark": (["bench", "everything"], "engine"),
    "command": (["explian", TEXT], "explain"),
    "card": (["zoo", "card", "reviews-rotery"], "Did you mean `reviews-rotary`"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_in_one_message(case, run):
    args, hint = MISTAKES[case]
    done = run(*args)
    assert done.status == 2 and not done.out
    assert "Traceback" not in done.err and done.err.strip()
    assert hint in done.err


def test_a_mistake_in_a_process_of_its_own_says_the_same(run, outside):
    args, _ = MISTAKES["label"]
    assert outside(*args) == run(*args)


def test_input_that_is_no_text_is_refused(run):
    done = run("explain", "-", stdin=b"\xff\xfe\x00")
    assert done.status == 2 and "UTF-8" in done.err and "Traceback" not in done.err


def test_exchange_prints_what_places_are_worth_and_writes_files(run, tmp_path):
    done = run("exchange", TEXT, "--partners", "0", "--html", "worth.html", "--figure", "worth.pdf", "--save", "worth.npz")
    assert done.status == 0, done.err
    found = Exchange.load(tmp_path / "worth.npz")
    assert f"share of positions {found.share:.2f}" in done.out and "exchanged their positions" in done.out and "by distance" in done.out
    assert all(f"{found.signed[i]:+.4f}" in done.out for i in found.places.tolist())
    assert (tmp_path / "worth.html").stat().st_size > 10_000 and (tmp_path / "worth.pdf").stat().st_size > 1_000
    told = json.loads(run("exchange", TEXT, "--partners", "1", "--json").out)
    assert told["share"] > 0 and None in told["matrix"][0] and len(told["tokens"]) == len(found.places)


def test_patch_prints_what_parts_do_measures_them_and_writes_files(run, tmp_path):
    texts = ("patch", "sun moon star sun", "sun fish star sun", "--model", "induction-rotary", "--target", "moon", "--contrast", "fish")
    done = run(*texts, "--measure", "3", "--html", "patch.html", "--figure", "patch.pdf", "--save", "patch.npz")
    assert done.status == 0, done.err
    found = Patch.load(tmp_path / "patch.npz")
    largest = found.table().iloc[0]
    assert f"{largest['relevance']:+.4f}" in done.out and "layer 1 head 3" in done.out.splitlines()[3] and "rank correlation" in done.out
    assert (tmp_path / "patch.html").stat().st_size > 10_000 and (tmp_path / "patch.pdf").stat().st_size > 1_000
    told = json.loads(run(*texts, "--sites", "all", "--places", "--circuit", "2", "--json").out)
    assert told["circuit"]["faithfulness"] > 0.9 and len(told["circuit"]["edges"]) == 2
    assert {row["kind"] for row in told["sites"]} >= {"heads", "queries", "residual"} and {row["at"] for row in told["sites"]} == set(
        range(5)
    )


def test_plan_prints_rules_and_sinks(run):
    done = run("plan", TEXT)
    assert done.status == 0, done.err
    assert "linear" in done.out and "layer 0 rotary" in done.out and "refused: nothing" in done.out


def test_zoo_lists_shows_and_checks(run):
    listed = run("zoo", "list").out
    assert all(name in listed for name in zoo.names())
    card = json.loads(run("zoo", "card", "reviews-rotary").out)
    assert card["accuracy"] == zoo.card("reviews-rotary")["accuracy"]
    checked = run("zoo", "check", "reviews-rotary", "--limit", "20").out
    assert re.search(r"reviews-rotary +\d+\.\d%", checked)


def test_doctor_reports_and_says_all_well(run):
    done = run("doctor")
    assert done.status == 0, done.out
    for name in ("python", "torch", "transformers", "ipywidgets", "anywidget", "numpy", "matplotlib", "ipython", "device", "host"):
        assert re.search(rf"^ok +{name} ", done.out, re.M), name
    assert "its ledger is closed" in done.out and "all well" in done.out


def test_doctor_says_what_to_type():
    old = version("torch>=99", "python -m pip install")
    new = version("numpy<1", "python -m pip install")
    none = version("no-such-package-at-all>=1", "%pip install")
    assert (old.well, new.well, none.well) == (False, False, False)
    assert "too old" in old.found and "too new" in new.found and "missing" in none.found
    assert none.remedy == '%pip install "no-such-package-at-all>=1"'
    shown = str(doctor.__globals__["Report"]((old,)))
    assert "MEND torch" in shown and old.remedy in shown


@pytest.mark.parametrize(("sign", "name"), [("COLAB_RELEASE_TAG", "Google Colab"), ("KAGGLE_KERNEL_RUN_TYPE", "Kaggle")])
def test_doctor_knows_the_host(sign, name, monkeypatch):
    host, hosts = doctor.__globals__["host"], doctor.__globals__["HOSTS"]
    monkeypatch.setenv(sign, "1")
    assert host() == name and name in hosts
    monkeypatch.delenv(sign)
    assert host() in hosts and host() != name


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_an_interrupt_is_no_error(tmp_path):
    code = "import signal, sys, time, pelrp_nb.__main__ as m; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "m.text_of = lambda given: (print('ready', flush=True), time.sleep(60)); sys.exit(m.main(['explain', 'x']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout.readline().strip() == b"ready"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell")
def test_a_closed_pipe_is_no_error(tmp_path):
    line = f'"{sys.executable}" -m pelrp_nb explain "{TEXT}" --json | head -c 10'
    done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert len(done.stdout) == 10 and done.stderr == ""
