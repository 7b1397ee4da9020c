"""`bench calls` counts what is entered, nothing twice, and leaves no watcher behind; `bench texts` counts the same for each text."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from pelrp_nb import __main__ as command_line
from pelrp_nb.bench.calls import entered
from pelrp_nb.bench.exchange import CASES

MODULE = """
def outer(n):
    return sum(inner(i) for i in range(n))

def inner(i):
    return i

def unused():
    return outer(1)
"""


@pytest.fixture
def module(tmp_path):
    """A file of three functions, one of which nobody calls."""
    path = tmp_path / "counted.py"
    path.write_text(MODULE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("counted", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_calls_are_counted_exactly(module, tmp_path):
    """outer once, inner three times, the generator entered once and resumed three times; what lies elsewhere is not seen."""
    found = entered(lambda: json.dumps(module.outer(3)), tmp_path)
    assert (found.functions, found.files, found.calls) == (2, 1, 1 + 3 + 4)
    assert found.most(2) == [("counted.py:3 outer.<locals>.<genexpr>", 4), ("counted.py:5 inner", 3)]
    assert entered(lambda: module.outer(3), tmp_path / "elsewhere").calls == 0


def test_watcher_is_gone_afterwards(module, tmp_path):
    before = sys.getprofile()
    with pytest.raises(TypeError):
        entered(lambda: module.outer("three"), tmp_path)
    assert sys.getprofile() is before


def test_command_prints_the_same_numbers_twice(capsys):
    """The numbers are of the code, not of the moment; the walk back is among what is entered."""
    texts = []
    for _ in range(2):
        assert command_line.main(["bench", "calls", "a dull film", "--json", "--most", "100000"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert sum(count for _, count in found["most"]) == found["calls"]
    files = {name.split(":")[0] for name, _ in found["most"]}
    assert "engine/propagation.py" in files and not any(name.startswith("bench/") for name in files)
    assert command_line.main(["bench", "calls", "a dull film"]) == 0
    assert f"{found['functions']:,} functions, {found['files']:,} files, {found['calls']:,} calls" in capsys.readouterr().out


def test_texts_are_beside_a_plain_gradient(capsys):
    """Ratios are of the plain arm, whose own is one; a ledger costs calls; what is counted is counted for each text."""
    found = {}
    for count in ("2", "4"):
        assert command_line.main(["bench", "texts", "--count", count, "--rounds", "2", "--json"]) == 0
        found[count] = json.loads(capsys.readouterr().out)
    assert found["4"]["time"]["plain"] == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    assert found["2"]["calls a text"]["explain"] > found["2"]["calls a text"]["no ledger"] > 0
    assert found["4"]["calls a text"]["explain"] < found["2"]["calls a text"]["explain"]  # one batch, whose calls are shared
    assert command_line.main(["bench", "texts", "--count", "2", "--rounds", "2"]) == 0
    assert {"plain", "mode", "explain"} <= {line.split(" ")[0] for line in capsys.readouterr().out.splitlines()}


def test_exchange_is_measured_beside_an_explanation_case_by_case(capsys):
    """Times differ from run to run; which cases there are, and that an exchange of 8 partners costs more than nothing, does not."""
    assert command_line.main(["bench", "exchange", "--layers", "1", "--width", "96", "--rounds", "1", "--no-memory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["time"]) == set(CASES) and all(ratio > 0 for ratio in found["time"].values())
    assert found["memory"] == {} and (found["layers"], found["width"]) == (1, 96)


def test_first_explanations_are_measured_beside_later_ones(capsys):
    """The smallest later time is the unit, and each first one has a ratio to it."""
    small = ["--layers", "1", "--width", "96", "--tokens", "8", "--rounds", "1"]
    assert command_line.main(["bench", "engine", "--first", *small, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["a new model", "a new length", "later"] and found["later"] == 1.0 and min(found.values()) > 0.1
