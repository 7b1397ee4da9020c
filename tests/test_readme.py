"""The README is true: its code runs, its tables are generated, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pelrp_nb
from pelrp_nb.zoo.commands import accuracy

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def between(name: str) -> str:
    found = re.search(rf"<!-- {name}[^>]*-->\n(.*?)<!-- /{name} -->", README, re.S)
    assert found, name
    return found.group(1).strip()


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme_code_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_the_first_example_is_ten_lines():
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 10


def test_rule_table_is_generated_from_the_rules():
    assert between("rules") == pelrp_nb.rules.table().strip()


def test_zoo_table_is_generated_from_the_cards():
    assert between("zoo") == zoo_table()


def zoo_table() -> str:
    lines = ["| model | architecture | positions | held-out accuracy | size |", "|---|---|---|---|---|"]
    for name in pelrp_nb.zoo.names():
        card = pelrp_nb.zoo.card(name)
        cells = (f"`{name}`", card["architecture"], card["positions"], accuracy(card), f"{card['bytes'] / 1e6:.1f} MB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_links_and_folders_exist():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"^        (\w+(?:\.py|/)) ", README, re.M):
        assert (ROOT / "pelrp_nb" / path).exists(), path
