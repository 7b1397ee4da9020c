"""Streams of explanations: the same as of one call, in the order of the inputs, with bounded memory; bad inputs by their lines."""

from __future__ import annotations

import json
from itertools import count, islice
from pathlib import Path

import pandas as pd
import pytest
import torch

import pelrp_nb
from pelrp_nb import Explanations, Options, Skipped, Source, explain, explain_iter, target, zoo
from pelrp_nb.errors import CallError, InputError, TargetError
from pelrp_nb.streaming import iterate

SKIP = Options(on_error="skip")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [one.text for one in zoo.task("reviews").examples[:90]]


@pytest.fixture(scope="module")
def reader():
    return zoo.load("reviews-rotary")


@pytest.fixture(scope="module")
def stream(reader):
    """`explain_iter` of that model, as a list."""
    model, tokenizer = reader
    return lambda inputs, **more: list(explain_iter(model, inputs, processor=tokenizer, progress=False, **more))


def close(a, b) -> bool:
    return a.tokens == b.tokens and torch.allclose(a.semantic, b.semantic, atol=1e-5) and a.value == pytest.approx(b.value, abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [200, 4096, 100_000])
def test_a_stream_is_the_explanations_of_one_call_in_their_order(batch_tokens, reader, stream, texts):
    model, tokenizer = reader
    texts = texts[:70]
    found = stream(texts, batch_tokens=batch_tokens)
    assert all(map(close, found, explain(model, texts, processor=tokenizer))) and len(found) == len(texts)


@pytest.mark.parametrize(("batch_tokens", "most"), [(1, 1), (200, 200), (640, 640)])
def test_no_batch_has_more_places_than_were_allowed(batch_tokens, most, reader, texts):
    model, tokenizer = reader
    seen = []
    hook = model.register_forward_pre_hook(lambda module, args, given: seen.append(given["input_ids"].shape), with_kwargs=True)
    try:
        list(explain_iter(model, texts[:9], processor=tokenizer, batch_tokens=batch_tokens, progress=False))
    finally:
        hook.remove()
    assert all(rows == 1 or rows * length <= most for rows, length in seen)
    assert batch_tokens == 1 or any(rows > 2 for rows, _ in seen)


def test_an_iterator_is_read_only_so_far_as_it_is_asked_for(reader, texts, monkeypatch):
    monkeypatch.setattr(iterate, "WINDOW", 64)
    read = []
    endless = (read.append(i) or texts[i % 90] for i in count())
    found = explain_iter(reader[0], endless, processor=reader[1], progress=False)
    first = list(islice(found, 70))
    assert len(read) == 128 and [one.text for one in first[64:70]] == texts[64:70]


def test_windows_are_cut_by_places_too(reader, stream, texts, monkeypatch):
    """Sorting looks as far ahead as some batches of places, so that long texts do not fill the memory."""
    heard = []
    monkeypatch.setattr(iterate, "answered", lambda run, read, *rest: heard.append(len(read()[0])) or ([None] * heard[-1], True))
    stream(texts * 4, batch_tokens=4096)
    stream(texts * 4, batch_tokens=64)
    assert heard == [360, *[64] * 5, 40]


def test_nothing_is_held_between_two_results(reader, texts):
    model, tokenizer = reader
    weights = [p.requires_grad for p in model.parameters()]
    found = explain_iter(model, texts, processor=tokenizer, progress=False)
    next(found)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.is_grad_enabled() and [p.requires_grad for p in model.parameters()] == weights
    with torch.inference_mode():
        assert next(found).ledger.closed
    found.close()


def test_targets_are_those_of_explain(stream, texts):
    several = stream(texts[:3], target=target.every(["positive", "negative"]))
    assert all(isinstance(one, Explanations) and one.names == ["positive", "negative"] for one in several)
    names = ["positive", "negative"] * 45
    assert [one.target for one in stream(iter(texts), target=target.each(names))] == names
    with pytest.raises(TargetError, match=r"got 3, and input 9 came"):
        stream(texts[:10], target=target.each(names[:3]))


def test_one_target_per_input_goes_by_the_number_of_the_input(stream, texts, monkeypatch):
    monkeypatch.setattr(iterate, "WINDOW", 64)
    names = ["positive"] * 64 + ["negative"] * 26
    assert [one.target for one in stream(texts, target=target.each(names))] == names


# --- where inputs come from ------------------------------------------------------------------------------------------


def written(folder: Path, kind: str, rows: list[dict]) -> Path:
    path = folder / f"rows.{kind}"
    frame = pd.DataFrame(rows)
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_is_a_stream_of_its_texts(kind, as_text, tmp_path, texts):
    rows = [{"key": f"a{i}", "review": f'{text}, "{i}"'} for i, text in enumerate(texts[:70])]
    path = written(tmp_path, kind, rows)
    items = list(Source(str(path) if as_text else path, text="review", id="key").items())
    assert [(i.number, i.given, i.id) for i in items] == [(i, row["review"], row["key"]) for i, row in enumerate(rows)]
    lines = {"jsonl": "line 3", "json": "row 2", "parquet": "row 2"}
    assert items[1].where == f"{lines.get(kind, 'line 3')} of rows.{kind}" and Source(path).count == 70


