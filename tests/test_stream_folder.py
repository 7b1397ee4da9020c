"""Folders of explanations: what explain gives stands in them, whole or not at all, once, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from made import made

import pelrp_nb.__main__ as command_line
from pelrp_nb import PA_LRP, Explanation, Explanations, Options, Skipped, Source, aggregate, explain, explain_to, rules, target, zoo
from pelrp_nb.errors import FileError, InputError, MissingError, RowError
from pelrp_nb.results import columns
from pelrp_nb.results.folder import Folder
from pelrp_nb.streaming import in_words

pytest.importorskip("pyarrow")
SKIP = Options(on_error="skip")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [one.text for one in zoo.task("reviews").examples[:50]]


@pytest.fixture(scope="module")
def reader():
    return zoo.load("reviews-rotary")


@pytest.fixture(scope="module")
def run(reader):
    """`explain_to` with that model, 20 inputs in a shard."""
    model, tokenizer = reader

    def run(path, given, **more):
        return explain_to(path, model, given, **{"processor": tokenizer, "shard": 20, "progress": False, **more})

    return run


@pytest.fixture(scope="module")
def whole(run, texts, tmp_path_factory) -> Path:
    """A folder of all the texts; nobody writes into it."""
    folder = tmp_path_factory.mktemp("whole") / "explained"
    run(folder, texts)
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """The same, to be damaged."""
    for path in whole.rglob("*"):
        if path.is_file():
            there = tmp_path / "explained" / path.relative_to(whole)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    return tmp_path / "explained"


def sums(folder: Path) -> list[str]:
    return [entry.sha256 for entry in Folder(folder).entries()]


# --- what stands in a row --------------------------------------------------------------------------------------------


def back(e: Explanation) -> Explanation:
    """An explanation through a Parquet file."""
    import pyarrow as pa

    rows = list(columns.rows_of(0, None, e))
    double = columns.is_double(rows)
    (row,) = pa.Table.from_pylist(rows, schema=columns.schema(double)).to_pylist()
    return columns.explanation_of(row, double)


ROWS = {
    "float64": made(),
    "float32": made(dtype=torch.float32, layers=2),
    "no positions": made(sinks=0),
    "one token": made(("x",)),
    "offsets": made(("a", "b"), offsets=((0, 1), None), word_ids=(0, None), text="a b"),
    "a picture": made(
        ("patch 0,0", "patch 0,1"),
        map=torch.rand(4, 6),
        maps={"content": torch.rand(4, 6)},
        picture=torch.zeros(2, 4, 3, dtype=torch.uint8),
    ),
    "detail": made(detail={"heads": {"layer 0 rotary": {"query": torch.rand(2, 10)}}, "n": 3}),
    "streams": made(("a",), streams={"encoder": made(("a",)), "decoder": made(("b", "c"), seed=1)}),
    "not a number": made(("x",), value=float("nan")),
    "signs": made(("\u00e9\U0001f600", "<b>", "", "\n")),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_read_is_what_was_written(name):
    assert back(ROWS[name]) == ROWS[name]


@pytest.mark.parametrize("name", ROWS)
def test_what_is_left_out_is_nothing_but_the_parts_that_are_not_kept(name):
    e = ROWS[name]
    assert columns.slim(e, columns.PARTS) == e
    least = columns.slim(e, ())
    assert back(least) == least and not least.boundaries and not least.reductions and not least.detail and len(least.sinks) <= 1
    assert least.picture is None
    torch.testing.assert_close(least.relevance(), e.relevance())
    assert least.ledger.state == e.ledger.state and least.ledger.gap == pytest.approx(e.ledger.gap, nan_ok=True)
    assert least.text == e.text and least.target == e.target and least.model == e.model and least.method == e.method
    assert "<table" in least._repr_html_() or least._repr_html_()
    for part in columns.PARTS:
        there = columns.slim(e, [part])
        assert part != "picture" or there.picture is e.picture
        assert back(there) == there


def test_an_open_ledger_says_without_its_lines_where_it_opened():
    e = made()
    e = replace(e, ledger=replace(e.ledger, constants={}, layers={"layer 3": 0.0, "layer 2": 9.0, "layer 1": 9.0}))
    assert e.ledger.verdict == "open at layer 2" == columns.slim(e, ()).ledger.verdict


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_folder_holds_what_explain_gives(whole, reader, texts):
    model, tokenizer = reader
    found = Explanations.load(whole)
    assert len(found) == 50 and found.complete and list(found)[:20] == list(explain(model, texts[:20], processor=tokenizer))
    assert found[41] == list(found)[41] and found[-1].text == texts[49] and isinstance(found[2:4], Explanations)
    assert [entry.inputs for entry in Folder(whole).entries()] == [20, 20, 10] and not found.damaged and not found.skipped
    assert "50 inputs in 3 shards, complete" in repr(found)
    with pytest.raises(RowError, match="There are 50 explanations"):
        found[50]


def test_one_shard_at_a_time_is_read(whole, monkeypatch):
    read = []
    raw = Folder.raw
    monkeypatch.setattr(Folder, "raw", lambda self, entry: read.append(entry.number) or raw(self, entry))
    found = Explanations.load(whole)
    assert read == []
    assert found[45].text and read == [2]
    for _ in found:
        pass
    assert read == [2, 0, 1, 2]


def test_tables_and_means_are_those_of_the_list(whole, reader, texts):
    found, same = Explanations.load(whole), explain(reader[0], texts, processor=reader[1])
    table = found.table()
    assert table["index"].tolist() == list(range(50)) and table["text"].tolist() == texts and (table["verdict"] == "closed").all()
    assert table["value"].tolist() == pytest.approx([e.value for e in same], abs=1e-5)
    for by in ("token", "layer", "position"):
        ours, theirs = found.aggregate(by), aggregate(same, by)
        assert ours["count"].sum() == theirs["count"].sum() and ours["size"].tolist() == pytest.approx(theirs["size"].tolist(), abs=1e-4)


def test_several_questions_skipped_inputs_and_names(run, tmp_path):
    (tmp_path / "rows.csv").write_text("text,key\nfine,a\n,b\ngood film,c\n")
    source = Source(tmp_path / "rows.csv", id="key")
    found = run(tmp_path / "out", source, target=target.every(["positive", "negative"]), options=SKIP, keep="boundaries")
    assert [type(one) for one in found] == [Explanations, Skipped, Explanations] and found["c"][1].target == "negative"
    assert found.skipped == [found[1]] and found[1].index == 1 and found[1].why.startswith("line 3 of rows.csv: ")
    assert found.table()["id"].tolist() == ["a", "a", "b", "c", "c"] and found["a"][0].boundaries and not found["a"][0].reductions
    assert found.aggregate("layer")["count"].tolist() == [4] * 4
    with pytest.raises(InputError, match="No explanation here is called 'd'"):
        found["d"]


def test_an_empty_stream_is_an_empty_folder(run, tmp_path):
    assert list(run(tmp_path / "out", [])) == [] and Explanations.load(tmp_path / "out").complete


def test_a_run_that_is_there_is_not_made_again(run, whole, texts, monkeypatch):
    monkeypatch.setattr(Folder, "add", None)
    assert len(run(whole, texts)) == 50
    with pytest.raises(FileError, match="holds a run already"):
        run(whole, texts, resume=False)


# --- what may come in the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"composite": "attn-lrp"}, "composite.positions was 'sink', is 'constant'"), ({"shard": 30}, "shard was 20, is 30"),
        ({"target": "positive"}, "target was None, is 'positive'"), ({"keep": ()}, r"keep was \['sinks'.*\], is \[\]"),
        ({"options": Options(detail={"heads"})}, r"options.detail was \{\}, is \{heads\}"),
        ({"target": lambda output: output.logits[0, 1]}, r"target was None, is test_stream_folder\.<lambda> [0-9a-f]{8}\."),
    ],
)  # fmt: skip
def test_a_folder_of_another_configuration_is_refused_and_says_which(more, said, run, whole, texts):
    before = sums(whole)
    with pytest.raises(FileError, match=f"another configuration, and results are never mixed: {said}"):
        run(whole, texts, **more)
    assert sums(whole) == before


def of(k):
    return lambda output: output.logits[0, k]


class Score:
    """A target that is an object."""

    def __init__(self, k):
        self.k = k

    def __call__(self, output):
        return output.logits[0, self.k]


def tripled(k):
    return rules.make("mine", lambda x, *, weight, bias=None, **_: torch.nn.functional.linear(x, weight, bias) * k)


@pytest.mark.parametrize(
    "setting",
    [
        of, lambda k: target.each([of(0), of(k)]), lambda k: target.every((of(k), "positive")), lambda k: partial(of(k), 1),
        lambda k: lambda output: (lambda x: of(k)(x))(output), Score, lambda k: Score(k).__call__, lambda k: {torch.relu: of(k)},
        lambda k: lambda output, at=k: output.logits[0, at], lambda k: of(torch.full((5000,), k)), tripled,
        lambda k: target.each([k] * 1000), lambda k: PA_LRP.where({"layer 0": {"linear": tripled(k)}}),
        lambda k: eval(f"lambda out: (lambda x: x[{k}])(out)"), lambda k: [Score(3), Score(4), Score(k)],
    ],
)  # fmt: skip
def test_settings_are_told_alike_where_they_do_the_same_and_apart_wherever_they_do_something_else(setting):
    assert in_words.words(setting(1)) == in_words.words(setting(1)) != in_words.words(setting(2))
    assert " at 0x" not in in_words.words(setting(1)) and len(in_words.words(setting(1))) < 500


def test_settings_of_this_package_read_as_they_are_typed():
    assert in_words.words({"b", "a"}) == "{a, b}" and in_words.words(rules.gamma(0.05)) == "gamma(0.05)"
    assert in_words.words(target.each([target.token("a", at=1)])) == "Each(targets=(Token(text='a', at=1),))"


def test_settings_are_told_alike_in_another_process():
    script = "from pelrp_nb.streaming.in_words import words\nprint(words(lambda out: out if 'a' in {'a', 'bc', 'd'} else lambda: 3))"
    said = [subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, text=True, capture_output=True,
                           check=True).stdout for seed in "12"]  # fmt: skip
    assert said[0] == said[1] != ""


def test_another_model_of_the_same_kind_is_another_configuration(whole, reader, texts, run):
    model = zoo.load("reviews-rotary")[0]
    with torch.no_grad():
        model.score.weight[0, 0] += 1
    with pytest.raises(FileError, match=r"mixed: weights was [0-9a-f]{12}, is [0-9a-f]{12}\."):
        explain_to(whole, model, texts, processor=reader[1], shard=20, progress=False)


@pytest.mark.parametrize(
    "change", [lambda t: [*t[:30], "another film", *t[31:]], lambda t: t[:45], lambda t: t[:40], lambda t: [*t, "one more"]]
)
def test_a_folder_of_other_inputs_is_refused(change, run, whole, texts):
    with pytest.raises(FileError, match="was made from other inputs: "):
        run(whole, change(texts))
    assert Explanations.load(whole).complete


def test_what_is_no_folder_of_ours_is_left_alone(run, texts, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"holds notes\.txt"):
        run(tmp_path, texts)
    with pytest.raises(FileError, match="is a file"):
        run(tmp_path / "notes.txt", texts)
    with pytest.raises(FileError, match=r"There must be a file .*run\.json"):
        Explanations.load(tmp_path)
    (tmp_path / "run.json").write_text('{"format": "another"}')
    with pytest.raises(FileError, match="must be a folder that explain_to made"):
        Explanations.load(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "run.json"]


def test_a_run_that_has_only_just_begun_is_taken_up(run, texts, tmp_path):
    """Another process, or one that was killed, has made the rooms and not yet said what stands in them."""
    for name in ("shards", "index", "claims"):
        (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / ".0a1b.part").write_bytes(b"{")
    assert run(tmp_path / "out", texts[:3]).complete
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(FileError, match=r"holds complete\.json"):
        run(tmp_path / "out", texts[:3])


@pytest.mark.parametrize("where", ["mkdir", "lock"])
def test_a_folder_that_may_not_be_written_is_told(where, run, texts, tmp_path, monkeypatch):
    def refuse(*given, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    if where == "mkdir":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr("pelrp_nb.results.folder.FileLock", refuse)
    with pytest.raises(FileError, match=r"must be writable, and the system said: Permission denied\. Type another folder"):
        run(tmp_path / "out", texts)


def test_a_full_disk_stops_the_run_and_what_was_done_is_kept(run, texts, whole, tmp_path, monkeypatch):
    """The system's own limit on the size of a file stands in for the disk: the write itself fails."""
    size = Folder(whole).entries()[0].bytes
    add, soft = Folder.add, resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(self, entry, raw):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2 if entry.number == 1 else soft[0], soft[1]))
        try:
            add(self, entry, raw)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft)

    with monkeypatch.context() as patch, pytest.raises(FileError, match=r"The disk of .* is full: .*type the same again"):
        patch.setattr(Folder, "add", full)
        run(tmp_path / "out", texts)
    assert len(Explanations.load(tmp_path / "out")) == 20 and "20 of an unknown number" in repr(Explanations.load(tmp_path / "out"))
    assert [e.text for e in Explanations.load(tmp_path / "out")] == texts[:20] and not list((tmp_path / "out").rglob("*.part"))
    run(tmp_path / "out", texts)
    assert sums(tmp_path / "out") == sums(whole)


