"""Numbers said of models: statistics are those of the textbook, intervals cover what they promise, many tests are corrected."""

from __future__ import annotations

import numpy as np
import pytest

from pelrp_nb.hierarchy import Sample, auroc, holm, mean, minus, over_models, spearman

ONE = np.ones((1, 40))


def values(seed: int = 0, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two rows of numbers with ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 12, n).astype(float), rng.integers(0, 12, n).astype(float)


def test_statistics_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x, y = values()
    assert spearman(x, y)(ONE)[0] == pytest.approx(stats.spearmanr(x, y).statistic)
    positive = y > 5
    u = stats.mannwhitneyu(x[positive], x[~positive]).statistic
    assert auroc(x, positive)(ONE)[0] == pytest.approx(u / positive.sum() / (~positive).sum())


@pytest.mark.parametrize("kind", ["mean", "spearman", "auroc"])
def test_drawn_twice_is_there_twice(kind):
    """A statistic of how often examples were drawn is that of the examples written out."""
    x, y = values(1)
    W = np.random.default_rng(2).integers(0, 4, 40).astype(float)
    at = np.repeat(np.arange(40), W.astype(int))
    made = {"mean": lambda x, y: mean(x), "spearman": spearman, "auroc": lambda x, y: auroc(x, y > 5)}[kind]
    assert made(x, y)(W[None])[0] == pytest.approx(made(x[at], y[at])(np.ones((1, len(at))))[0])


def test_known_answers():
    x = np.arange(5.0)
    one = np.ones((1, 5))
    assert spearman(x, -x)(one)[0] == pytest.approx(-1) and spearman(x, x**3)(one)[0] == pytest.approx(1)
    assert np.isnan(spearman(x, np.zeros(5))(one)[0])
    assert auroc(x, x > 2)(one)[0] == 1.0 and auroc(np.zeros(5), x > 2)(one)[0] == 0.5
    assert mean(np.array([1.0, np.nan, 3.0]))(np.ones((1, 3)))[0] == 2.0
    assert minus(mean(x), mean(x + 1))(one)[0] == -1.0


def test_examples_are_drawn_within_their_group():
    """A difference between groups that is the same in every example has no spread."""
    groups = np.repeat([0, 1], 20)
    drawn = Sample(groups, mean(groups.astype(float))).drawn(50, np.random.default_rng(0))
    assert np.allclose(drawn, 0.5)
    assert Sample(np.zeros(40), mean(groups.astype(float))).drawn(50, np.random.default_rng(0)).std() > 0.03


def models(rng: np.random.Generator, count: int, spread: float, n: int = 100) -> list[Sample]:
    """Models whose true means differ, each seen through examples that are skewed; the mean of all such models is 0."""
    x = rng.normal(0, spread, (count, 1)) + 0.35 * (1 - rng.exponential(1, (count, n)))
    return [Sample(np.zeros(n), mean(row)) for row in x]


@pytest.mark.parametrize("count", [3, 5])
def test_the_interval_covers_where_models_differ(count):
    """Of 200 studies of few models 95 % promised, 91 % at least found; the percentile interval of the same models finds under 90 %."""
    rng = np.random.default_rng(count)
    inside = percentile = 0
    for study in range(200):
        some = models(rng, count, 0.1)
        found = over_models(some, seed=study, resamples=400)
        inside += found.low <= 0 <= found.high
        means = np.array(found.each)[rng.integers(0, count, (400, count))].mean(1)
        percentile += np.quantile(means, 0.025) <= 0 <= np.quantile(means, 0.975)
    assert inside >= 182 and percentile < 180


def test_one_model_has_the_interval_of_its_examples():
    rng = np.random.default_rng(5)
    covered = sum(
        found.low <= 0 <= found.high for study in range(200) for found in [over_models(models(rng, 1, 0.0, 40), seed=study, resamples=400)]
    )
    assert 180 <= covered <= 199 and over_models(models(rng, 1, 0.0)).p is None


def test_p_is_small_for_what_all_models_share_and_the_same_for_the_interval():
    rng = np.random.default_rng(6)
    shifted = [Sample(one.groups, lambda W, one=one: one.statistic(W) + 0.5) for one in models(rng, 5, 0.02)]
    found = over_models(shifted)
    assert found.p < 0.01 and found.low > 0.3
    for seed in range(8):
        one = over_models(models(rng, 5, 0.1), seed=seed)
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)


def test_models_that_all_give_the_same_leave_no_doubt():
    same = [Sample(np.zeros(10), lambda W: np.ones(len(W))) for _ in range(5)]
    assert (found := over_models(same)).low == found.high == 1.0 and found.p < 0.001
    none = [Sample(np.zeros(10), lambda W: np.zeros(len(W))) for _ in range(5)]
    assert over_models(none).p == 1.0


def test_one_model_of_five_that_differs_leaves_no_interval():
    """Resamples without it have no spread at all, so nothing bounds the mean: said, not hidden behind a narrow interval."""
    some = [Sample(np.zeros(10), lambda W, x=x: np.full(len(W), x)) for x in (1.0, 1.0, 1.0, 1.0, 0.99)]
    assert str(over_models(some)) == "0.998 (no interval)"


def test_a_model_on_which_a_number_is_not_defined_is_left_out():
    there = Sample(np.zeros(10), lambda W: np.full(len(W), 0.5))
    absent = Sample(np.zeros(10), lambda W: np.full(len(W), np.nan))
    assert over_models([there, absent]).each == (0.5,)
    assert str(over_models([absent])) == "-" and over_models([absent]).p is None


def test_holm_is_the_worked_example():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