def test_tables_and_data_sets_are_streams(stream, texts):
    datasets = pytest.importorskip("datasets")
    frame = pd.DataFrame({"review": texts[:5], "stars": range(5)}, index=[9, 3, 3, 1, 0])
    same = datasets.Dataset.from_pandas(frame, preserve_index=False)
    for data in (frame, same, same.to_iterable_dataset(), frame.to_dict("records"), iter(frame.to_dict("records"))):
        assert [one.text for one in stream(Source(data, text="review"))] == texts[:5]
    for data in (frame["review"], same["review"], frame["review"].to_numpy(), (text for text in texts[:5])):
        assert [one.text for one in stream(data)] == texts[:5]
    assert [one.text for one in stream(same.rename_column("review", "text"))] == texts[:5]
    assert Source(same).count == Source(frame).count == 5 and Source(iter(texts)).count is None


def test_pairs_are_two_columns():
    rows = [{"premise": "a", "hypothesis": "b"}]
    assert [item.given for item in Source(rows, text="premise", pair="hypothesis").items()] == [("a", "b")]


BROKEN = {
    "rows.jsonl": (b'{"text": "fine"}\n{"text": \n\n[1]\n{"text": "\xff"}\n{"text": null}\n{"text": "good"}\n', {1: 2, 2: 4, 3: 5, 4: 6}),
    "rows.csv": (b'text,n\n"fine\nfilm",1\nlone\na,b,c\nd\xe9j\xe0,2\n,3\ngood,4\n', {1: 4, 2: 5, 3: 6, 4: 7}),
}
SAID = {"rows.jsonl": ["must be JSON", "must be a JSON object", "must be JSON", "column 'text' must hold"],
        "rows.csv": ["must have 2 cells", "must have 2 cells", "in UTF-8", "The text is empty"]}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_lines_are_named_by_their_numbers(name, tmp_path, stream):
    content, lines = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"^Input 1 \(line {lines[1]} of {name}\): {SAID[name][0]}"):
        stream(tmp_path / name)
    found = stream(tmp_path / name, options=SKIP)
    assert len(found) == 6 and found[5].text == "good" and found[0].text.split() == ["fine", "film"][: len(found[0].text.split())]
    for one, (index, line), said in zip(found[1:5], lines.items(), SAID[name], strict=True):
        assert isinstance(one, Skipped) and one.index == index and one.why.startswith(f"line {line} of {name}: ") and said in one.why


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path, stream):
    (tmp_path / "rows.csv").write_text("body,stars\nfine,3\n")
    with pytest.raises(InputError, match=r"column 'text', and line 2 of rows\.csv has body, stars\. Type Source\(\.\.\., text="):
        stream(tmp_path / "rows.csv")
    with pytest.raises(InputError, match="column 'key'"):
        stream(Source(tmp_path / "rows.csv", text="body", id="key"))


def test_names_that_come_twice_are_told_with_both_their_lines(tmp_path, stream):
    (tmp_path / "rows.csv").write_text("text,key\nfine,a\ngood,b\nbad,a\ndull,\n")
    source = Source(tmp_path / "rows.csv", id="key")
    with pytest.raises(InputError, match=r"line 4 of rows\.csv\): no two rows may have one name, and 'a' .* line 2 of rows\.csv"):
        stream(source)
    found = stream(source, options=SKIP)
    assert [bool(one) for one in found] == [True, True, False, True]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("a gorgeous film", r"Type \['a gorgeous film'\] for one"), ({"text": "a"}, "got dict"), (7, "got int"),
        ("nowhere.csv", "there is none"), ("rows.xlsx", "must end in"), (["fine", 3], "Input 1: An input must be"),
        (Source([1, 2], text="text"), r"Input 0 \(row 0\): a row of named columns"),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_refused(inputs, words, stream):
    with pytest.raises(InputError, match=words):
        stream(inputs)


def test_a_parquet_file_that_is_none_is_told(tmp_path, stream):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"rows\.parquet must be a Parquet file"):
        stream(tmp_path / "rows.parquet")


def test_a_call_that_does_not_fit_is_told_before_anything_is_read(reader):
    with pytest.raises(CallError, match=r"explain_iter has no argument `tokenizer`\. Type processor="):
        explain_iter(reader[0], [], tokenizer=reader[1])
    with pytest.raises(InputError, match="batch_tokens must be a whole number"):
        explain_iter(reader[0], [], batch_tokens=0.5)
    with pytest.raises(CallError, match="must be a torch module"):
        explain_iter("reviews-rotary", [])


def test_no_input_at_all_is_an_empty_stream(stream):
    assert stream([]) == [] and stream(iter(())) == []


def test_progress_counts_every_input_once(reader, texts, capsys, monkeypatch):
    model, tokenizer = reader
    with monkeypatch.context() as patch:
        counted = []
        patch.setattr(iterate.Progress, "done", lambda self, count: counted.append(count))
        list(explain_iter(model, [*texts, ""], processor=tokenizer, options=SKIP))
    assert sum(counted) == 91 and len(counted) > 2 and counted[-1] == 1  # what was skipped was in no batch
    assert "0/91 [00:00<?, ? inputs/s]" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    list(explain_iter(model, texts[:3], processor=tokenizer))
    assert capsys.readouterr().err == ""


def test_the_public_names_are_there():
    assert {"explain_iter", "explain_to", "Source"} <= set(pelrp_nb.__all__)