def test_a_damaged_shard_is_named_and_the_rest_can_be_read(copied, run, texts, whole):
    shard = copied / "shards" / "00001.parquet"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(bytes(raw))
    found = Explanations.load(copied)
    with pytest.raises(FileError, match=r"shards/00001\.parquet is not as it was written.* Inputs 20 to 39 .*whole\(\)"):
        list(found)
    assert found.damaged == ["shards/00001.parquet"] and found[5].text == texts[5] and found[45].text == texts[45]
    rest = found.whole()
    assert rest.numbers == [*range(20), *range(40, 50)] and [e.text for e in rest] == texts[:20] + texts[40:] and not rest.complete
    assert rest[25] == found[45] and rest.aggregate("layer")["count"].tolist() == [30] * 4
    shard.unlink()
    assert found.damaged == ["shards/00001.parquet"]
    run(copied, texts)
    assert sums(copied) == sums(whole) and list(Explanations.load(copied)) == list(Explanations.load(whole))


def test_a_shard_that_was_cut_off_is_made_again(copied, run, texts, whole):
    shard = copied / "shards" / "00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    run(copied, texts)
    assert sums(copied) == sums(whole) and not Explanations.load(copied).damaged


@pytest.mark.parametrize("content", ['{"number": 1}', "no JSON"])
def test_a_damaged_index_is_named(content, copied):
    (copied / "index" / "00001.json").write_text(content)
    with pytest.raises(FileError, match=r"index/00001\.json must (be|hold)"):
        Explanations.load(copied)


