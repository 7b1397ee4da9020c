"""Peers are measured in processes of their own; what is not there is left out by name."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

import pytest

from pelrp_nb.bench.peers import by_name, peers, report
from pelrp_nb.errors import InputError

SMALL = ["--layers", "1", "--width", "48", "--tokens", "6", "--rounds", "1", "--runs", "1"]
STRANGER = """
import sys
sys.modules["transformers.models.llama.modeling_llama"].LlamaMLP.forward = lambda self, x: x * 0


def monkey_patch(module):
    pass
"""


def test_each_has_its_own_process_and_what_is_not_there_is_left_out_by_name(tmp_path, capsys):
    """A stranger that spoils the classes of Llama spoils its own numbers alone."""
    (tmp_path / "lxt" / "efficient").mkdir(parents=True)
    (tmp_path / "lxt" / "efficient" / "__init__.py").write_text(STRANGER)
    (tmp_path / "autolrp.py").write_text("raise ModuleNotFoundError('No module of that name')")
    paths = ["--path", f"lxt={tmp_path}", "--path", f"autolrp={tmp_path}"]
    peers([*SMALL, "--only", "lxt,captum,autolrp", *paths, "--python", f"captum={sys.executable}", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"plain", "pelrp_nb", "pelrp_nb, ledger", "lxt", "captum", "autolrp"} == set(found)
    assert found["pelrp_nb"]["relevance"] == found["pelrp_nb, ledger"]["relevance"] != found["lxt"]["relevance"]
    assert len(found["lxt"]["relevance"]) == 6 and found["plain"]["seconds"] > 0
    report(found, Namespace(layers=1, width=48, tokens=6))
    said = capsys.readouterr().out
    assert "left out: No module of that name" in said and "pelrp_nb, ledger" in said


def test_what_an_arm_gets_names_the_arm():
    assert by_name(["lxt=a", "lxt=b=c"], "--path lxt=FOLDER") == {"lxt": ["a", "b=c"]}
    for wrong in ("lxt", "else=a"):
        with pytest.raises(InputError, match="Type --path lxt=FOLDER"):
            by_name([wrong], "--path lxt=FOLDER")
    with pytest.raises(InputError, match=r"A peer must be one of .*; got zennit"):
        peers(["--only", "zennit"])
