"""Each kind of position has one word and one page, and the stepper shows the page wherever a sink of that kind received."""

from __future__ import annotations

import pytest
import torch
from made import made

from pelrp_nb import PA_LRP, explain, rules, zoo
from pelrp_nb.engine.positions import labels
from pelrp_nb.rules import PositionKind
from pelrp_nb.rules.pages import page_of


def pages_shown(result) -> set[str]:
    """The pages that the walk of an explanation names on some step and holds, as they stand in the textbook."""
    data = result.sheet("stepper").data
    named = {name for step in data["walk"] for name in step["rules"]}
    return {name for name in named if data["rules"][name] == page_of(rules.by_name(name))}


@pytest.mark.parametrize("kind", PositionKind, ids=str)
def test_a_kind_is_called_like_its_page(kind):
    assert kind.rule in rules.ALL and kind.rule.name == kind.replace(" ", "_")
    assert PositionKind(str(kind)) is kind


def test_every_page_of_a_position_is_of_a_kind():
    """The pages behind those of attention in reading order, and nothing else."""
    behind = rules.ALL[rules.ALL.index(rules.delta) + 1 :]
    assert [kind.rule for kind in PositionKind] == list(behind)


@pytest.mark.parametrize("kind", PositionKind, ids=str)
def test_the_stepper_shows_the_page_of_each_kind(kind):
    result = made(sink_kinds=(str(kind),) * 4, card={"model": "m", "method": "pa-lrp", "composite": repr(PA_LRP)})
    assert pages_shown(result) >= {kind.rule.name}
    others = {other.rule.name for other in PositionKind} - {kind.rule.name}
    assert not pages_shown(result) & others


@pytest.mark.parametrize("name", zoo.names())
def test_the_stepper_shows_the_page_of_every_sink_in_the_zoo(name):
    model, processor = zoo.load(name)
    example = zoo.task(name).examples[0]
    result = explain(model, example.image if hasattr(example, "image") else example.text, processor=processor)
    kinds = set(result.sink_kinds)
    assert all(type(kind) is str for kind in kinds)
    assert bool(kinds) == (zoo.card(name)["positions"] != "none")
    assert pages_shown(result) >= {PositionKind(kind).rule.name for kind in kinds}
    assert kinds >= {zoo.card(name)["positions"]} - {"none"}


# --- kinds are told by numbers, of which few prove nothing -------------------------------------------------------------


def test_a_rotation_lies_on_a_circle_and_what_hardly_moves_does_not():
    angle = torch.outer(torch.arange(8).double(), 0.1 ** torch.arange(4).double())
    assert labels.on_a_circle(angle.cos(), angle.sin()) and labels.on_a_circle(2 * angle.cos(), 2 * angle.sin())
    assert labels.on_a_circle(angle.cos()[:1], angle.sin()[:1]), "the first place is not turned"
    slow = torch.exp(-1e-4 * torch.arange(8).double())[:, None]  # both near one, and falling
    assert not labels.on_a_circle(slow, slow**2)


@pytest.mark.parametrize("keys", [1, 2, 3, 4, 5, 8])
def test_a_bias_of_few_keys_is_alibi_only_if_its_heads_have_one_line(keys):
    slopes, distance = 0.5 ** torch.arange(1, 5).double(), torch.arange(keys).double() - keys + 1
    one_query = slopes[:, None, None] * distance
    assert labels.by_distance(one_query) and labels.by_distance(one_query[None])
    drawn = torch.randn(4, 1, keys, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert not labels.by_distance(drawn) or keys == 1
