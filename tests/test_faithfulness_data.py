"""Data of every kind the user may name, made here in the form in which it is handed out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pelrp_nb import zoo
from pelrp_nb.errors import InputError
from pelrp_nb.faithfulness import Configuration, Example, Subject, load, measure
from pelrp_nb.faithfulness.data import words_at
from pelrp_nb.faithfulness.read import as_mask, case_of
from pelrp_nb.faithfulness.recipes import ARC_PROMPT
from pelrp_nb.faithfulness.settings import Text

ROWS = [{"review": "a gorgeous , witty film", "stars": 1}, {"review": "dull, clumsy", "stars": 0}, {"review": "fine", "stars": 1}]
COLUMNS = {"text": "review", "label": "stars"}


def written(folder: Path, kind: str) -> Path:
    """The rows in a file of that kind."""
    path = folder / f"rows.{kind}"
    if kind in ("csv", "tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if kind == "tsv" else ",")
            table.writeheader()
            table.writerows(ROWS)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_a_file_of_any_kind_is_the_same_data(kind, tmp_path):
    found = list(load(str(written(tmp_path, kind)), columns=COLUMNS))
    assert [(e.text, e.label) for e in found] == [(row["review"], row["stars"]) for row in ROWS]
    assert len(list(load(str(written(tmp_path, kind)), 2, columns=COLUMNS))) == 2


def test_files_are_streamed(tmp_path):
    """The broken third line is never met by who takes two."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text": \n')
    assert [e.text for e in load(str(path), 2)] == ["one", "two"]
    with pytest.raises(InputError, match="Line 3"):
        list(load(str(path)))


def test_a_dataset_of_the_hub_is_streamed_from_its_folder(tmp_path):
    """What `load_dataset` reads of a folder, as it would from the hub."""
    datasets = pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    written(tmp_path / "data", "jsonl").rename(tmp_path / "data" / "test.jsonl")
    found = list(load(str(tmp_path / "data"), columns=COLUMNS))
    assert [e.text for e in found] == [row["review"] for row in ROWS]
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert len(list(load(str(tmp_path / "saved"), columns=COLUMNS))) == 3
    with pytest.raises(InputError, match="split 'nowhere'"):
        list(load(str(tmp_path / "data"), columns=COLUMNS, split="nowhere"))


def test_truth_in_words_or_spans(tmp_path):
    """Whatever way it is written, the same tokens are meant."""
    path = tmp_path / "rows.csv"
    path.write_text('text,truth\n"a gorgeous , witty film",gorgeous|witty\n"a gorgeous , witty film","[[2, 10], [13, 18]]"\n')
    model, tokenizer = zoo.load("reviews-rotary")
    asked = Subject(model, tokenizer, Configuration())
    cases = [case_of(asked, example, i) for i, example in enumerate(load(str(path)))]
    assert cases[0].truth == cases[1].truth and [cases[0].tokens[t] for t in cases[0].truth] == ["gorgeous", "witty"]
    for truth, said in ((("splendid",), "does not hold"), (((4, 4),), "covers no token")):
        with pytest.raises(InputError, match=said):
            case_of(asked, Example("a gorgeous , witty film", truth=truth), 0)
    assert words_at("one  two three", (1, 2)) == ((5, 8), (9, 14))


# --- the papers' sets -------------------------------------------------------------------------------------------------


def test_imdb_from_its_folder_and_from_a_table(tmp_path):
    for label, name in enumerate(("neg", "pos")):
        (tmp_path / "aclImdb" / "test" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "aclImdb" / "test" / name / f"{i}_{label}.txt").write_text(f"{name} {i}<br />end")
    found = list(load(f"imdb={tmp_path / 'aclImdb'}"))
    assert [(e.text, e.label) for e in found] == [("neg 0 end", 0), ("pos 0 end", 1), ("neg 1 end", 0), ("pos 1 end", 1)]
    (tmp_path / "IMDB.csv").write_text("review,sentiment\nbad,negative\ngood,positive\n")
    assert [(e.text, e.label) for e in load(f"imdb={tmp_path / 'IMDB.csv'}")] == [("bad", 0), ("good", 1)]
    with pytest.raises(InputError, match="aclImdb"):
        list(load(f"imdb={tmp_path}"))


def test_arc_easy_in_both_forms(tmp_path):
    options = [("A", "rock"), ("B", "air")]
    ai2 = {"question": {"stem": "What is hard?", "choices": [{"label": a, "text": b} for a, b in options]}, "answerKey": "A"}
    hub = {"question": "What is hard?", "choices": {"label": ["A", "B"], "text": ["rock", "air"]}, "answerKey": "A"}
    for row in (ai2, hub):
        (tmp_path / "arc.jsonl").write_text(json.dumps(row) + "\n")
        (found,) = load(f"arc-easy={tmp_path / 'arc.jsonl'}")
        assert found.text == ARC_PROMPT.format(question="What is hard?", choices="A. rock\nB. air") and found.label == "A"


def test_wikipedia_is_cut_to_a_number_of_tokens(tmp_path):
    (tmp_path / "wiki.jsonl").write_text(json.dumps({"text": "a film " * 40}) + "\n" + json.dumps({"text": "  "}) + "\n")
    (found,) = load(f"wikipedia={tmp_path / 'wiki.jsonl'}")
    model, tokenizer = zoo.load("reviews-rotary")
    here = case_of(Subject(model, tokenizer, Configuration(text=Text(longest=12))), found, 0)
    assert len(here.tokens) == 12


def picture(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (colour, 0, 0)).save(path)


