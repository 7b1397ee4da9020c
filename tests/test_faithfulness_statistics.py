"""How sure the numbers are, and how they are printed."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pelrp_nb.amounts import HYPHEN, MINUS
from pelrp_nb.errors import InputError
from pelrp_nb.faithfulness import BETTER, Configuration, Result
from pelrp_nb.faithfulness.findings import leading, positions, verdict
from pelrp_nb.faithfulness.settings import PAPER_TEXT, Statistics, Text, read
from pelrp_nb.faithfulness.statistics import Estimate, difference, estimate, leaders

SURE = Statistics(resamples=2000)
GAIN = "symmetric-relevance-gain"


def result(**values: list[float]) -> Result:
    """A result with these gains per method."""
    n = max(map(len, values.values()))
    records = [
        {
            "index": i, "example": str(i), "text": f"text {i}", "tokens": ["a", "b", "c"], "target": 0, "errors": {},
            "values": {m: {GAIN: v[i]} for m, v in values.items() if i < len(v)},
            "curves": {m: {"least relevant first": [v[i], 0.0]} for m, v in values.items() if i < len(v)},
            "relevance": {m: [v[i], 0.0, float(i)] for m, v in values.items() if i < len(v)},
        }
        for i in range(n)
    ]  # fmt: skip
    return Result(Configuration(methods=tuple(values), text=Text(fractions=(0.0, 1.0))), tuple(values), tuple(records))


def test_the_interval_is_scipys():
    """Within the noise of resampling, a twentieth of its width."""
    stats = pytest.importorskip("scipy.stats")
    x = np.random.default_rng(3).gamma(2.0, size=60)
    ours = estimate(x.tolist(), Statistics(resamples=20_000))
    theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(x.mean())
    assert abs(ours.low - theirs.low) < width / 20 and abs(ours.high - theirs.high) < width / 20


def test_intervals_cover():
    """Of 300 samples of 40, about 95 in 100 intervals hold the true mean."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        e = estimate(rng.normal(size=40).tolist(), Statistics(resamples=400))
        covered += e.low <= 0 <= e.high
    assert 0.90 <= covered / 300 <= 0.98


def test_few_examples_get_no_interval():
    assert estimate([1.0, 2.0], SURE) == Estimate(1.5, None, None, 2)
    assert estimate([], SURE) == Estimate(None, None, None, 0)
    assert estimate([1.0] * 8, SURE) == Estimate(1.0, 1.0, 1.0, 8)
    assert "too few" in str(difference({"a": {0: 1.0}, "b": {0: 0.0}}, "a", "b", GAIN, SURE))