def test_a_bad_row_stops_the_run_and_shards_before_it_are_kept(run, texts, tmp_path):
    given = [*texts[:45], ""]
    with pytest.raises(InputError, match="Input 45: The text is empty"):
        run(tmp_path / "out", given)
    assert len(Explanations.load(tmp_path / "out")) == 40
    found = run(tmp_path / "out", given, options=SKIP)
    assert found.complete and [one.index for one in found.skipped] == [45]


def test_without_pyarrow_the_extra_is_named(run, texts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match=r'pip install "pelrp_nb\[parquet\]"'):
        run(tmp_path / "out", texts)
    assert not (tmp_path / "out").exists()


# --- several processes -----------------------------------------------------------------------------------------------


def test_what_another_run_makes_is_left_to_it_and_waited_for(run, texts, tmp_path, whole):
    folder = Folder(tmp_path / "out")
    run(folder.path, texts[:0])
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (run(folder.path, texts), ended.set()))
    with folder.claim(1) as mine:
        assert mine
        thread.start()
        for _ in range(2400):
            if len(folder.entries()) == 2:
                break
            time.sleep(0.05)
        assert [entry.number for entry in folder.entries()] == [0, 2] and not ended.is_set()
    thread.join(120)  # the claim is free, as after a kill: the waiting run makes the shard
    assert ended.is_set() and sums(folder.path) == sums(whole)