def test_imagenet_from_a_folder_per_class(tmp_path):
    for i, name in enumerate(("n01440764", "n01443537")):
        for k in range(2):
            picture(tmp_path / "val" / name / f"{k}.JPEG", 100 * i + k)
    found = list(load(f"imagenet={tmp_path}"))
    assert [e.label for e in found] == [0, 1, 0, 1] and found[0].image.size == (6, 4)
    with pytest.raises(InputError, match="one folder of pictures per class"):
        list(load(f"imagenet={tmp_path / 'val' / 'n01440764'}"))


def test_imagenet_segmentation_from_matlab_and_from_folders(tmp_path):
    """HDF5 as MATLAB writes it: axes reversed, cells as references, a mask one reference further."""
    h5py = pytest.importorskip("h5py")
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 1
    with h5py.File(tmp_path / "gtsegs_ijcv.mat", "w") as file:
        for name in ("img", "gt"):
            file.create_dataset(f"value/{name}", (2, 1), dtype=h5py.ref_dtype)
        for i in range(2):
            file["value/img"][i, 0] = file.create_dataset(f"#refs#/i{i}", data=image.transpose(2, 1, 0)).ref
            inner = file.create_dataset(f"#refs#/g{i}", data=mask.T).ref
            cell = file.create_dataset(f"#refs#/c{i}", (1, 1), dtype=h5py.ref_dtype)
            cell[0, 0] = inner
            file["value/gt"][i, 0] = cell.ref
    found = list(load(f"imagenet-segmentation={tmp_path / 'gtsegs_ijcv.mat'}"))
    assert len(found) == 2 and np.array_equal(found[0].image, image) and np.array_equal(found[1].mask, mask)
    picture(tmp_path / "pairs" / "images" / "a.png", 5)
    (tmp_path / "pairs" / "masks").mkdir()
    with pytest.raises(InputError, match="no mask of the same name"):
        list(load(f"imagenet-segmentation={tmp_path / 'pairs'}"))
    Image.fromarray(mask * 255).save(tmp_path / "pairs" / "masks" / "a.png")
    (one,) = load(f"imagenet-segmentation={tmp_path / 'pairs'}")
    assert np.array_equal(as_mask(one.mask, (4, 6)).numpy(), mask)
    (tmp_path / "broken.mat").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="must be HDF5"):
        list(load(f"imagenet-segmentation={tmp_path / 'broken.mat'}"))


def test_a_table_may_name_pictures_and_masks(tmp_path):
    picture(tmp_path / "a.png", 5)
    Image.fromarray(np.eye(4, 6, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    (tmp_path / "rows.csv").write_text("image,mask,label\na.png,m.png,3\n")
    (found,) = load(str(tmp_path / "rows.csv"))
    assert found.label == 3 and found.image.size == (6, 4) and float(as_mask(found.mask, (4, 6)).sum()) == 4
    (tmp_path / "rows.csv").write_text("image\nnowhere.png\n")
    with pytest.raises(InputError, match="there is none"):
        list(load(str(tmp_path / "rows.csv")))


def test_what_nobody_judged_is_left_out():
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    assert np.isnan(as_mask(mask, (2, 2)).numpy()).tolist() == [[False, False], [True, False]]
    with pytest.raises(InputError, match="empty"):
        as_mask(np.zeros((2, 2)), (2, 2))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "there is none"),
        ("empty.csv", "", "empty"),
        ("head.csv", "text,label\n", "empty"),
        ("empty.jsonl", "", "empty"),
        ("other.csv", "body,label\nx,1\n", "--columns text=NAME"),
        ("list.jsonl", "[1]\n", "JSON object"),
        ("latin.csv", "text\n\xe9", "UTF-8"),
        ("rows.xlsx", "x", "No task"),
    ],
)
def test_data_that_cannot_be_read_say_why(name, content, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=said):
        list(load(str(tmp_path / name)))


def test_names_that_do_not_exist_say_what_there_is():
    for name, said in (("reviws", "reviews"), ("imdb", "imdb=PATH"), ("imbd=x", "imdb=PATH")):
        with pytest.raises(InputError, match=said):
            list(load(name))
    with pytest.raises(InputError, match="no column 'body'"):
        next(load(str(Path(__file__).parent.parent / "pelrp_nb" / "zoo" / "held_out" / "reviews.tsv"), columns={"text": "body"}))


def test_unlabelled_and_foreign_labels_are_recorded_not_mixed():
    """Where labels are asked for, examples without one, or with one the model has not, are left out and counted."""
    model, tokenizer = zoo.load("reviews-rotary")
    examples = [Example("fine", 1), Example("fine"), Example("fine", 7), Example("fine", "neutral"), Example("fine", "positive")]
    settings = Configuration(methods=("random",), protocols=("gain",), text=Text(explained="labelled"))
    result = measure(model, tokenizer, examples, settings)
    assert [i for i, _ in result.errors["*"]] == [1, 2, 3]
    reasons = [reason for _, reason in result.errors["*"]]
    assert "needs a label" in reasons[0] and "2 classes" in reasons[1] and "positive" in reasons[2]
    assert result.estimate("random", "symmetric-relevance-gain").n == 2


def test_texts_of_one_token_and_of_none():
    """One token can be removed; a correlation of one token is not claimed; nothing at all is recorded."""
    model, tokenizer = zoo.load("reviews-rotary")
    settings = Configuration(methods=("random", "pa-lrp-signed"))
    result = measure(model, tokenizer, [Example("fine"), Example("  "), Example("fine film")], settings)
    assert [i for i, _ in result.errors["*"]] == [1]
    assert result.estimate("random", "symmetric-relevance-gain").n == 2
    assert result.estimate("random", "leave-one-out-correlation").n == 1
    assert result.estimate("random", "position-swap-correlation").n <= 1