def test_differences_are_paired():
    """Two methods that differ little, on examples that differ much: the difference is sure, the means overlap."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    values = {"a": dict(enumerate(x)), "b": dict(enumerate(x - 0.1 + 0.01 * rng.normal(size=50)))}
    found = difference(values, "a", "b", GAIN, SURE)
    assert found.better == "a" and found.estimate.mean == pytest.approx(0.1, abs=0.01)
    assert estimate(list(values["a"].values()), SURE).low < estimate(list(values["b"].values()), SURE).high
    assert difference({"a": {0: 1.0}, "b": {1: 1.0}}, "a", "b", GAIN, SURE).estimate.n == 0


def test_lower_is_better_where_it_is():
    values = {"a": dict.fromkeys(range(9), 1.0), "b": dict.fromkeys(range(9), 2.0)}
    assert difference(values, "a", "b", "pruning-au-mse", SURE).better == "a"
    assert difference(values, "a", "b", "pruning-au-ac", SURE).better == "b"
    assert difference(values, "a", "b", "positional-share", SURE).better is None


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=15), st.floats(-0.2, 0.2))
def test_nothing_is_better_whose_interval_includes_zero(x, shift):
    values = {"a": dict(enumerate(x)), "b": {i: v + shift * (-1) ** i for i, v in enumerate(x)}}
    found = difference(values, "a", "b", GAIN, Statistics(resamples=300))
    e = found.estimate
    assert (found.better is None) == (e.low <= 0 <= e.high)
    assert ("is better" in str(found)) == (found.better is not None)
    assert {"a", "b"} >= set(leaders(values, GAIN, Statistics(resamples=300)))


def test_the_table_in_every_form_says_the_same():
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    found = result(**{"random": x.tolist(), "attn-lrp": (x + 1).tolist(), "pa-lrp-signed": (x + 1 + 1e-9).tolist()})
    rows = found.rows()
    assert [set(row) for row in rows] == [{"method", "measure", "mean", "low", "high", "n"}] * 3
    assert json.loads(found.to_json()) == rows
    table = found.table()
    lines = list(csv.DictReader(io.StringIO(table.csv())))
    assert [float(line["mean"]) for line in lines] == [row["mean"] for row in rows]
    frame = table.to_frame()
    assert frame["low"].tolist() == [row["low"] for row in rows] and frame["n"].tolist() == [30] * 3
    for row in rows:
        shown = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for text in (table.text(), table.markdown(), table.latex(), table.html(), found._repr_html_()):
            assert shown in text.replace(MINUS, HYPHEN)
    assert "\\toprule" in table.latex() and "n = 30" in table.markdown()
    mean, low, high = found.curve("random", "least relevant first")
    assert mean[0] == pytest.approx(x.mean()) and low[0] < mean[0] < high[0] and mean[1] == 0.0


def test_what_can_be_said_about_positions():
    x = np.random.default_rng(1).normal(size=30)
    noise = np.random.default_rng(2).normal(size=30)
    same = result(**{"attn-lrp": x.tolist(), "pa-lrp-signed": (x + noise / 10).tolist()})
    better = result(**{"attn-lrp": x.tolist(), "pa-lrp-signed": (x + 1).tolist()})
    worse = result(**{"attn-lrp": x.tolist(), "pa-lrp-signed": (x - 1).tolist()})
    assert "better in 0, worse in 0, and 1 show no difference" in verdict(same)
    assert "better in 1, worse in 0" in verdict(better) and "better in 0, worse in 1" in verdict(worse)
    assert [d.better for d in positions(better)] == ["pa-lrp-signed"]
    assert leading(better)[0].startswith(f"{GAIN}: pa-lrp-signed has the best mean")
    assert "Nothing can be said" in verdict(result(random=[1.0] * 9))


def test_a_configuration_goes_through_json_and_back():
    before = Configuration(methods=("random",), columns=(("text", "review"),), text=PAPER_TEXT, limit=7)
    assert read(json.loads(json.dumps(before.plain()))) == before
    assert read({"text": "PAPER_TEXT"}).text == PAPER_TEXT
    assert before.fingerprint == read(before.plain()).fingerprint != Configuration().fingerprint
    assert "text.replacement = unknown" in str(before)


def test_every_part_changes_the_fingerprint():
    """Results of another choice can never stand in the same file."""
    changed = [
        {"model": "x"}, {"data": "x"}, {"methods": ["random"]}, {"protocols": ["gain"]}, {"limit": 3}, {"seed": 1}, {"batch": 2},
        {"text": {"sign": "absolute"}}, {"images": {"replacement": "blur"}}, {"positions": {"partners": 3}},
        {"truth": {"mass": "absolute"}}, {"baselines": {"steps": 8}}, {"statistics": {"level": 0.9}},
    ]  # fmt: skip
    prints = {read(plain).fingerprint for plain in ({}, *changed)}
    assert len(prints) == len(changed) + 1


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"modle": "x"}, "Did you mean 'model'"),
        ({"text": {"sing": "signed"}}, "Did you mean 'sign'"),
        ({"text": {"sign": "both"}}, "signed, absolute"),
        ({"text": "THEIR_TEXT"}, "PAPER_TEXT"),
        ({"images": "PAPER_TEXT"}, "PAPER_IMAGES"),
        ({"batch": 0}, "from 1"),
        ({"limit": 0}, "from 1"),
        ({"seed": "x"}, "a number"),
        ({"text": {"fractions": [0.5, 0.1]}}, "ascend"),
        ({"statistics": {"level": 95}}, "between 0 and 1"),
    ],
)
def test_a_wrong_choice_is_refused(plain, said):
    with pytest.raises(InputError, match=said):
        read(plain)


def test_every_measure_has_a_direction():
    assert set(BETTER.values()) == {-1, 0, 1}
