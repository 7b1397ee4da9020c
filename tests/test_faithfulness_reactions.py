"""Reactions asked of a real pretrained model: what is asked, what the page says, and what is said where the model is not there."""

from __future__ import annotations

import pytest

from pelrp_nb.errors import MissingError
from pelrp_nb.faithfulness import reactions
from pelrp_nb.faithfulness.reactions import ACCOUNTS, MEASURES, folder, main, page, questions


def test_a_package_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(reactions, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install --no-deps rxnmapper==0\.4\.3"):
        folder()
    with pytest.raises(MissingError):
        main(["--out", str(tmp_path / "page.md")])


def test_the_first_and_the_last_atom_of_each_product_are_hidden(tmp_path):
    words = ["[CLS]", "[SEP]", "[MASK]", ">>", "Br", *"CNOc1=().#"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    found = list(questions(tmp_path))
    assert len(found) == 30 and {one.kind for one in found} == set(reactions.KINDS)
    first = found[0]  # CCC(=O)O.OCCCC>>CCC(=O)OCCCC
    text = [words[i] for i in first.ids[0].tolist()]
    assert "".join(text) == "[CLS]CCC(=O)O.OCCCC>>[MASK]CC(=O)OCCCC[SEP]"
    assert words[first.answer] == "C" and text[first.place] == "[MASK]"
    assert "".join(text[i] for i in first.atoms) == "CCCOOOCCCC"
    assert "".join(words[i] for i in found[1].ids[0].tolist()).endswith("CCC[MASK][SEP]")


def test_the_page_tells_each_account_beside_the_random_row():
    numbers = {(name, m): 0.0 if name == "random" else 0.5 for name in ACCOUNTS for m in MEASURES}
    made = page([{"kind": "ester", "numbers": numbers, "whole": 0.25, "own": 0.75}] * 4)
    assert "4 of 30 questions" in made and "25.0% of it on average" in made and "| AttnLRP | 0.500 [0.500, 0.500] | 0.500" in made