def test_an_iterator_shares_its_folder_with_nobody(run, texts, tmp_path, whole):
    run(tmp_path / "out", iter(texts[:0]))
    with Folder(tmp_path / "out").claim(1), pytest.raises(FileError, match="an iterator cannot be read again"):
        run(tmp_path / "out", iter(texts))
    assert len(run(tmp_path / "out", iter(texts))) == 50 and sums(tmp_path / "out") == sums(whole)


def bench(*args: str) -> dict:
    command = [sys.executable, "-m", "pelrp_nb", "bench", "stream", "--json", *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_a_thousand_reviews_have_a_flat_line_of_memory():
    said = bench("--count", "1000", "--shard", "50")
    assert said["wrong"] == [] and said["last over second quarter"] < 1.05 and said["bytes a review"] < 12_000


def test_two_kills_and_two_processes_lose_and_double_nothing(tmp_path, run):
    said = bench("--count", "200", "--shard", "20", "--kills", "2", "--processes", "2", "--folder", str(tmp_path / "killed"))
    assert said["kills"] == 2 and said["wrong"] == []
    killed = Explanations.load(tmp_path / "killed" / "explained")
    at_once = run(tmp_path / "whole", tmp_path / "killed" / "reviews.jsonl", shard=20)
    for one, other in zip(killed, at_once, strict=True):
        assert one.tokens == other.tokens and one.value == pytest.approx(other.value, abs=1e-5)
        torch.testing.assert_close(one.semantic, other.semantic, rtol=1e-4, atol=1e-5)


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def called(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("review,key\nfine film,a\ngood,b\n,c\n")

    def called(*args: str) -> tuple[int, str, str]:
        status = command_line.main(["explain", *args])
        return status, *capsys.readouterr()

    return called


def test_the_command_line_explains_a_file_into_a_folder(called, tmp_path):
    given = ("--input", "rows.csv", "--output", "out", "--text", "review", "--id", "key")
    status, _, err = called(*given)
    assert status == 2 and "Input 2 (line 4 of rows.csv): The text is empty" in err
    status, out, err = called(*given, "--on-error", "skip")
    assert status == 1 and out == "2 of 3 inputs explained in out\n" and "input 2 was skipped: line 4 of rows.csv" in err
    assert Explanations.load(tmp_path / "out")["b"].text == "good"
    status, _, err = called(*given, "--method", "cp-lrp")
    assert status == 2 and "composite.softmax was" in err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--input", "rows.csv"), "--output FOLDER is missing"), (("--output", "out"), "--input FILE is missing"),
        (("--input", "rows.csv", "--output", "out"), "column 'text', and line 2 of rows.csv has key, review"),
        (("a text", "--input", "rows.csv", "--output", "out"), "without TEXT"),
        (("--input", "rows.csv", "--output", "out", "--text", "review", "--keep", "all"), "keep must be some of sinks"),
        (("--input", "none.csv", "--output", "out"), "there is none"),
    ],
)  # fmt: skip
def test_the_command_line_says_what_to_type(args, words, called):
    status, _, err = called(*args)
    assert status == 2 and words in err
