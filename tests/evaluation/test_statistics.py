import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pipeline.evaluation.statistics import NOTHING, RESAMPLES, mean, multiplicities, ratio, spearman


def resamples(items):
    """Row numbers of every resample, written out."""
    return [np.repeat(np.arange(items), weights.astype(int)) for weights in multiplicities(items)]


def percentiles(values):
    return np.nanpercentile(values, [2.5, 97.5])


def test_resamples_are_n_draws_with_replacement():
    weights = multiplicities(50)
    assert weights.shape == (RESAMPLES, 50)
    np.testing.assert_array_equal(weights.sum(axis=1), 50)
    assert weights.mean() == pytest.approx(1)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # binomial of n draws, 1 / n each
    assert len({row.tobytes() for row in weights}) == RESAMPLES


def test_resamples_are_the_same_for_every_representation():
    first = multiplicities(31).copy()
    multiplicities.cache_clear()
    np.testing.assert_array_equal(multiplicities(31), first)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100, width=32)))
@settings(max_examples=40)
def test_mean_and_its_interval_against_a_loop(values):
    found = mean(values)
    assert found.value == pytest.approx(np.mean(values), abs=1e-12)
    expected = percentiles([values[rows].mean() for rows in resamples(len(values))])
    np.testing.assert_allclose(found[1:], expected, rtol=1e-4, atol=1e-4)


def test_ratio_resamples_numerators_with_their_denominators():
    rng = np.random.default_rng(0)
    below = rng.uniform(0, 5, 40)
    above = below * rng.uniform(0.8, 1.2, 40)
    found = ratio(above, below)
    assert found.value == pytest.approx(above.sum() / below.sum())
    expected = percentiles([above[rows].sum() / below[rows].sum() for rows in resamples(40)])
    np.testing.assert_allclose(found[1:], expected, rtol=1e-5)
    assert 0.8 < found.low < found.value < found.high < 1.2


def test_mean_of_answers_right_and_wrong():
    right = np.array([True, False, True, True])
    assert mean(right).value == 0.75
    assert mean(np.ones(7, bool)) == (1, 1, 1)


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=40)
def test_spearman_is_scipy_s_with_and_without_ties(items, levels, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, levels, items).astype(np.float32), rng.random(items)
    found = spearman(x, y)
    if len(set(x)) == 1:
        assert all(math.isnan(value) for value in found)
        return
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_s_interval_against_scipy_on_every_resample():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 9, 30)
    y = x + rng.integers(-4, 5, 30)
    expected = percentiles([stats.spearmanr(x[rows], y[rows]).statistic for rows in resamples(30)])
    np.testing.assert_allclose(spearman(x, y)[1:], expected, atol=1e-12)


def test_intervals_are_near_those_of_scipy_s_bootstrap():
    rng = np.random.default_rng(2)
    x = rng.exponential(size=120)
    y = x + rng.exponential(size=120)
    how = {"n_resamples": 4000, "method": "percentile", "rng": np.random.default_rng(3)}
    for found, data, statistic in (
        (mean(x), (x,), np.mean),
        (ratio(x, y), (x, y), lambda a, b, axis=-1: a.sum(axis) / b.sum(axis)),
    ):
        expected = stats.bootstrap(data, statistic, paired=True, vectorized=True, **how).confidence_interval
        np.testing.assert_allclose(found[1:], expected, atol=0.1 * (expected.high - expected.low))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    found = [mean(rng.exponential(size=80)) for _ in range(400)]
    assert 0.90 < np.mean([one.low <= 1 <= one.high for one in found]) < 0.98
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of a normal pair of correlation 0.6
    cov = [[1, 0.6], [0.6, 1]]
    found = [spearman(*rng.multivariate_normal([0, 0], cov, 80).T) for _ in range(60)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.85


def test_nothing_to_estimate():
    assert all(math.isnan(value) for value in NOTHING)
    nothing = np.array([])
    for found in (
        mean(nothing),
        ratio(nothing, nothing),
        ratio(np.zeros(3), np.zeros(3)),
        spearman(nothing, nothing),
        spearman(np.ones(1), np.ones(1)),
        spearman(np.ones(9), np.arange(9)),
    ):
        assert all(math.isnan(value) for value in found)


def test_items_that_count_nothing_may_fill_a_resample():
    found = ratio(np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0]))
    assert found == (0.5, 0.5, 0.5)
