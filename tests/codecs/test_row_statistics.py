"""Rows in blocks: the same mean, covariance and sample as of all rows, and no more than a block of them in memory."""

import weakref

import numpy as np
import pytest

from pipeline.codecs.row_statistics import covariance, mean_and_sample
from pipeline.stage import UserError


def rows(count=1000, dims=5):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((count, dims)) * np.arange(1, dims + 1) + 100).astype(np.float32)


def cut(x, *places):
    return np.split(x, places)


def test_mean_and_covariance_are_those_of_all_rows_where_the_mean_is_far_away():
    x = rows() + np.float32(1e4)
    mean, _, count = mean_and_sample(cut(x, 1, 400), 10, 0)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-7)
    found = covariance(cut(x, 1, 400), mean, count)
    np.testing.assert_allclose(found, np.cov(x.astype(float).T, bias=True), rtol=1e-4, atol=1e-3)


def test_all_rows_are_the_sample_in_their_order_where_there_are_no_more():
    x = rows()
    for most in (1000, 5000):
        _, sample, count = mean_and_sample(cut(x, 10, 300), most, 0)
        np.testing.assert_array_equal(sample, x)
        assert count == 1000


def test_the_sample_does_not_depend_on_the_blocks_and_does_on_the_seed():
    x = rows()
    whole = mean_and_sample([x], 100, 3)[1]
    np.testing.assert_array_equal(whole, mean_and_sample(cut(x, 7, 99, 100, 101, 640), 100, 3)[1])
    assert (whole != mean_and_sample([x], 100, 4)[1]).any()
    assert len(np.unique(whole, axis=0)) == 100


def test_every_row_has_the_same_chance():
    x = np.arange(60, dtype=np.float32)[:, None]
    counts = np.zeros(60)
    for seed in range(2000):
        counts[mean_and_sample(cut(x, 25, 31), 20, seed)[1][:, 0].astype(int)] += 1
    assert np.abs(counts / 2000 - 1 / 3).max() < 5 * np.sqrt(1 / 3 * 2 / 3 / 2000)


def test_blocks_are_taken_one_at_a_time():
    """When the next is asked for, none but the last is still there."""
    given: list[weakref.ref] = []

    def blocks():
        for _ in range(6):
            assert sum(one() is not None for one in given) <= 1
            block = rows(50)
            given.append(weakref.ref(block))
            yield block
            del block

    mean, _, count = mean_and_sample(blocks(), 120, 0)
    given.clear()
    covariance(blocks(), mean, count)


def test_what_is_no_set_of_rows_is_refused():
    x = rows()
    with pytest.raises(UserError, match="no vectors to fit on"):
        mean_and_sample([], 10, 0)
    with pytest.raises(UserError, match="vectors of 4 dimensions for a codec fitted on 5"):
        mean_and_sample([x, x[:, :4]], 10, 0)
    with pytest.raises(UserError, match="vectors have changed while they were read: 1000 rows, then 999"):
        covariance([x[:999]], x.mean(axis=0), 1000)
